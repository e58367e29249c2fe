"""Terraform for one run: plan, apply and destroy the stack of `infra/`.

Everything is in the run's folder `terraform/`, readable by its owner only: a copy of the code
(so that a run can be destroyed with what created it), variables, plan, local state, logs.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import requests

from helpers import programs
from helpers.cloud import certificate
from helpers.cloud.account import MASK, Account, api_cidr, asking, identity
from helpers.cloud.costs import estimate
from helpers.cloud.guardrails import admit
from helpers.cloud.plan import PLAN_JSON, Plan, PlanFacts, Replan
from helpers.cloud.preflight import SYSTEM_NODES
from helpers.cloud.prices import SpotHistory, record_prices, record_spot_prices
from helpers.cloud.stack import Stack, stack_record
from helpers.cloud.terraform_process import CODE, Progress, Terraform
from helpers.errors import Problem, Unavailable
from helpers.paths import CACHE, ROOT
from helpers.run import Run, now

PLAN, VARIABLES = "plan.tfplan", "run.tfvars.json"
NOT_CODE = shutil.ignore_patterns("tests", "bootstrap", ".terraform", "*.tfstate*", "README.md")
ALWAYS = ("-input=false", "-no-color")
ERRORED = "errored.tfstate"  # where Terraform leaves a state that it could not store
MIRROR = "TF_PROVIDER_MIRROR"
REGISTRY = "https://registry.terraform.io/.well-known/terraform.json"
PROVIDER = Path("registry.terraform.io/hashicorp/aws")


@dataclass(frozen=True)
class Workspace:
    """Terraform in a run's folder: the run, its account, and the program."""

    run: Run
    account: Account
    terraform: Terraform

    @classmethod
    def for_run(cls, run: Run, account: Account) -> Self:
        """The workspace of a run; nothing is changed yet.

        Raises:
            Unavailable: There is no Terraform on this machine.
        """
        program = programs.need("terraform")
        return cls(run, account, Terraform(program, run.folder / "terraform", account, run.mark))

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
            Unavailable: The provider is not available on this machine.
            Problem: Terraform of this run is still running, or cannot start.
        """
        self.terraform.settle()
        self._copy_code()
        made = certificate.ensure(self.run)
        files = [os.path.relpath(path, self.code) for path in (made.certificate, made.key)]
        values = self._variables(*files)
        self._write_private(VARIABLES, json.dumps(values, indent=2) + "\n")
        return self._init()

    def plan(self) -> PlanFacts:
        """Find out what would be done and what it costs; keeps `plan.json` and the record."""
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
        """Plan again after an apply: a stack that is as planned has no changes."""
        changes = self._planned().changes
        changed = tuple(change for change in changes if change.action != "none")
        record = Replan(planned=now(), resources=len(changes), changed=changed)
        self.run.save(record)
        return record

    def apply(self) -> Stack:
        """Carry out the plan, with a line for each resource; keeps the outputs as `Stack`.

        Raises:
            Problem: The readiness report or the budget forbids it, there is no plan, or Terraform
                fails; what exists by then is in the state.
        """
        facts = self.run.load(PlanFacts)
        admit(self.run, facts)
        if self._plan_digest() != facts.sha256:
            raise Problem(
                "There is no plan to apply whose cost is known.",
                "Plan first; a plan is applied once.",
            )
        self.terraform.settle()
        with self._recorded("stack-apply"):
            arguments = ["apply", "-json", *ALWAYS, f"../{PLAN}"]
            self.terraform.execute("apply the plan", arguments, Progress(total=facts.changes))
            (self.folder / PLAN).unlink()
        stack = stack_record(self.outputs(), self.account.emulated)
        self.run.save(stack)
        with asking("the GPU nodes' group"):
            groups = self.account.client("autoscaling").describe_auto_scaling_groups(
                AutoScalingGroupNames=[stack.gpu_asg_name]
            )["AutoScalingGroups"]
        count = sum(group["DesiredCapacity"] for group in groups)
        self.run.event("gpu-nodes", stage="01", count=count, source="AWS")
        return stack

    def outputs(self) -> dict[str, Any]:
        """Terraform's outputs by name."""
        answer = json.loads(self.terraform.query("read the outputs", ["output", "-json"]))
        return {name: output["value"] for name, output in answer.items()}

    def remaining(self) -> tuple[str, ...]:
        """Addresses of the resources in the state; empty after a complete destroy."""
        if not self.exists:
            return ()
        self.terraform.settle()
        pulled = self.terraform.query("read the state", ["state", "pull"]).strip()
        resources = json.loads(pulled)["resources"] if pulled else []
        return tuple(
            f"{item['type']}.{item['name']}" + (f"[{number}]" if len(item["instances"]) > 1 else "")
            for item in resources
            if item["mode"] == "managed"
            for number in range(len(item["instances"]))
        )

    def destroy(self) -> int:
        """Remove every resource in the state; can be repeated after any failure.

        Returns:
            How many resources were in the state.

        Raises:
            Problem: Terraform fails; what is left is still in the state.
        """
        if not self.exists:
            return 0
        self.terraform.settle()
        self._init()
        before = len(self.remaining())
        if before:
            options = ["-auto-approve", *ALWAYS, f"-var-file=../{VARIABLES}"]
            with self._recorded("stack-destroy"):
                arguments = ["destroy", "-json", *options]
                self.terraform.execute("destroy the stack", arguments, Progress(total=before))
        return before

    def unlock(self, lock_id: str) -> None:
        """Remove the lock that a killed Terraform left on a state in S3."""
        self.terraform.settle()
        self.terraform.query("remove the lock", ["force-unlock", "-force", lock_id])

    def _plan_digest(self) -> str:
        """Identifies the plan, so that none is applied without a known cost; empty for none."""
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
        override = json.dumps({"terraform": {"backend": self._backend()}}, indent=2) + "\n"
        self._write_private(f"{CODE}/backend_override.tf.json", override)

    def _backend(self) -> dict[str, Any]:
        """Where the state is stored: in the profile's bucket, else in the run's folder."""
        settings, region = self.run.profile.infrastructure, self.run.profile.region
        if not settings.state_bucket:
            return {"local": {"path": "../terraform.tfstate"}}
        key = f"{settings.name}/{self.run.run_id}/terraform.tfstate"
        # use_lockfile: a lock in the bucket itself, since Terraform 1.10
        return {"s3": {"bucket": settings.state_bucket, "key": key, "region": region,
                       "encrypt": True, "use_lockfile": True}}  # fmt: skip

    def _variables(self, certificate_file: str, key_file: str) -> dict[str, Any]:
        """The variables of `infra/`."""
        settings = self.run.profile.infrastructure
        return {
            "region": self.run.profile.region,
            "name": settings.name,
            "run_id": self.run.run_id,
            "tags": self.run.profile.tags,
            "kubernetes_version": settings.kubernetes_version,
            "zones": settings.zones,
            "nat_per_zone": settings.nat_per_zone,
            "api_cidr": api_cidr(self.run, self.account),
            "cpu_instance_types": list(settings.cpu_instance_types),
            "cpu_nodes": SYSTEM_NODES,
            "gpu": settings.gpu.model_dump(),
            "ttl_hours": settings.ttl_hours,
            "certificate_file": certificate_file,
            "certificate_key_file": key_file,
            "budget_usd": settings.budget_usd,
            "alert_email": settings.alert_email,
        }

    def _init(self) -> str:
        provider = find_provider()
        arguments = ["init", "-json", *ALWAYS, "-lockfile=readonly", "-reconfigure"]
        arguments += provider.arguments
        self.terraform.execute("start", arguments, Progress(), provider.environment)
        errored = self.code / ERRORED
        if errored.is_file():
            doing = "store the state that could not be stored"
            self.terraform.query(doing, ["state", "push", errored.name])
            errored.rename(self.folder / f"{ERRORED}.pushed")
            print("A state that Terraform could not store before has been stored now.")
        return provider.label

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
        self.terraform.execute("plan", arguments, Progress())
        shown = self.terraform.query("show the plan", ["show", "-json", f"../{PLAN}"])
        planned = Plan(json.loads(shown))
        private: dict[str, str] = {}
        if not self.account.emulated:  # an emulator has nothing private
            private = {
                identity(self.account).account_id: MASK,
                api_cidr(self.run, self.account): "<caller>",
                self.run.profile.infrastructure.alert_email: "<e-mail>",
            }
        self.run.write(PLAN_JSON, planned.masked(private))
        return planned

    @contextmanager
    def _recorded(self, kind: str) -> Iterator[None]:
        """Events of start and stop, with the outcome; costs are calculated from them."""
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


@dataclass(frozen=True)
class Provider:
    """Where `terraform init` gets the AWS provider: a mirror's folder, or the registry (None)."""

    folder: Path | None
    label: str

    @property
    def arguments(self) -> list[str]:
        """Options of `terraform init`."""
        return [f"-plugin-dir={self.folder}"] if self.folder else []

    @property
    def environment(self) -> dict[str, str]:
        """Variables of `terraform init`: the registry's 700 MB are cached for the next run."""
        if self.folder:
            return {}
        cache = CACHE / "terraform"
        cache.mkdir(parents=True, exist_ok=True)
        return {"TF_PLUGIN_CACHE_DIR": str(cache)}


def find_provider(
    environment: Mapping[str, str] = os.environ, registry: str = REGISTRY
) -> Provider:
    """The first source that has the provider: a named mirror, the registry, a local folder.

    Raises:
        Unavailable: None has it.
    """
    if named := environment.get(MIRROR, ""):
        if not (Path(named) / PROVIDER).is_dir():
            raise Unavailable(
                f"{MIRROR} names a folder without {PROVIDER}.",
                "Fill it with 'terraform providers mirror', or unset the variable.",
            )
        return Provider(Path(named).resolve(), f"the mirror that {MIRROR} names")
    try:
        if requests.get(registry, timeout=4).ok:
            return Provider(None, "the Terraform registry")
    except requests.RequestException:
        pass
    for folder in _mirror_folders(environment):
        if (folder / PROVIDER).is_dir():
            return Provider(folder, "a mirror on this machine")
    raise Unavailable(
        "Terraform's AWS provider is not available: the registry does not answer, and no folder "
        "of this machine has it.",
        f"Go online once, or name a mirror in {MIRROR} (made by 'terraform providers mirror').",
    )


def _mirror_folders(environment: Mapping[str, str]) -> Iterator[Path]:
    """XDG data, the home plugin folder, and folders under opt and share."""
    home = Path(environment.get("HOME", Path.home()))
    data = [environment.get("XDG_DATA_HOME") or str(home / ".local/share")]
    data += (environment.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(":")
    yield from (Path(folder) / "terraform/plugins" for folder in data)
    yield home / ".terraform.d/plugins"
    for parent in (Path("/opt"), Path("/usr/local/opt"), *map(Path, data[1:])):
        if parent.is_dir():
            yield from sorted(folder for folder in parent.iterdir() if folder.is_dir())
