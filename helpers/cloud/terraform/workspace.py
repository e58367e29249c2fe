"""Terraform for one run: plan, apply and destroy the stack of `infra/`, whatever happens between.

Everything lies in the run's folder `terraform/`, readable by its owner alone: a copy of the code
(so that a run can be destroyed with what created it), variables, plan, local state, logs.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from helpers import tools
from helpers.cloud import caller, certificate, gates, plan, prices, reports
from helpers.cloud.account import MASK, Account, asking, identity
from helpers.cloud.reports import PlanFacts, Replan, Stack
from helpers.cloud.terraform import errors, process, providers, state, variables
from helpers.cloud.terraform.progress import Progress
from helpers.errors import Problem
from helpers.paths import ROOT
from helpers.run import Run, now
from helpers.services import MARK

FOLDER, CODE, PLAN, VARIABLES = "terraform", "infra", "plan.tfplan", "run.tfvars.json"
PLAN_JSON = f"{FOLDER}/plan.json"
NOT_CODE = shutil.ignore_patterns("tests", "bootstrap", ".terraform", "*.tfstate*", "README.md")
ALWAYS = ("-input=false", "-no-color")
READ_TIMEOUT_S = 120


@dataclass(frozen=True)
class Workspace:
    """Terraform in a run's folder.

    Attributes:
        run: Whose stack it is.
        account: Where it stands.
        program: Terraform.
    """

    run: Run
    account: Account
    program: Path

    @classmethod
    def of(cls, run: Run, account: Account) -> Self:
        """The workspace of a run; nothing is touched yet.

        Raises:
            Unavailable: There is no Terraform on this machine.
        """
        return cls(run, account, tools.need("terraform"))

    @property
    def folder(self) -> Path:
        """The run's folder `terraform/`."""
        return self.run.folder / FOLDER

    @property
    def code(self) -> Path:
        """The copy of `infra/` in which Terraform runs."""
        return self.folder / CODE

    @property
    def exists(self) -> bool:
        """Whether this run has ever planned anything."""
        return self.code.is_dir()

    def init(self) -> str:
        """Copy the code, write variables and backend, and fetch the provider.

        Returns:
            Where the provider came from.

        Raises:
            Unavailable: The provider cannot be had on this machine.
            Problem: Terraform of this run is still at work, or cannot begin.
        """
        self._settle()
        self._copy_code()
        made = certificate.ensure(self.run)
        here = [Path(os.path.relpath(one, self.code)) for one in (made.certificate, made.key)]
        chosen = variables.of(self.run, caller.cidr(self.run, self.account), *here)
        self._write_private(VARIABLES, json.dumps(chosen, indent=2) + "\n")
        return self._init()

    def plan(self) -> PlanFacts:
        """Find out what is to be done and what it costs; keeps `plan.json` and the record.

        Raises:
            Problem: Terraform refuses, or a price is missing.
        """
        planned = self._planned()
        market = plan.spot_prices(self.run, self.account, planned)
        listed = prices.of(self.run, self.account)
        facts = PlanFacts(
            emulated=self.account.emulated,
            planned=now(),
            resources=plan.resources(planned),
            cost=plan.cost(self.run, planned, listed, market),
        )
        self.run.save(facts)
        return facts

    def replan(self) -> Replan:
        """Plan again after an apply: a stack that stands as planned has no changes.

        Raises:
            Problem: Terraform refuses.
        """
        found = plan.resources(self._planned())
        moved = tuple(one for one in found if one.action != "none")
        record = Replan(planned=now(), resources=len(found), changed=moved)
        self.run.save(record)
        return record

    def apply(self) -> Stack:
        """Carry out the plan, with a line for each resource; keeps the outputs as `Stack`.

        Raises:
            Problem: The readiness report or the budget forbids it, there is no plan, or Terraform
                fails; what stands by then is in the state.
        """
        facts = self.run.load(PlanFacts)
        gates.admit(self.run, facts)
        if not (self.folder / PLAN).is_file():
            raise Problem("There is no plan to apply.", "Plan first; a plan is applied once.")
        self._settle()
        with self._recorded("stack-apply"):
            arguments = ["apply", "-json", *ALWAYS, f"../{PLAN}"]
            self._do("apply the plan", arguments, Progress(total=facts.changes))
            (self.folder / PLAN).unlink()
        stack = reports.stack(self.outputs(), self.account.emulated)
        self.run.save(stack)
        self.run.event("gpu-nodes", stage="01", count=self._gpu_nodes(stack), source="AWS")
        return stack

    def outputs(self) -> dict[str, Any]:
        """Terraform's outputs by name, in full.

        Raises:
            Problem: There is no state, or it cannot be read.
        """
        found: dict[str, Any] = json.loads(self._ask("read the outputs", ["output", "-json"]))
        return {name: one["value"] for name, one in found.items()}

    def standing(self) -> tuple[str, ...]:
        """Addresses of what the state holds; empty after a complete destroy.

        Raises:
            Problem: The state cannot be read.
        """
        if not self.exists:
            return ()
        pulled = self._ask("read the state", ["state", "pull"]).strip()
        held = json.loads(pulled)["resources"] if pulled else []
        return tuple(
            f"{one['type']}.{one['name']}" + (f"[{number}]" if len(one["instances"]) > 1 else "")
            for one in held
            if one["mode"] == "managed"
            for number in range(len(one["instances"]))
        )

    def destroy(self) -> int:
        """Remove everything that the state holds; can be repeated after any failure.

        Returns:
            How many resources were in the state.

        Raises:
            Problem: Terraform fails; what is left is still in the state.
        """
        if not self.exists:
            return 0
        self._settle()
        self._init()
        before = len(self.standing())
        if not before:
            return 0
        arguments = ["destroy", "-json", "-auto-approve", *ALWAYS, f"-var-file=../{VARIABLES}"]
        with self._recorded("stack-destroy"):
            self._do("destroy the stack", arguments, Progress(total=before))
        return before

    def unlock(self, lock_id: str) -> None:
        """Remove the lock that a killed Terraform left on a state in S3.

        Raises:
            Problem: The lock is another one, or Terraform is still at work.
        """
        self._settle()
        self._ask("remove the lock", ["force-unlock", "-force", lock_id])

    def _settle(self) -> None:
        """End what a killed notebook left running, and mend the state it may have torn."""
        process.settle(self.folder / process.RECORD)
        if said := state.mend(self.folder):
            print(said)

    def _copy_code(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for old in self.code.glob("*.tf"):
            old.unlink()
        shutil.copytree(ROOT / CODE, self.code, ignore=NOT_CODE, dirs_exist_ok=True)
        contract = self.folder / "k8s" / "contract.yaml"
        contract.parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / "k8s" / "contract.yaml", contract)
        self._write_private(f"{CODE}/backend_override.tf.json", variables.backend(self.run))

    def _init(self) -> str:
        route = providers.find()
        arguments = ["init", "-json", *ALWAYS, "-lockfile=readonly", "-reconfigure"]
        self._do("begin", arguments + route.arguments, Progress(), route.environment)
        errored = self.code / state.ERRORED
        if errored.is_file():
            self._ask("store the state that could not be stored", ["state", "push", errored.name])
            errored.rename(self.folder / f"{state.ERRORED}.pushed")
            print("A state that Terraform could not store before has been stored now.")
        return route.label

    def _planned(self) -> dict[str, Any]:
        """Plan, and keep the plan as JSON without secrets and account ids."""
        self._settle()
        arguments = ["plan", "-json", *ALWAYS, f"-out=../{PLAN}", f"-var-file=../{VARIABLES}"]
        self._do("plan", arguments, Progress())
        shown: dict[str, Any] = json.loads(
            self._ask("show the plan", ["show", "-json", f"../{PLAN}"])
        )
        self.run.write(PLAN_JSON, plan.masked(shown, self._private()))
        return shown

    def _private(self) -> dict[str, str]:
        """What must not leave this machine with the plan; an emulator has nothing of the kind."""
        if self.account.emulated:
            return {}
        return {
            identity(self.account).account_id: MASK,
            caller.cidr(self.run, self.account): "<caller>",
            self.run.profile.infrastructure.alert_email: "<e-mail>",
        }

    def _gpu_nodes(self, stack: Stack) -> int:
        with asking("the GPU nodes' group"):
            groups = self.account.client("autoscaling").describe_auto_scaling_groups(
                AutoScalingGroupNames=[stack.gpu_asg_name]
            )["AutoScalingGroups"]
        return sum(one["DesiredCapacity"] for one in groups)

    def _do(
        self,
        doing: str,
        arguments: Sequence[str],
        progress: Progress,
        further: dict[str, str] | None = None,
    ) -> None:
        """Run a command that may take long, and show its progress."""
        log = f"{arguments[0]}.log"
        command = process.Command(
            line=[self.program, *arguments],
            folder=self.code,
            environment=self._environment() | (further or {}),
            log=self.folder / log,
            record=self.folder / process.RECORD,
        )
        if process.run(command, self._shower(progress)):
            raise errors.problem(doing, progress, f"{FOLDER}/{log}")

    def _shower(self, progress: Progress) -> Callable[[str], None]:
        def show(line: str) -> None:
            done = progress.done
            if shown := progress.read(line):
                print(shown, flush=True)
            if progress.done > done:
                state.keep(self.folder)

        return show

    def _ask(self, doing: str, arguments: Sequence[str]) -> str:
        """Run a command that only reads, and return what it prints."""
        ended = subprocess.run(
            [self.program, *arguments],
            cwd=self.code,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=READ_TIMEOUT_S,
        )
        if ended.returncode:
            complained = Progress(other=[" ".join(ended.stderr.replace("│", " ").split())])
            raise errors.problem(doing, complained, FOLDER)
        return ended.stdout

    def _environment(self) -> dict[str, str]:
        """Nothing that a user has set for Terraform elsewhere changes what happens here."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
        configuration = os.environ.get("TF_CLI_CONFIG_FILE", "")
        if configuration and Path(configuration).is_file():
            kept["TF_CLI_CONFIG_FILE"] = configuration
        ours = {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", MARK: self.run.mark}
        return self.account.surroundings(kept) | ours

    @contextmanager
    def _recorded(self, kind: str) -> Iterator[None]:
        """Events of start and stop, with the outcome: the meter reckons with both."""
        stage = "01" if kind == "stack-apply" else "06"
        self.run.event(f"{kind}-start", stage=stage, source="Terraform")
        outcome = "failed"
        try:
            yield
            outcome = "finished"
        except KeyboardInterrupt:
            outcome = "interrupted"
            raise
        finally:
            self.run.event(f"{kind}-stop", stage=stage, outcome=outcome, source="Terraform")

    def _write_private(self, relative: str, text: str) -> None:
        path = self.folder / relative
        path.touch(mode=0o600)
        path.write_text(text)
