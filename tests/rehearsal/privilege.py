"""Compares what was asked of AWS with what a policy grants, both ways."""

import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from helpers import programs
from helpers.cloud.account import Account
from tests.emulated import Line
from tests.infra.terraform import BOOTSTRAP, TRUSTED, Terraform


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
    """The deployer's policies as Terraform would create them; it keeps its files in the folder."""
    terraform = Terraform(programs.need("terraform"), BOOTSTRAP, folder, account.environment)
    outputs = terraform.init().plan(TRUSTED)["planned_values"]["outputs"]
    return [json.loads(text) for text in outputs["policies"]["value"].values()]


def _service(action: str) -> str:
    return action.partition(":")[0]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
