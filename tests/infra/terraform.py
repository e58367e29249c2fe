"""Terraform over the code of this checkout: real, quick, and without touching it."""

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers.cloud.terraform import find_provider
from helpers.paths import ROOT

INFRA = ROOT / "infra"
BOOTSTRAP = INFRA / "bootstrap"
EXAMPLE = {"run_id": "20261124T0900Z-aws", "api_cidr": "203.0.113.7/32"}
TRUSTED = {"trusted_arns": '["arn:aws:iam::123456789012:user/nancy"]'}


@dataclass(frozen=True)
class Terraform:
    """One root module, initialised.

    Attributes:
        program: The real terraform.
        code: The root module's folder.
        data: Where Terraform keeps what it downloads; never the checkout.
        extra: Variables added to the environment.
    """

    program: Path
    code: Path
    data: Path
    extra: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command."""
        own = {"TF_DATA_DIR": str(self.data), "CHECKPOINT_DISABLE": "1"}
        environment = os.environ | own | self.extra
        if not Path(environment.get("TF_CLI_CONFIG_FILE", "/")).exists():
            del environment["TF_CLI_CONFIG_FILE"]
        command = [str(self.program), *arguments]
        return subprocess.run(
            command, cwd=self.code, env=environment, capture_output=True, text=True
        )

    def init(self) -> "subprocess.CompletedProcess[str]":
        """Fetch the provider as the notebooks do, with the lock file as it is."""
        way = find_provider().arguments
        return self("init", "-input=false", "-no-color", "-lockfile=readonly", *way)

    def plan(self, variables: dict[str, str], folder: Path) -> dict[str, Any]:
        """The plan as JSON; its state is an empty one of `folder`."""
        chosen = [f"-var={name}={value}" for name, value in variables.items()]
        out = folder / "plan.tfplan"
        state = f"-state={folder / 'terraform.tfstate'}"
        made = self("plan", "-input=false", "-no-color", state, f"-out={out}", *chosen)
        assert made.returncode == 0, made.stderr
        shown: dict[str, Any] = json.loads(self("show", "-json", str(out)).stdout)
        return shown
