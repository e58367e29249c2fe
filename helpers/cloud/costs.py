"""The cost model: one rate for each kind of resource; the estimate, meter and bill all use it."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from helpers.cloud.plan import PLAN_JSON, Estimate, EstimateLine, Plan, PlanFacts, read_plan
from helpers.cloud.prices import Price, PriceTable, SpotHistory, load_table
from helpers.cloud.stack import GpuNodes
from helpers.profile import Profile
from helpers.run import Run
from helpers.scenario import Scenario, Settings
from model.signature import CLASSES

# names under which Cost Explorer bills (dimension SERVICE)
COMPUTE = "Amazon Elastic Compute Cloud - Compute"
EC2_OTHER = "EC2 - Other"
# hours of what, or GB through the load balancer, to the internet, between zones, through NAT
Billed = Literal[
    "stack", "gpu-nodes", "load-balancers", "built", "balanced", "answered", "crossed", "pulled"
]
# the rates beside nodes, and which Terraform types are free
PLAN_COSTS: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("plan_costs.yaml").read_text())
BUILDS_H = {"codebuild": 0.4, "local": 0.0}  # assumed of a session: hours of CodeBuild
IMAGES_GB = 1.0  # assumed of a node: images from other registries than ECR, compressed


@dataclass(frozen=True)
class Rate:
    """What one kind of resource costs while it exists."""

    what: str  # name for people
    service: str  # in Cost Explorer's words
    price: Price  # of spot nodes: on demand
    count: float = 1.0  # how many at first
    most: float = 0.0  # highest number; 0 for `count`
    size: float = 1.0  # units of the price that one of them uses
    billed: Billed = "stack"  # whose hours or GB count
    unit: str = "hours"
    cap_usd: float | None = None  # of spot nodes: the highest price of an hour
    instance_type: str = ""  # of spot nodes: the first choice
    market: SpotHistory | None = None
    assumed: str = ""

    @property
    def source(self) -> str:
        """Where the price comes from."""
        market = self.market.source if self.market else "price cap"
        return self.price.label if self.cap_usd is None else market

    def usd_per_hour(self, moment: datetime, instance_type: str = "", zone: str = "") -> float:
        """US dollars an hour for one, at a moment; of spot nodes never above the cap."""
        if self.cap_usd is not None:
            kind = instance_type or self.instance_type
            market = self.market.price_at(moment, kind, zone) if self.market else None
            return self.cap_usd if market is None else min(market, self.cap_usd)
        return self.size * self.price.per_hour

    def cost(self, period: "Period") -> float:
        """US dollars for one over a period, as AWS bills it: by the second or started hour."""
        if self.cap_usd is None:
            return self.price.cost(period.hours, self.size)
        kind, zone, moments = period.instance_type, period.zone, [period.start, period.end]
        if self.market:
            moments = self.market.changes(kind, *moments)
        spans = itertools.starmap(Period, itertools.pairwise(moments))
        return sum(self.usd_per_hour(span.start, kind, zone) * span.hours for span in spans)


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
        return (*self._nodes(), *self._others())

    def _nodes(self) -> Iterator[Rate]:
        for group in self.plan.node_groups:
            # every type that may come needs a price
            types = [self.table.price(f"ec2.{kind}") for kind in group.instance_types]
            kind = "CPU" if group.cap_usd is None else "GPU"
            name = f"{kind} nodes, {' or '.join(group.instance_types)}"
            node = Rate(name, COMPUTE, types[0], group.desired_nodes,
                        group.max_nodes, assumed="all nodes, all the time")  # fmt: skip
            disk = replace(
                node, what=f"Disks of {name}", service=EC2_OTHER, price=self.table.price("gp3.gb"),
                size=group.disk_gib, unit="GB-hours", assumed=f"{group.disk_gib:g} GiB gp3 each",
            )  # fmt: skip
            if group.cap_usd is not None:
                node = replace(
                    node, what=f"{name} (spot)", billed="gpu-nodes", market=self.market,
                    cap_usd=group.cap_usd, instance_type=group.instance_types[0],
                    assumed="" if self.market else "the price cap, as there is no price history",
                )  # fmt: skip
                disk = replace(disk, billed="gpu-nodes")
            yield from (node, disk)

    def _others(self) -> Iterator[Rate]:
        for facts in PLAN_COSTS["rates"]:
            if resources := self.plan.of_type(facts["of"]):
                count = facts.get("count", len(resources))
                yield Rate(
                    what=facts["what"],
                    service=facts["service"],
                    price=self.table.price(facts["price"]),
                    count=len(self.plan.public_subnets) if count == "public subnets" else count,
                    billed=facts.get("billed", "stack"),
                    unit=facts.get("unit", "hours"),
                    assumed=facts.get("assumed", ""),
                )


def run_cost_model(run: Run) -> CostModel | None:
    """The rates of a run; None where nothing was ever planned."""
    facts = run.find(PlanFacts)
    if facts is None or not (run.folder / PLAN_JSON).is_file():
        return None
    table = run.find(PriceTable) or load_table(run.profile.region)
    return CostModel(read_plan(run), table, run.find(SpotHistory), facts.emulated)


def traffic(profile: Profile, scenarios: Iterable[Scenario], pulled: float) -> dict[Billed, float]:
    """GB of the tensors of scenarios, as planned, and of images that nodes pull.

    Pods send to Triton's Service, from zone to zone; all others through the load balancer.
    """
    gb: dict[Billed, float] = {"balanced": 0.0, "answered": 0.0, "crossed": 0.0, "pulled": pulled}
    sides = {network.name: network.image_size for network in profile.model.networks}
    sample = 1 if profile.model.input == "uint8" else 4  # bytes of a colour of a pixel
    for scenario in scenarios:
        images = scenario.requests * scenario.batch / 1e9
        answers = images * 4 * CLASSES
        both = answers + images * sample * 3 * sides[scenario.model] ** 2
        if scenario.control == "cluster":
            elsewhere = 1 - 1 / profile.infrastructure.zones
            gb["crossed"] += 2 * elsewhere * both  # each direction is billed
        else:
            gb["balanced"] += both
            gb["answered"] += answers
    return gb


def estimate(profile: Profile, model: CostModel) -> Estimate:
    """What a session costs once everything exists, counted in whole hours, with its traffic."""
    moment = datetime.fromisoformat(model.market.asked) if model.market else datetime.max
    hours = math.ceil(profile.infrastructure.ttl_hours)
    nodes = sum(group.desired_nodes for group in model.plan.node_groups)
    used = traffic(profile, profile.load.placed, IMAGES_GB * nodes)
    used["built"] = BUILDS_H[profile.serving.image]
    lines = []
    for rate in model.rates:
        count, note, usd = rate.count, rate.assumed or rate.price.note, rate.usd_per_hour(moment)
        if rate.billed in used:
            count = used[rate.billed] / hours
            note = f"{used[rate.billed]:.1f} {rate.unit} in the session: {note}"
        line = EstimateLine(
            what=rate.what,
            billed=rate.billed,
            count=count,
            most=rate.most or count,
            usd_per_hour=usd,
            most_usd_per_hour=usd if rate.cap_usd is None else rate.cap_usd,
            source=rate.source,
            note=note,
        )
        lines.append(line)
    priced = {facts["of"] for facts in PLAN_COSTS["rates"]} | {*PLAN_COSTS["free"]}
    unknown = {resource.type for resource in model.plan.resources} - priced
    endpoints = model.plan.of_type("aws_vpc_endpoint")
    if any(endpoint.values.get("vpc_endpoint_type") != "Gateway" for endpoint in endpoints):
        unknown.add("aws_vpc_endpoint of another type than Gateway")
    return Estimate(
        lines=tuple(lines),
        session_hours=profile.infrastructure.ttl_hours,
        session_usd=sum(line.hourly for line in lines) * hours,
        session_most_usd=sum(line.hourly_most for line in lines) * hours,
        budget_usd=profile.kpis.cost_usd,
        unpriced=tuple(sorted(unknown)),
    )


@dataclass(frozen=True)
class Period:
    """So many of something, from one moment to another, UTC."""

    start: datetime
    end: datetime
    count: float = 1.0
    instance_type: str = ""  # of a node, where it is known
    zone: str = ""

    @property
    def hours(self) -> float:
        """Its length."""
        return (self.end - self.start).total_seconds() / 3600


@dataclass(frozen=True)
class Usage:
    """What existed, and how long; the stack from the start of an apply to the destroy's end."""

    periods: Mapping[Billed, tuple[Period, ...]]  # GB as if they were moved in one hour
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


def _lives(nodes: GpuNodes | None, stack: list[Period]) -> Iterator[Period]:
    """When each GPU node ran; the end of the stack ends it."""
    for node in nodes.nodes if nodes else ():
        if ends := [period.end for period in stack if period.end > node.start]:
            end = min(ends[0], node.end or ends[0])
            yield Period(node.start, end, 1, node.instance_type, node.zone)


def usage_until(run: Run, until: datetime) -> Usage:
    """What existed up to a moment; after now it is assumed that nothing changes.

    In an emulated account, without controller, the planned load balancer lives with the stack.
    """
    model = run_cost_model(run)
    dated = [(datetime.fromisoformat(event["at"]), event) for event in run.events()]
    stack: list[Period] = []
    start: datetime | None = None
    steps: list[tuple[datetime, int]] = []  # of the number of load balancers
    scenarios = {scenario.name: scenario for scenario in run.profile.load.placed}
    fired, pulled, built = [], dict[str, float](), 0.0
    for moment, event in (pair for pair in dated if pair[0] <= until):
        # a failed apply has begun to cost; a failed destroy has not ended the cost
        match event:
            case {"kind": "stack-apply-start"}:
                start = start or moment
            case {"kind": "stack-destroy-stop", "outcome": "finished"} if start:
                stack.append(Period(start, moment))
                steps.append((moment, 0))
                start = None
            case {"kind": "load-balancers"}:
                steps.append((moment, event["count"]))
            case {"kind": "load-start", "scenario": name} if name in scenarios:
                fired.append(scenarios[name])
            case {"kind": "images-pulled"}:
                pulled[event["node"]] = event["gb"]
            case {"kind": "image-build"}:  # started minutes are billed
                built += math.ceil(event["seconds"] / 60) / 60
    if start is not None:
        stack.append(Period(start, until))
    steps.append((until, 0))
    periods: dict[Billed, tuple[Period, ...]] = {
        "stack": tuple(stack),
        "gpu-nodes": tuple(_lives(run.find(GpuNodes), stack)),
        "load-balancers": tuple(
            Period(begin, end, count)
            for (begin, count), (end, _) in itertools.pairwise(steps)
            if count
        ),
    }
    if model and model.emulated and not run.events("load-balancers"):
        periods["load-balancers"] = periods["stack"]
    groups = model.plan.node_groups if model else ()
    nodes = sum(g.desired_nodes for g in groups if g.cap_usd is None) + len(periods["gpu-nodes"])
    moved = traffic(run.profile, fired, sum(pulled.values()) or IMAGES_GB * nodes)
    hour = Period(datetime.fromtimestamp(0, UTC), datetime.fromtimestamp(3600, UTC))
    used = moved | {"built": built}
    periods |= {kind: (replace(hour, count=count),) for kind, count in used.items() if count}
    return Usage(periods, until, start is not None)


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
        # GPU nodes and load balancers were counted; of all else the plan says how many
        each = 1.0 if rate.billed == "gpu-nodes" else rate.count
        if not (periods := usage.periods.get(rate.billed, ())):
            continue
        now = [
            period.count * rate.usd_per_hour(usage.until, period.instance_type, period.zone)
            for period in periods if usage.exists and period.end == usage.until
        ]  # fmt: skip
        yield CostItem(
            what=rate.what,
            service=rate.service,
            quantity=sum(period.hours * period.count for period in periods) * each * rate.size,
            unit=rate.unit,
            usd=sum(rate.cost(period) * period.count for period in periods) * each,
            usd_per_hour=sum(now) * each,
            source=rate.source,
            assumed=rate.assumed,
            gpu=rate.cap_usd is not None,
        )


def hourly_rates(run: Run) -> tuple[dict[str, float], float | None]:
    """US dollars an hour by name of all but GPU nodes (of all, if emulated), and of a GPU node."""
    facts = run.find(PlanFacts)
    lines = facts.cost.lines if facts else ()
    nodes = [line.usd_per_hour for line in lines if line.billed == "gpu-nodes"]
    kinds = {"stack", "load-balancers", *(["gpu-nodes"] if facts and facts.emulated else ())}
    fixed = {line.what: line.hourly for line in lines if line.billed in kinds}
    return fixed, sum(nodes) if nodes else None
