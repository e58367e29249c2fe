"""The cost model: one rate for each kind of resource; the estimate, meter and bill all use it."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from helpers.cloud.plan import Estimate, EstimateLine, Plan, PlanFacts, read_plan
from helpers.cloud.prices import Price, PriceTable, SpotHistory, load_table
from helpers.run import Run
from helpers.scenario import Settings

# names under which Cost Explorer bills (dimension SERVICE)
EKS = "Amazon Elastic Container Service for Kubernetes"
COMPUTE = "Amazon Elastic Compute Cloud - Compute"
EC2_OTHER = "EC2 - Other"
NODES = {"aws_eks_cluster", "aws_eks_node_group", "aws_autoscaling_group", "aws_vpc_endpoint"}
Billed = Literal["stack", "gpu-nodes", "load-balancers"]


@cache
def plan_costs() -> dict[str, Any]:
    """The rates beside nodes and control plane, and which Terraform types are free."""
    table: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "plan_costs.yaml").read_text())
    return table


@dataclass(frozen=True)
class Rate:
    """What one kind of resource costs while it exists."""

    what: str  # name for people
    resource: str  # Terraform type; empty for what a controller in the cluster creates
    service: str  # in Cost Explorer's words
    price: Price  # of spot nodes: on demand
    count: float = 1.0  # how many at first
    most: float = 0.0  # highest number; 0 for `count`
    size: float = 1.0  # units of the price that one of them uses
    billed: Billed = "stack"  # whose hours count
    unit: str = "hours"
    cap_usd: float | None = None  # of spot nodes: the highest price of an hour
    cap_note: str = ""
    instance_type: str = ""  # of spot nodes
    market: SpotHistory | None = None
    assumed: str = ""

    @property
    def source(self) -> str:
        """Where the price comes from."""
        market = self.market.source if self.market else "price cap"
        return self.price.label if self.cap_usd is None else market

    def usd_per_hour(self, moment: datetime) -> float:
        """US dollars an hour for one, at a moment; of spot nodes never above the cap."""
        if self.cap_usd is not None:
            market = self.market.price_at(moment, self.instance_type) if self.market else None
            return self.cap_usd if market is None else min(market, self.cap_usd)
        return self.size * self.price.per_hour

    def cost(self, period: "Period") -> float:
        """US dollars for one over a period, as AWS bills it: by the second or started hour."""
        if self.cap_usd is None:
            return self.price.cost(period.hours, self.size)
        moments = [period.start, period.end]
        if self.market:
            moments = self.market.changes(self.instance_type, *moments)
        spans = itertools.starmap(Period, itertools.pairwise(moments))
        return sum(self.usd_per_hour(span.start) * span.hours for span in spans)


@dataclass(frozen=True)
class CostModel:
    """The rates of everything that costs something in a plan."""

    plan: Plan
    table: PriceTable
    market: SpotHistory | None
    emulated: bool = False

    @property
    def sources(self) -> str:
        """Where prices come from, and their dates."""
        market = self.market.source if self.market else "no spot price history: price cap"
        return f"{self.table.summary}; {market}"

    @cached_property
    def rates(self) -> tuple[Rate, ...]:
        """One for each kind of resource."""
        return (*self._control_planes(), *self._nodes(), *self._others())

    def _control_planes(self) -> Iterator[Rate]:
        for cluster in self.plan.of_type("aws_eks_cluster"):
            policy = (cluster.values.get("upgrade_policy") or [{}])[0]
            what, key = "EKS control plane", "eks.standard"
            if policy.get("support_type") != "STANDARD":
                what, key = f"{what}, possibly extended support", "eks.extended"
            yield Rate(what, cluster.type, EKS, self.table.price(key))

    def _nodes(self) -> Iterator[Rate]:
        for group in self.plan.node_groups:
            types = [self.table.price(f"ec2.{kind}") for kind in group.instance_types]
            name = f"{'GPU' if group.spot else 'CPU'} nodes, {' or '.join(group.instance_types)}"
            node = Rate(name, group.resource, COMPUTE, types[0], group.desired_nodes,
                        group.max_nodes, assumed="all nodes, all the time")  # fmt: skip
            disk = replace(
                node, what=f"Disks of {name}", service=EC2_OTHER, price=self.table.price("gp3.gb"),
                size=group.disk_gib, unit="GB-hours", assumed=f"{group.disk_gib:g} GiB gp3 each",
            )  # fmt: skip
            if group.spot:
                on_demand = group.cap_usd is None
                node = replace(
                    node, what=f"{name} (spot)", billed="gpu-nodes", market=self.market,
                    cap_usd=max(price.usd for price in types) if on_demand else group.cap_usd,
                    cap_note=f"at most the {'on-demand price' if on_demand else 'price cap'}",
                    instance_type=group.instance_types[0],
                    assumed="" if self.market else "the price cap, as there is no price history",
                )  # fmt: skip
                disk = replace(disk, billed="gpu-nodes")
            yield from (node, disk)

    def _others(self) -> Iterator[Rate]:
        for facts in plan_costs()["rates"]:
            if resources := self.plan.of_type(facts["of"]):
                count = facts.get("count", len(resources))
                yield Rate(
                    what=facts["what"],
                    resource="" if facts.get("billed") else facts["of"],
                    service=facts["service"],
                    price=self.table.price(facts["price"]),
                    count=len(self.plan.public_subnets) if count == "public subnets" else count,
                    billed=facts.get("billed", "stack"),
                    unit=facts.get("unit", "hours"),
                    assumed=facts.get("assumed", ""),
                )


def run_cost_model(run: Run) -> CostModel | None:
    """The rates of a run; None where nothing was ever planned."""
    facts, plan = run.find(PlanFacts), read_plan(run)
    if facts is None or plan is None:
        return None
    table = run.find(PriceTable) or load_table(run.profile.region)
    return CostModel(plan, table, run.find(SpotHistory), facts.emulated)


def estimate(
    plan: Plan, table: PriceTable, market: SpotHistory, *, session_hours: float, budget_usd: float
) -> Estimate:
    """What a plan costs once everything exists; a session is counted in whole hours."""
    moment = datetime.fromisoformat(market.asked)
    lines = tuple(
        EstimateLine(
            what=rate.what,
            resource=rate.resource,
            count=rate.count,
            most=rate.most or rate.count,
            usd_per_hour=rate.usd_per_hour(moment),
            most_usd_per_hour=rate.usd_per_hour(moment) if rate.cap_usd is None else rate.cap_usd,
            source=rate.source,
            note=rate.assumed or rate.cap_note or rate.price.note,
        )
        for rate in CostModel(plan, table, market).rates
    )
    priced = NODES | {facts["of"] for facts in plan_costs()["rates"]} | {*plan_costs()["free"]}
    unknown = {resource.type for resource in plan.resources} - priced
    # gateway endpoints are free; others cost by hour and zone
    endpoints = plan.of_type("aws_vpc_endpoint")
    if any(endpoint.values.get("vpc_endpoint_type") != "Gateway" for endpoint in endpoints):
        unknown.add("aws_vpc_endpoint of another type than Gateway")
    hours = math.ceil(session_hours)
    return Estimate(
        lines=lines,
        session_hours=session_hours,
        session_usd=sum(line.hourly for line in lines) * hours,
        session_most_usd=sum(line.hourly_most for line in lines) * hours,
        budget_usd=budget_usd,
        unpriced=tuple(sorted(unknown)),
    )


@dataclass(frozen=True)
class Period:
    """So many of something, from one moment to another, UTC."""

    start: datetime
    end: datetime
    count: int = 1

    @property
    def hours(self) -> float:
        """Its length."""
        return (self.end - self.start).total_seconds() / 3600


@dataclass(frozen=True)
class Usage:
    """What existed, and how long; the stack from the start of an apply to the destroy's end."""

    periods: Mapping[Billed, tuple[Period, ...]]
    until: datetime  # the end of the calculation, UTC
    exists: bool  # whether the stack exists at that moment

    @property
    def hours(self) -> float:
        """How long the stack existed, hours."""
        return sum(period.hours for period in self.periods["stack"])

    @property
    def gpu_hours(self) -> float:
        """GPU nodes times hours."""
        return sum(period.hours * period.count for period in self.periods["gpu-nodes"])


def usage_until(run: Run, until: datetime, *, emulated: bool = False) -> Usage:
    """What existed up to a moment; after now it is assumed that nothing changes.

    In an emulated account, without controller, the planned load balancer lives with the stack.
    """
    dated = ((datetime.fromisoformat(event["at"]), event) for event in run.events())
    events = [(moment, event) for moment, event in dated if moment <= until]
    stack: list[Period] = []
    start: datetime | None = None
    for moment, event in events:
        # a failed apply has begun to cost; a failed destroy has not ended the cost
        match event:
            case {"kind": "stack-apply-start"}:
                start = start or moment
            case {"kind": "stack-destroy-stop", "outcome": "finished"} if start:
                stack.append(Period(start, moment))
                start = None
    ends = [(period.end, 0) for period in stack]  # the end of the stack sets every count to zero
    if start is not None:
        stack.append(Period(start, until))

    def counted(kind: str) -> tuple[Period, ...]:
        steps = [(moment, int(event["count"])) for moment, event in events if event["kind"] == kind]
        steps = [*sorted([*steps, *ends], key=lambda step: step[0]), (until, 0)]
        return tuple(
            Period(begin, end, count)
            for (begin, count), (end, _) in itertools.pairwise(steps)
            if count
        )

    periods: dict[Billed, tuple[Period, ...]] = {"stack": tuple(stack)}
    periods["gpu-nodes"], periods["load-balancers"] = map(counted, ("gpu-nodes", "load-balancers"))
    if emulated and not run.events("load-balancers"):
        periods["load-balancers"] = periods["stack"]
    return Usage(periods, until, exists=start is not None)


class CostItem(Settings):
    """What one kind of resource has cost."""

    what: str  # name for people
    service: str  # who bills it, in Cost Explorer's words
    quantity: float  # how much was used
    unit: str  # unit of the quantity
    usd: float  # US dollars
    usd_per_hour: float  # US dollars an hour at the end; 0 once it is gone
    source: str  # where the price comes from, and its date
    assumed: str = ""  # what is assumed rather than observed; may be empty
    gpu: bool = False  # whether it is the price of the GPU nodes themselves


def bill(model: CostModel, usage: Usage) -> Iterator[CostItem]:
    """What was used, multiplied by its rates."""
    for rate in model.rates:
        # events count GPU nodes and load balancers; of all else the plan says how many
        each = 1.0 if rate.billed == "gpu-nodes" else rate.count
        periods = usage.periods[rate.billed]
        if not periods and rate.billed == "load-balancers":
            continue
        now = sum(period.count for period in periods if usage.exists and period.end == usage.until)
        yield CostItem(
            what=rate.what,
            service=rate.service,
            quantity=sum(period.hours * period.count for period in periods) * each * rate.size,
            unit=rate.unit,
            usd=sum(rate.cost(period) * period.count for period in periods) * each,
            usd_per_hour=now * each * rate.usd_per_hour(usage.until),
            source=rate.source,
            assumed=rate.assumed,
            gpu=rate.cap_usd is not None,
        )


def hourly_rates(run: Run) -> tuple[dict[str, float], float | None]:
    """US dollars an hour by name of all but GPU nodes (of all, if emulated), and of a GPU node."""
    if (model := run_cost_model(run)) is None:
        return {}, None
    moment = datetime.fromisoformat(model.market.asked) if model.market else datetime.max
    nodes = [rate for rate in model.rates if rate.billed == "gpu-nodes"]
    fixed = {
        rate.what: rate.count * rate.usd_per_hour(moment)
        for rate in model.rates
        if rate not in nodes or model.emulated
    }
    return fixed, sum(rate.usd_per_hour(moment) for rate in nodes) if nodes else None
