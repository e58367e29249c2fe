"""Terraform for one run: plan, apply and destroy the stack of `infra/`.

The run's folder `terraform/`, readable by its owner only, has everything, even a copy of the code:
a run is destroyed with what created it.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import requests

from helpers import programs
from helpers.cloud import certificate
from helpers.cloud.account import MASK, Account, api_cidr, identity
from helpers.cloud.costs import CostModel, estimate
from helpers.cloud.guardrails import admit
from helpers.cloud.plan import PLAN_JSON, Plan, PlanFacts, Replan
from helpers.cloud.prices import SpotHistory, record_prices, record_spot_prices
from helpers.cloud.stack import Stack, record_gpu_nodes, stack_record
from helpers.cloud.terraform_process import CODE, Terraform
from helpers.errors import Problem, Unavailable
from helpers.paths import CACHE, ROOT
from helpers.run import Run, now

PLAN, VARIABLES = "plan.tfplan", "run.tfvars.json"
NOT_CODE = shutil.ignore_patterns("tests", "bootstrap", ".terraform", "*.tfstate*", "README.md")
VARIABLES_OPTION = f"-var-file=../{VARIABLES}"
JSON = ("-json", "-input=false", "-no-color")
ERRORED = "errored.tfstate"  # where Terraform leaves a state that it could not store
MIRROR = "TF_PROVIDER_MIRROR"
REGISTRY = "https://registry.terraform.io/.well-known/terraform.json"
PROVIDER = Path("registry.terraform.io/hashicorp/aws")
# settings of a profile's `infrastructure` that are variables of `infra/`
SAME_NAME = {"name", "kubernetes_version", "zones", "nat_per_zone", "cpu_instance_types", "gpu",
             "ttl_hours", "budget_usd", "alert_email"}  # fmt: skip


class Workspace(Terraform):
    """The life of a stack: planned, applied, destroyed."""

    @classmethod
    def for_run(cls, run: Run, account: Account) -> Self:
        """The workspace of a run; nothing is changed yet."""
        return cls(run, account, programs.need("terraform"))

    def init(self) -> str:
        """Copy the code, write variables, fetch the provider; returns where it came from."""
        self.settle()
        self._copy_code()
        self._write_private(VARIABLES, json.dumps(self._variables(), indent=2) + "\n")
        return self._init()

    def plan(self) -> PlanFacts:
        """Find out what would be done and what it costs; keeps `plan.json` and the record."""
        planned, profile = self._planned(), self.run.profile
        table, market = record_prices(self.run, self.account), self._spot_prices(planned)
        cost = estimate(profile, CostModel(planned, table, market))
        facts = PlanFacts(
            emulated=self.account.emulated,
            planned=now(),
            sha256=self._plan_digest(),
            resources=planned.changes,
            cost=cost,
        )
        return self.run.save(facts)

    def replan(self) -> Replan:
        """Plan again after an apply: a stack that is as planned has no changes."""
        changes = self._planned().changes
        changed = tuple(change for change in changes if change.action != "none")
        return self.run.save(Replan(planned=now(), resources=len(changes), changed=changed))

    def apply(self) -> Stack:
        """Carry out the plan, if `admit` allows it, and keep the outputs as `Stack`."""
        facts = self.run.load(PlanFacts)
        admit(self.run, facts)
        if self._plan_digest() != facts.sha256:
            raise Problem(
                "There is no plan to apply whose cost is known.",
                "Plan first; a plan is applied once.",
            )
        self.settle()
        with self._recorded("stack-apply"):
            self.execute("apply the plan", "apply", *JSON, f"../{PLAN}", total=facts.changes)
            (self.folder / PLAN).unlink()
        outputs = json.loads(self.query("read the outputs", "output", "-json"))
        values = {name: output["value"] for name, output in outputs.items()}
        stack = self.run.save(stack_record(values, self.account.emulated))
        record_gpu_nodes(self.run, self.account)
        return stack

    def remaining(self) -> tuple[str, ...]:
        """Addresses of the resources in the state; empty after a complete destroy."""
        if not self.code.is_dir():  # nothing was ever planned
            return ()
        self.settle()
        if not (self.code / ".terraform").is_dir():
            self._init()
        pulled = self.query("read the state", "state", "pull").strip()
        return tuple(
            f"{item['type']}.{item['name']}" + (f"[{number}]" if len(item["instances"]) > 1 else "")
            for item in (json.loads(pulled)["resources"] if pulled else ())
            if item["mode"] == "managed"
            for number in range(len(item["instances"]))
        )

    def destroy(self) -> int:
        """Remove every resource in the state, and count them; can be repeated after any failure."""
        if not self.code.is_dir():
            return 0
        self.settle()
        self._init()
        before = len(self.remaining())
        if before:
            arguments = ("destroy", *JSON, "-auto-approve", VARIABLES_OPTION)
            with self._recorded("stack-destroy"):
                self.execute("destroy the stack", *arguments, total=before)
        return before

    def _plan_digest(self) -> str:
        path = self.folder / PLAN
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""

    def _copy_code(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for old in self.code.glob("*.tf"):
            old.unlink()
        shutil.copytree(ROOT / CODE, self.code, ignore=NOT_CODE, dirs_exist_ok=True)
        contract = Path("k8s/contract.yaml")
        (self.folder / contract).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / contract, self.folder / contract)
        override = json.dumps({"terraform": {"backend": self._backend()}}, indent=2) + "\n"
        self._write_private(f"{CODE}/backend_override.tf.json", override)

    def _backend(self) -> dict[str, Any]:
        settings, region = self.run.profile.infrastructure, self.run.profile.region
        if not settings.state_bucket:
            return {"local": {"path": "../terraform.tfstate"}}
        key = f"{settings.name}/{self.run.run_id}/terraform.tfstate"
        # use_lockfile: a lock in the bucket itself, since Terraform 1.10
        return {"s3": {"bucket": settings.state_bucket, "key": key, "region": region,
                       "encrypt": True, "use_lockfile": True}}  # fmt: skip

    def _variables(self) -> dict[str, Any]:
        made, profile = certificate.ensure(self.run), self.run.profile
        return {
            **profile.infrastructure.model_dump(include=SAME_NAME),
            "region": profile.region,
            "run_id": self.run.run_id,
            "tags": profile.tags,
            "api_cidr": api_cidr(self.run, self.account),
            "cpu_nodes": profile.system_nodes,
            "certificate_file": os.path.relpath(made.certificate, self.code),
            "certificate_key_file": os.path.relpath(made.key, self.code),
        }

    def _init(self) -> str:
        provider = find_provider()
        arguments = ("init", *JSON, "-lockfile=readonly", "-reconfigure", *provider.arguments)
        self.execute("start", *arguments, environment=provider.environment)
        errored = self.code / ERRORED
        if errored.is_file():
            self.query("store the state that could not be stored", "state", "push", errored.name)
            errored.rename(self.folder / f"{ERRORED}.pushed")
            print("A state that Terraform could not store before has been stored now.")
        return provider.label

    def _spot_prices(self, planned: Plan) -> SpotHistory:
        """The recorded spot prices if they cover the plan's types, else the last week's."""
        spot = [group for group in planned.node_groups if group.cap_usd is not None]
        types = {name for group in spot for name in group.instance_types}
        recorded = self.run.find(SpotHistory)
        if recorded and types <= {point.instance_type for point in recorded.points}:
            return recorded
        return record_spot_prices(self.run, self.account, types)

    def _planned(self) -> Plan:
        """Plan, and keep the plan as JSON without secrets and account ids."""
        self.settle()
        self.execute("plan", "plan", *JSON, f"-out=../{PLAN}", VARIABLES_OPTION)
        shown = self.query("show the plan", "show", "-json", f"../{PLAN}")
        planned = Plan(json.loads(shown))
        private = {} if self.account.emulated else {
            identity(self.account).account_id: MASK,
            api_cidr(self.run, self.account): "<caller>",
            self.run.profile.infrastructure.alert_email: "<e-mail>",
        }  # fmt: skip
        self.run.write(PLAN_JSON, planned.masked(private))
        return planned

    @contextmanager
    def _recorded(self, kind: str) -> Iterator[None]:
        """Events of start and stop, with the outcome; costs are calculated from them."""
        stage, outcome = "01" if kind == "stack-apply" else "06", "failed"
        self.run.event(f"{kind}-start", stage=stage, source="Terraform")
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


class Provider(NamedTuple):
    """Where `terraform init` gets the AWS provider: in words, its options, its environment."""

    label: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = MappingProxyType({})


def find_provider(
    environment: Mapping[str, str] = os.environ, registry: str = REGISTRY
) -> Provider:
    """The first source that has the provider: a named mirror, the registry, a local folder."""
    if named := environment.get(MIRROR, ""):
        if not (Path(named) / PROVIDER).is_dir():
            raise Unavailable(
                f"{MIRROR} names a folder without {PROVIDER}.",
                "Fill it with 'terraform providers mirror', or unset the variable.",
            )
        mirror = f"-plugin-dir={Path(named).resolve()}"
        return Provider(f"the mirror that {MIRROR} names", (mirror,))
    try:
        if requests.get(registry, timeout=4).ok:
            cache = CACHE / "terraform"  # 700 MB for the next run
            cache.mkdir(parents=True, exist_ok=True)
            return Provider("the Terraform registry", (), {"TF_PLUGIN_CACHE_DIR": str(cache)})
    except requests.RequestException:
        pass
    for folder in _plugin_folders(environment):
        if (folder / PROVIDER).is_dir():
            return Provider("a mirror on this machine", (f"-plugin-dir={folder}",))
    raise Unavailable(
        "Terraform's AWS provider is not available: the registry does not answer, and no folder "
        "of this machine has it.",
        f"Go online once, or name a mirror in {MIRROR} (made by 'terraform providers mirror').",
    )


def _plugin_folders(environment: Mapping[str, str]) -> list[Path]:
    """XDG data, the home plugin folder, and folders under opt and share."""
    home = Path(environment.get("HOME", Path.home()))
    user = environment.get("XDG_DATA_HOME") or home / ".local/share"
    data = (environment.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(":")
    implied = [Path(folder) / "terraform/plugins" for folder in (user, *data)]
    others = [sorted(Path(folder).glob("*/")) for folder in ("/opt", "/usr/local/opt", *data)]
    return [*implied, home / ".terraform.d/plugins", *(path for paths in others for path in paths)]
