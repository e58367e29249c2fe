"""The cost model: one rate for each kind of resource; the estimate, meter and bill all use it.

`cost_model` turns a plan and prices into rates. `estimate` multiplies them by the length of a
session, `bill` by the hours that the run's events show. Equal hours cost the same in both.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from helpers.cloud.plan import Estimate, EstimateLine, Plan, PlanFacts, PlannedNodeGroup, read_plan
from helpers.cloud.prices import Price, PriceTable, SpotHistory, load_table
from helpers.run import Run
from helpers.scenario import Settings

# Names under which Cost Explorer bills (dimension SERVICE).
EKS = "Amazon Elastic Container Service for Kubernetes"
COMPUTE = "Amazon Elastic Compute Cloud - Compute"
EC2_OTHER = "EC2 - Other"
VPC = "Amazon Virtual Private Cloud"
BALANCING = "Amazon Elastic Load Balancing"
# Terraform type → price key, name for people, billing service, key of `assumed`.
PER_RESOURCE = {
    "aws_nat_gateway": ("nat.hour", "NAT gateway", EC2_OTHER),
    "aws_eip": ("ipv4.hour", "Public IPv4 address of NAT", VPC),
    "aws_cloudwatch_metric_alarm": ("cloudwatch.alarm", "Billing alarm", "AmazonCloudWatch"),
    "aws_kms_key": ("kms.key", "KMS key", "AWS Key Management Service"),
}
STORED = {
    "aws_ecr_repository": ("ecr.gb", "Image in ECR", "Amazon EC2 Container Registry (ECR)",
                           "image_gb"),
    "aws_s3_bucket": ("s3.gb", "Models in S3", "Amazon Simple Storage Service", "models_gb"),
}  # fmt: skip
TRAFFIC = {
    "aws_nat_gateway": ("nat.gb", "Traffic through NAT", EC2_OTHER, "nat_gb_per_hour"),
    "aws_eks_cluster": ("transfer.out.gb", "Traffic to the internet", EC2_OTHER, "out_gb_per_hour"),
}
PRICED = {*PER_RESOURCE, *STORED, *TRAFFIC, "aws_eks_node_group", "aws_autoscaling_group",
          "aws_vpc_endpoint"}  # fmt: skip
INTERFACE_ENDPOINT = "aws_vpc_endpoint of another type than Gateway"


@cache
def _table() -> dict[str, Any]:
    """What is assumed where no plan says it, and which types are free."""
    table: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "plan_costs.yaml").read_text())
    return table


@dataclass(frozen=True)
class Rate:
    """What one kind of resource costs while it exists."""

    what: str  # name for people
    resource: str  # Terraform type; empty for what a controller in the cluster creates
    service: str  # in Cost Explorer's words
    price: Price  # of spot nodes the on-demand price
    count: float = 1.0  # how many at first
    most: float = 0.0  # highest number; 0 for `count`
    size: float = 1.0  # units of the price that one of them uses
    billed: Literal["stack", "gpu-nodes", "load-balancers"] = "stack"  # whose hours count
    unit: str = "hours"
    cap_usd: float | None = None  # of spot nodes: the highest price of an hour
    cap_note: str = ""
    instance_type: str = ""  # of spot nodes
    market: SpotHistory | None = None
    assumed: str = ""

    @property
    def source(self) -> str:
        """Where the price comes from."""
        if self.cap_usd is None:
            return self.price.label
        return self.market.source if self.market else "price cap"

    def usd_per_hour(self, moment: datetime) -> float:
        """US dollars an hour for one, at a moment; of spot nodes never above the cap."""
        if self.cap_usd is not None:
            market = self.market.price_at(moment, self.instance_type) if self.market else None
            return self.cap_usd if market is None else min(market, self.cap_usd)
        return self.size * (self.price.usd if self.price.per == "GB" else self.price.per_hour)

    @property
    def most_usd_per_hour(self) -> float:
        """The same, at the highest possible price."""
        return self.usd_per_hour(datetime.min) if self.cap_usd is None else self.cap_usd

    def cost(self, period: "Period") -> float:
        """US dollars for one over a period, as AWS bills it: by the second or started hour."""
        if self.cap_usd is not None:
            moments = [period.start, period.end]
            if self.market:
                moments = self.market.changes(self.instance_type, *moments)
            return sum(
                self.usd_per_hour(start) * Period(start, end).hours
                for start, end in itertools.pairwise(moments)
            )
        if self.price.per == "GB":
            return self.usd_per_hour(period.start) * period.hours
        return self.price.cost(period.hours, self.size)


@dataclass(frozen=True)
class CostModel:
    """The rates of a plan, and where their prices come from."""

    rates: tuple[Rate, ...]
    table: PriceTable
    market: SpotHistory | None
    emulated: bool = False

    @property
    def sources(self) -> str:
        """Where prices come from, and their dates."""
        market = self.market.source if self.market else "no spot price history: price cap"
        return f"{self.table.summary}; {market}"


def cost_model(
    plan: Plan, table: PriceTable, market: SpotHistory | None, *, emulated: bool = False
) -> CostModel:
    """The rates of everything that costs something in a plan."""
    rates = tuple(_rates(plan, table, market, _table()["assumed"]))
    return CostModel(rates, table, market, emulated)


def run_cost_model(run: Run) -> CostModel | None:
    """The rates of a run; None where nothing was ever planned."""
    facts, plan = run.find(PlanFacts), read_plan(run)
    if facts is None or plan is None:
        return None
    table = run.find(PriceTable) or load_table(run.profile.region)
    return cost_model(plan, table, run.find(SpotHistory), emulated=facts.emulated)


def _rates(
    plan: Plan, table: PriceTable, market: SpotHistory | None, assumed: Mapping[str, float]
) -> Iterator[Rate]:
    clusters = plan.of_type("aws_eks_cluster")
    for cluster in clusters:
        policy = (cluster.values.get("upgrade_policy") or [{}])[0]
        standard = policy.get("support_type") == "STANDARD"
        yield Rate(
            "EKS control plane" if standard else "EKS control plane, possibly extended support",
            cluster.type, EKS, table.price("eks.standard" if standard else "eks.extended"),
        )  # fmt: skip
    for group in plan.node_groups:
        yield from _node_rates(group, table, market)
    for kind, (key, what, service) in PER_RESOURCE.items():
        if resources := plan.of_type(kind):
            yield Rate(what, kind, service, table.price(key), len(resources))
    if clusters:  # created by the load balancer controller, not by Terraform
        for key, what, service, count, note in (
            ("alb.hour", "Load balancer", BALANCING, 1.0, "created by its controller in stage 03"),
            ("alb.lcu", "Load balancer's capacity unit", BALANCING, assumed["lcu"], "assumed"),
            ("ipv4.hour", "Public IPv4 addresses of the load balancer", VPC,
             float(len(plan.public_subnets)), "one in each zone"),
        ):  # fmt: skip
            yield Rate(what, "", service, table.price(key), count, billed="load-balancers",
                       assumed=note)  # fmt: skip
    for kind, (key, what, service, amount) in STORED.items():
        if plan.of_type(kind):
            yield Rate(what, kind, service, table.price(key), assumed[amount], unit="GB-hours",
                       assumed=f"{assumed[amount]:g} GB assumed")  # fmt: skip
    for kind, (key, what, service, amount) in TRAFFIC.items():
        if plan.of_type(kind):
            yield Rate(what, kind, service, table.price(key), assumed[amount], unit="GB",
                       assumed=f"{assumed[amount]:g} GB an hour assumed")  # fmt: skip


def _node_rates(
    group: PlannedNodeGroup, table: PriceTable, market: SpotHistory | None
) -> Iterator[Rate]:
    types = [table.instance(kind) for kind in group.instance_types]
    name = f"{'GPU' if group.spot else 'CPU'} nodes, {' or '.join(group.instance_types)}"
    node = Rate(name, group.resource, COMPUTE, types[0], group.desired_nodes, group.max_nodes)
    disk = replace(
        node, what=f"Disks of {name}", service=EC2_OTHER, price=table.price("gp3.gb"),
        size=group.disk_gib, unit="GB-hours", assumed=f"{group.disk_gib:g} GiB gp3 each",
    )  # fmt: skip
    if not group.spot:
        yield replace(node, assumed="all nodes, all the time")
        yield disk
        return
    dearest = max(price.usd for price in types)
    yield replace(
        node, what=f"{name} (spot)", billed="gpu-nodes", market=market,
        instance_type=group.instance_types[0],
        cap_usd=dearest if group.cap_usd is None else group.cap_usd,
        cap_note="at most the " + ("on-demand price" if group.cap_usd is None else "price cap"),
        assumed="" if market else "the price cap, as there is no price history",
    )  # fmt: skip
    yield replace(disk, billed="gpu-nodes")


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
            most_usd_per_hour=rate.most_usd_per_hour,
            source=rate.source,
            note=rate.assumed or rate.cap_note or rate.price.note,
        )
        for rate in cost_model(plan, table, market).rates
    )
    # gateway endpoints are free; others cost by hour and zone
    unknown = {resource.type for resource in plan.resources} - PRICED - {*_table()["free"]}
    for endpoint in plan.of_type("aws_vpc_endpoint"):
        if endpoint.values.get("vpc_endpoint_type") != "Gateway":
            unknown.add(INTERFACE_ENDPOINT)
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
    """What existed, and how long."""

    # from the start of an apply to the end of the destroy that removed it: what the apply
    # created late is counted slightly too long, never too short
    stack: tuple[Period, ...]
    gpu_nodes: tuple[Period, ...]
    load_balancers: tuple[Period, ...]
    until: datetime  # the end of the calculation, UTC
    exists: bool  # whether the stack exists at that moment

    @property
    def hours(self) -> float:
        """How long the stack existed, hours."""
        return sum(period.hours for period in self.stack)

    @property
    def gpu_hours(self) -> float:
        """GPU nodes times hours."""
        return sum(period.hours * period.count for period in self.gpu_nodes)

    def periods(self, rate: Rate) -> tuple[Period, ...]:
        """When what a rate is for existed."""
        by_kind = {"gpu-nodes": self.gpu_nodes, "load-balancers": self.load_balancers}
        return by_kind.get(rate.billed, self.stack)

    def count_now(self, rate: Rate) -> int:
        """How many of them exist at the end."""
        last = self.periods(rate)[-1:]
        return last[0].count if self.exists and last and last[0].end == self.until else 0


def usage_until(run: Run, until: datetime, *, emulated: bool = False) -> Usage:
    """What existed up to a moment; after now it is assumed that nothing changes.

    `emulated`: whether the account is emulated. The emulator has no load balancer controller:
    the planned load balancer is then counted as long as the stack exists, as on AWS.
    """
    events = [event for event in run.events() if _moment(event) <= until]
    stack, exists = _stack_periods(events, until)
    ends = [period.end for period in stack if period.end < until or not exists]
    balancers = _counted_periods(events, "load-balancers", ends, until)
    if emulated and not run.events("load-balancers"):
        balancers = stack
    gpu_nodes = _counted_periods(events, "gpu-nodes", ends, until)
    return Usage(stack, gpu_nodes, balancers, until, exists)


def _moment(event: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(event["at"])


def _stack_periods(
    events: Iterable[Mapping[str, Any]], until: datetime
) -> tuple[tuple[Period, ...], bool]:
    """A failed apply has already begun to cost; a failed destroy has not ended the cost."""
    periods: list[Period] = []
    start: datetime | None = None
    for event in events:
        if event["kind"] == "stack-apply-start" and start is None:
            start = _moment(event)
        finished = event["kind"] == "stack-destroy-stop" and event.get("outcome") == "finished"
        if finished and start is not None:
            periods.append(Period(start, _moment(event)))
            start = None
    if start is not None:
        periods.append(Period(start, until))
    return tuple(periods), start is not None


def _counted_periods(
    events: Iterable[Mapping[str, Any]], kind: str, ends: Iterable[datetime], until: datetime
) -> tuple[Period, ...]:
    """The steps of a count; the end of the stack sets it to zero."""
    steps = [(_moment(event), int(event["count"])) for event in events if event["kind"] == kind]
    steps = sorted([*steps, *((end, 0) for end in ends)], key=lambda step: step[0])
    steps.append((until, 0))
    return tuple(
        Period(start, end, count) for (start, count), (end, _) in itertools.pairwise(steps) if count
    )


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


def bill(model: CostModel, usage: Usage) -> tuple[CostItem, ...]:
    """What was used, multiplied by its rates."""
    items = []
    for rate in model.rates:
        # events count GPU nodes and load balancers; of all else the plan says how many
        each = 1.0 if rate.billed == "gpu-nodes" else rate.count
        periods = usage.periods(rate)
        if not periods and rate.billed == "load-balancers":
            continue
        quantity = sum(period.hours * period.count for period in periods) * each * rate.size
        items.append(
            CostItem(
                what=rate.what,
                service=rate.service,
                quantity=quantity,
                unit=rate.unit,
                usd=sum(rate.cost(period) * period.count for period in periods) * each,
                usd_per_hour=usage.count_now(rate) * each * rate.usd_per_hour(usage.until),
                source=rate.source,
                assumed=rate.assumed,
                gpu=rate.cap_usd is not None,
            )
        )
    return tuple(items)


def on_demand_usd(model: CostModel, usage: Usage) -> float:
    """What the GPU hours would have cost at the on-demand price, US dollars."""
    spot = [rate for rate in model.rates if rate.cap_usd is not None]
    return sum(rate.price.usd * usage.gpu_hours for rate in spot)


def hourly_rates(run: Run) -> tuple[dict[str, float], float | None]:
    """US dollars an hour by name of all but GPU nodes, and of one GPU node; for the dashboard.

    In a rehearsal nothing counts GPU nodes, so those of the emulator are among the names.

    """
    model = run_cost_model(run)
    if model is None:
        return {}, None
    moment = datetime.fromisoformat(model.market.asked) if model.market else datetime.max
    nodes = [rate for rate in model.rates if rate.billed == "gpu-nodes"]
    fixed = {
        rate.what: rate.count * rate.usd_per_hour(moment)
        for rate in model.rates
        if rate not in nodes or model.emulated
    }
    return fixed, sum(rate.usd_per_hour(moment) for rate in nodes) if nodes else None
