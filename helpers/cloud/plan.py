"""Terraform's plan: the only reader of `terraform show -json`, and the record of a plan."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Literal

import pandas as pd

from helpers.errors import Problem
from helpers.run import Record, Run
from helpers.scenario import Settings

PLAN_JSON = "terraform/plan.json"  # in a run's folder; without secrets and account ids
SECRET = "(sensitive)"
Action = Literal["create", "update", "replace", "delete", "none"]
PUBLIC_SUBNET = "kubernetes.io/role/elb"  # where internet-facing load balancers go
AMI_DISK_GIB = 20.0  # of a node whose launch template is not in the plan


@dataclass(frozen=True)
class TerraformResource:
    """A managed resource as it will exist once the plan is applied."""

    address: str
    type: str  # such as `aws_eks_cluster`
    values: Mapping[str, Any]  # without those that are known only after the apply

    @property
    def tags(self) -> dict[str, str]:
        """Its tags, the default ones included."""
        if self.type == "aws_autoscaling_group":
            return {tag["key"]: tag["value"] for tag in self.values.get("tag") or ()}
        return dict(self.values.get("tags_all") or self.values.get("tags") or {})


@dataclass(frozen=True)
class PlannedNodeGroup:
    """A group of equal nodes."""

    name: str
    instance_types: tuple[str, ...]  # first choice first
    cap_usd: float | None  # of spot nodes: highest price of an hour; None: on demand
    min_nodes: int
    desired_nodes: int
    max_nodes: int
    disk_gib: float = AMI_DISK_GIB


@dataclass(eq=False)
class Plan:
    """A Terraform plan, from what `terraform show -json` printed."""

    _document: Mapping[str, Any]

    @cached_property
    def resources(self) -> tuple[TerraformResource, ...]:
        """Every managed resource that will exist; the stack has no modules."""
        root = self._document.get("planned_values", {}).get("root_module", {})
        return tuple(
            TerraformResource(item.get("address", ""), item["type"], item.get("values") or {})
            for item in root.get("resources", ())
            if item.get("mode") == "managed"
        )

    def of_type(self, kind: str) -> list[TerraformResource]:
        """The resources of a Terraform type."""
        return [resource for resource in self.resources if resource.type == kind]

    @cached_property
    def changes(self) -> tuple["PlannedResource", ...]:
        """Every managed resource of the configuration with its action, by address."""
        changes = []
        for item in self._document.get("resource_changes", ()):
            actions = item["change"]["actions"]  # a replacement is two, in either order
            if item["mode"] == "managed" and actions != ["read"]:
                action = "replace" if len(actions) > 1 else actions[0].replace("no-op", "none")
                facts = {"address": item["address"], "type": item["type"], "action": action}
                changes.append(PlannedResource.model_validate(facts))
        return tuple(sorted(changes, key=lambda change: change.address))

    @property
    def public_subnets(self) -> list[TerraformResource]:
        """Subnets of internet-facing load balancers."""
        return [subnet for subnet in self.of_type("aws_subnet") if PUBLIC_SUBNET in subnet.tags]

    @cached_property
    def node_groups(self) -> tuple[PlannedNodeGroup, ...]:
        """Managed node groups, then Auto Scaling groups."""
        templates = [template.values for template in self.of_type("aws_launch_template")]
        disks = {
            t["name"]: float(sum(d["ebs"][0]["volume_size"] for d in t["block_device_mappings"]))
            for t in templates
        }
        groups = [_managed(group.values) for group in self.of_type("aws_eks_node_group")]
        groups += [_auto_scaling(group.values) for group in self.of_type("aws_autoscaling_group")]
        largest = max(disks.values(), default=AMI_DISK_GIB)
        return tuple(replace(group, disk_gib=disks.get(group.name, largest)) for group in groups)

    def masked(self, hide: Mapping[str, str]) -> str:
        """The plan as JSON without secrets and prior state; `hide`: text → what replaces it."""
        kept = {name: part for name, part in self._document.items() if name != "prior_state"}
        text = json.dumps(_without_secrets(kept), indent=1)
        for secret in filter(None, hide):
            text = text.replace(secret, hide[secret])
        return text + "\n"


def _managed(values: Mapping[str, Any]) -> PlannedNodeGroup:
    scaling = values["scaling_config"][0]
    return PlannedNodeGroup(
        name=values["node_group_name"],
        instance_types=tuple(values["instance_types"]),
        cap_usd=None,
        min_nodes=scaling.get("min_size", 0),
        desired_nodes=scaling["desired_size"],
        max_nodes=scaling["max_size"],
    )


def _auto_scaling(values: Mapping[str, Any]) -> PlannedNodeGroup:
    policy = values["mixed_instances_policy"][0]
    return PlannedNodeGroup(
        name=values["name"],
        instance_types=tuple(t["instance_type"] for t in policy["launch_template"][0]["override"]),
        cap_usd=float(policy["instances_distribution"][0]["spot_max_price"]),
        min_nodes=values.get("min_size", 0),
        desired_nodes=values["desired_capacity"],
        max_nodes=values["max_size"],
    )


def _without_secrets(part: Any) -> Any:
    if isinstance(part, list):
        return [_without_secrets(item) for item in part]
    if not isinstance(part, dict):
        return part
    clean = {name: _without_secrets(item) for name, item in part.items()}
    for values, marks in (("before", "before_sensitive"), ("after", "after_sensitive"),
                          ("values", "sensitive_values")):  # fmt: skip
        if values in part and marks in part:
            clean[values] = _hidden(part[values], part[marks])
    if part.get("sensitive") is True and "value" in part:
        clean["value"] = SECRET
    return clean


def _hidden(value: Any, mark: Any) -> Any:
    if mark is True:
        return SECRET
    if isinstance(value, dict) and isinstance(mark, dict):
        return {name: _hidden(item, mark.get(name)) for name, item in value.items()}
    if isinstance(value, list) and isinstance(mark, list):
        marks = [*mark, *[None] * (len(value) - len(mark))]
        return [_hidden(item, beside) for item, beside in zip(value, marks, strict=False)]
    return value


class PlannedResource(Settings):
    """One resource of a plan, and what will happen to it."""

    address: str
    type: str
    action: Action


class EstimateLine(Settings):
    """What one kind of resource costs."""

    what: str  # name for people
    billed: str  # what its hours or GB are those of; see `costs.Billed`
    count: float  # how many there are at first, or GB an hour
    most: float  # the highest number
    usd_per_hour: float  # one of them, at the price known now
    most_usd_per_hour: float  # one of them, at the highest possible price
    source: str  # where the price comes from, and its date
    note: str = ""  # what is assumed; may be empty

    @property
    def hourly(self) -> float:
        """US dollars an hour, at first."""
        return self.count * self.usd_per_hour

    @property
    def hourly_most(self) -> float:
        """US dollars an hour, at most."""
        return self.most * self.most_usd_per_hour


class Estimate(Settings):
    """What a plan will cost."""

    lines: tuple[EstimateLine, ...]  # one for each kind of resource that costs something
    session_hours: float  # length of a session: until the dead man's switch fires
    session_usd: float  # a session with the nodes and prices of its start
    session_most_usd: float  # a session at the highest prices with the most nodes all the time
    budget_usd: float  # what the profile allows for a session
    unpriced: tuple[str, ...] = ()  # resource types without a known price


class PlanFacts(Record, stage="01", name="plan"):
    """What Terraform will do, and what that costs."""

    emulated: bool  # whether the account is emulated
    planned: str  # when, UTC
    sha256: str  # of Terraform's plan file; only this plan may be applied
    resources: tuple[PlannedResource, ...]  # every managed resource of the configuration
    cost: Estimate  # what everything costs once it exists

    @property
    def changes(self) -> int:
        """How many resources are created, changed, replaced or deleted."""
        return sum(resource.action != "none" for resource in self.resources)

    @property
    def summary(self) -> str:
        """One sentence: what is planned."""
        if not self.changes:
            return f"no changes: all {len(self.resources)} resources are as planned"
        verbs: dict[Action, str] = {"create": "to create", "update": "to change",
                                    "replace": "to replace", "delete": "to delete"}  # fmt: skip
        counts = Counter(resource.action for resource in self.resources)
        parts = [f"{counts[action]} {verb}" for action, verb in verbs.items() if counts[action]]
        return f"{', '.join(parts)} of {len(self.resources)} resources"


class Replan(Record, stage="01", name="replan"):
    """A second plan, after the apply: how many resources there are, and which would change."""

    planned: str
    resources: int
    changed: tuple[PlannedResource, ...]

    @property
    def summary(self) -> str:
        """One sentence: whether anything would change."""
        if not self.changed:
            return f"no changes: all {self.resources} resources are as planned"
        names = ", ".join(f"{change.address} ({change.action})" for change in self.changed)
        return f"{len(self.changed)} of {self.resources} resources would change: {names}"


def frame(facts: PlanFacts) -> pd.DataFrame:
    """One row for each kind of resource that costs something, and the totals."""
    cost = facts.cost
    rows = [
        {
            "resource": line.what,
            "count": ", up to ".join(f"{n:g}" for n in dict.fromkeys((line.count, line.most))),
            "each, US$/h": f"{line.usd_per_hour:.4f}",
            "US$/h": f"{line.hourly:.4f}",
            "at most": f"{line.hourly_most:.4f}",
            "source": line.source,
            "note": line.note,
        }
        for line in cost.lines
    ]
    hourly = sum(line.hourly for line in cost.lines)
    most = sum(line.hourly_most for line in cost.lines)
    by = datetime.fromisoformat(facts.planned) + timedelta(hours=cost.session_hours)
    session = f"session of {cost.session_hours:g} h, if torn down by {by:%H:%M} UTC"
    totals = {"hour": (hourly, most), session: (cost.session_usd, cost.session_most_usd)}
    rows += [
        {"resource": f"Total per {per}", "US$/h": f"{usd:.2f}", "at most": f"{highest:.2f}"}
        for per, (usd, highest) in totals.items()
    ]
    return pd.DataFrame(rows).fillna("").assign(label="EMULATED" if facts.emulated else "AWS")


def kinds(facts: PlanFacts) -> pd.DataFrame:
    """How many resources of each type have which action."""
    table = pd.DataFrame([resource.model_dump() for resource in facts.resources])
    return table.groupby(["type", "action"]).size().reset_index(name="count")


def read_plan(run: Run) -> Plan:
    """The plan of a run; a `Problem` where there is none, or it cannot be read."""
    path = run.folder / PLAN_JSON
    if not path.is_file():
        raise Problem(f"Run {run.run_id} has no {PLAN_JSON}.", "Run stage 01 first.")
    try:
        return Plan(json.loads(path.read_text()))
    except json.JSONDecodeError as error:
        raise Problem(f"The plan {path.name} cannot be read: {error}.") from error
