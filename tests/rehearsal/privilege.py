"""Compares what was asked of AWS with what a policy grants, both ways."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from helpers import programs
from helpers.cloud.account import Account
from helpers.cloud.terraform import find_provider
from helpers.paths import ROOT
from tests.emulated import Line

BOOTSTRAP = ROOT / "infra" / "bootstrap"
TRUSTED = "arn:aws:iam::123456789012:user/admin"


def granted(policies: Iterable[Mapping[str, Any]]) -> set[str]:
    """The actions, and patterns of actions, that policies allow."""
    return {
        action
        for policy in policies
        for statement in _listed(policy["Statement"])
        if statement["Effect"] == "Allow"
        for action in _listed(statement["Action"])
    }


def used(calls: Iterable[Line]) -> set[str]:
    """The actions that calls need, as IAM names them."""
    asked = {f"{call.service}:{call.action}" for call in calls}
    return {names().get(action, action) for action in asked}


def names() -> dict[str, str]:
    """What IAM calls operations that it calls otherwise than the API."""
    read: dict[str, str] = yaml.safe_load(Path(__file__).with_name("actions.yaml").read_text())
    return read


def lacking(needed: Iterable[str], grants: Iterable[str]) -> set[str]:
    """Needed actions that nothing grants."""
    patterns = [grant.lower() for grant in grants]
    return {
        action
        for action in needed
        if not any(fnmatchcase(action.lower(), pattern) for pattern in patterns)
    }


def idle(grants: Iterable[str], needed: Iterable[str], reasons: Iterable[str]) -> set[str]:
    """Services that are granted, never needed, and have no written reason."""
    asked = {_service(action) for action in needed}
    excused = {reason for reason in reasons if ":" not in reason}
    return {_service(grant) for grant in grants} - asked - excused


def baseless(reasons: Iterable[str], grants: Iterable[str], needed: Iterable[str]) -> set[str]:
    """Reasons for what is not granted, or for what needs none since it is used."""
    services = {_service(grant) for grant in grants}
    given, asked = set(grants), set(needed)
    return {
        name
        for name in reasons
        if (name not in given or name in asked if ":" in name else name not in services)
    }


def reasons() -> dict[str, str]:
    """Why the deployer may do what a rehearsal never asks for."""
    read: dict[str, str] = yaml.safe_load((BOOTSTRAP / "reasons.yaml").read_text())
    return read


def deployer(account: Account, folder: Path) -> list[dict[str, Any]]:
    """The deployer's policies as Terraform would create them."""
    code = folder / "bootstrap"
    shutil.copytree(BOOTSTRAP, code, ignore=shutil.ignore_patterns(".terraform", "*.tfstate*"))
    route = find_provider()
    _terraform(account, code, "init", *route.arguments, "-lockfile=readonly", **route.environment)
    _terraform(account, code, "plan", "-out=plan", f'-var=trusted_arns=["{TRUSTED}"]')
    planned = json.loads(_terraform(account, code, "show", "-json", "plan"))
    resources = planned["planned_values"]["root_module"]["resources"]
    return [
        json.loads(resource["values"]["policy"])
        for resource in resources
        if resource["type"] == "aws_iam_policy" and resource["name"] == "deployer"
    ]


def _terraform(account: Account, code: Path, *arguments: str, **further: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    done = subprocess.run(
        [programs.need("terraform"), *arguments], cwd=code, capture_output=True, text=True,
        env=account.surroundings(clean) | {"CHECKPOINT_DISABLE": "1"} | further,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def _service(action: str) -> str:
    return action.partition(":")[0]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
