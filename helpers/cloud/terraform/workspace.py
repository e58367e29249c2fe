"""Terraform for one run: plan, apply and destroy the stack of `infra/`, whatever happens between.

Everything lies in the run's folder `terraform/`, readable by its owner alone: a copy of the code
(so that a run can be destroyed with what created it), variables, plan, local state, logs.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from helpers import programs
from helpers.cloud import caller, certificate, gates, reports
from helpers.cloud.account import MASK, Account, asking, identity
from helpers.cloud.costs import estimate
from helpers.cloud.plan import PLAN_JSON, Plan, PlanFacts, Replan
from helpers.cloud.prices import SpotHistory, record_prices, record_spot_prices
from helpers.cloud.reports import Stack
from helpers.cloud.terraform import providers, state, variables
from helpers.cloud.terraform.execution import CODE, Terraform
from helpers.cloud.terraform.progress import Progress
from helpers.errors import Problem
from helpers.paths import ROOT
from helpers.run import Run, now

FOLDER, PLAN, VARIABLES = "terraform", "plan.tfplan", "run.tfvars.json"
NOT_CODE = shutil.ignore_patterns("tests", "bootstrap", ".terraform", "*.tfstate*", "README.md")
ALWAYS = ("-input=false", "-no-color")


@dataclass(frozen=True)
class Workspace:
    """Terraform in a run's folder.

    Attributes:
        run: Whose stack it is.
        account: Where it stands.
        terraform: The program in the run's folder.
    """

    run: Run
    account: Account
    terraform: Terraform

    @classmethod
    def of(cls, run: Run, account: Account) -> Self:
        """The workspace of a run; nothing is touched yet.

        Raises:
            Unavailable: There is no Terraform on this machine.
        """
        program = programs.need("terraform")
        return cls(run, account, Terraform(program, run.folder / FOLDER, account, run.mark))

    @property
    def folder(self) -> Path:
        """The run's folder `terraform/`."""
        return self.terraform.folder

    @property
    def code(self) -> Path:
        """The copy of `infra/` in which Terraform runs."""
        return self.terraform.code

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
        self.terraform.settle()
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
        cost = estimate(
            planned,
            record_prices(self.run, self.account),
            self._spot_prices(planned),
            session_hours=self.run.profile.infrastructure.ttl_hours,
            budget_usd=self.run.profile.kpis.cost_usd,
        )
        facts = PlanFacts(
            emulated=self.account.emulated,
            planned=now(),
            sha256=self._plan_digest(),
            resources=planned.changes,
            cost=cost,
        )
        self.run.save(facts)
        return facts

    def replan(self) -> Replan:
        """Plan again after an apply: a stack that stands as planned has no changes.

        Raises:
            Problem: Terraform refuses.
        """
        changes = self._planned().changes
        changed = tuple(change for change in changes if change.action != "none")
        record = Replan(planned=now(), resources=len(changes), changed=changed)
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
        if self._plan_digest() != facts.sha256:
            raise Problem(
                "There is no plan to apply whose cost is known.",
                "Plan first; a plan is applied once.",
            )
        self.terraform.settle()
        with self._recorded("stack-apply"):
            arguments = ["apply", "-json", *ALWAYS, f"../{PLAN}"]
            self.terraform.do("apply the plan", arguments, Progress(total=facts.changes))
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
        found: dict[str, Any] = json.loads(
            self.terraform.ask("read the outputs", ["output", "-json"])
        )
        return {name: one["value"] for name, one in found.items()}

    def standing(self) -> tuple[str, ...]:
        """Addresses of what the state holds; empty after a complete destroy.

        Raises:
            Problem: The state cannot be read.
        """
        if not self.exists:
            return ()
        self.terraform.settle()
        pulled = self.terraform.ask("read the state", ["state", "pull"]).strip()
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
        self.terraform.settle()
        self._init()
        before = len(self.standing())
        if not before:
            return 0
        arguments = ["destroy", "-json", "-auto-approve", *ALWAYS, f"-var-file=../{VARIABLES}"]
        with self._recorded("stack-destroy"):
            self.terraform.do("destroy the stack", arguments, Progress(total=before))
        return before

    def unlock(self, lock_id: str) -> None:
        """Remove the lock that a killed Terraform left on a state in S3.

        Raises:
            Problem: The lock is another one, or Terraform is still at work.
        """
        self.terraform.settle()
        self.terraform.ask("remove the lock", ["force-unlock", "-force", lock_id])

    def _plan_digest(self) -> str:
        """Which plan it is, so that none is applied whose cost nobody reckoned; empty for none."""
        path = self.folder / PLAN
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""

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
        self.terraform.do("begin", arguments + route.arguments, Progress(), route.environment)
        errored = self.code / state.ERRORED
        if errored.is_file():
            self.terraform.ask(
                "store the state that could not be stored", ["state", "push", errored.name]
            )
            errored.rename(self.folder / f"{state.ERRORED}.pushed")
            print("A state that Terraform could not store before has been stored now.")
        return route.label

    def _spot_prices(self, planned: Plan) -> SpotHistory:
        """The recorded spot prices if they cover the plan's types, else the last week's."""
        groups = [group for group in planned.node_groups if group.spot]
        types = {kind for group in groups for kind in group.instance_types}
        recorded = self.run.find(SpotHistory)
        if recorded and types <= {point.instance_type for point in recorded.points}:
            return recorded
        return record_spot_prices(self.run, self.account, types)

    def _planned(self) -> Plan:
        """Plan, and keep the plan as JSON without secrets and account ids."""
        self.terraform.settle()
        arguments = ["plan", "-json", *ALWAYS, f"-out=../{PLAN}", f"-var-file=../{VARIABLES}"]
        self.terraform.do("plan", arguments, Progress())
        shown = self.terraform.ask("show the plan", ["show", "-json", f"../{PLAN}"])
        planned = Plan(json.loads(shown))
        self.run.write(PLAN_JSON, planned.masked(self._private()))
        return planned

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
