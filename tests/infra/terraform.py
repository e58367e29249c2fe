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
    """One root module."""

    program: Path  # the real terraform
    code: Path  # the root module's folder
    data: Path  # where Terraform keeps what it downloads, and its state; never the checkout
    extra: dict[str, str] = field(default_factory=dict)  # added to the environment

    def __call__(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command."""
        own = {"TF_DATA_DIR": str(self.data), "CHECKPOINT_DISABLE": "1", "TF_INPUT": "0"}
        own["GOGC"] = "800"  # a provider's schema is large, and its process short
        environment = os.environ | own | self.extra
        if not Path(environment.get("TF_CLI_CONFIG_FILE", "/")).exists():
            del environment["TF_CLI_CONFIG_FILE"]
        command = [str(self.program), *arguments]
        return subprocess.run(
            command, cwd=self.code, env=environment, capture_output=True, text=True
        )

    def init(self) -> "Terraform":
        """Fetch the provider as the notebooks do; the lock file must be right as it is."""
        done = self("init", "-no-color", "-lockfile=readonly", *find_provider().arguments)
        assert done.returncode == 0, done.stderr
        return self

    def plan(self, variables: dict[str, str]) -> dict[str, Any]:
        """The plan as JSON, from an empty state."""
        chosen = [f"-var={name}={value}" for name, value in variables.items()]
        out, state = self.data / "plan.tfplan", self.data / "empty.tfstate"
        made = self("plan", "-no-color", f"-state={state}", f"-out={out}", *chosen)
        assert made.returncode == 0, made.stderr
        shown: dict[str, Any] = json.loads(self("show", "-json", str(out)).stdout)
        return shown
