"""What stood, times its price: one item for each kind of resource that costs something."""

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml

from helpers.cloud import plan_cost, prices
from helpers.cloud.plan_cost import NodeGroup
from helpers.cloud.prices import Price, PriceTable
from helpers.cloud.reports import PlanFacts
from helpers.cloud.spot import SpotHistory
from helpers.cloud.terraform.workspace import PLAN_JSON
from helpers.cloud.usage import Span, Usage
from helpers.run import Run
from helpers.scenario import Settings

# The names under which Cost Explorer bills (dimension SERVICE).
EKS = "Amazon Elastic Container Service for Kubernetes"
COMPUTE = "Amazon Elastic Compute Cloud - Compute"
EC2_OTHER = "EC2 - Other"
VPC = "Amazon Virtual Private Cloud"
BALANCING = "Amazon Elastic Load Balancing"
# Terraform type → price, what people read, the service that bills it.
STANDING = {
    "aws_nat_gateway": ("nat.hour", "NAT gateway", EC2_OTHER),
    "aws_eip": ("ipv4.hour", "Public IPv4 address of NAT", VPC),
    "aws_cloudwatch_metric_alarm": ("cloudwatch.alarm", "Billing alarm", "AmazonCloudWatch"),
    "aws_kms_key": ("kms.key", "KMS key", "AWS Key Management Service"),
}
STORED = {
    "aws_ecr_repository": ("ecr.gb", "Image in ECR", "image_gb",
                           "Amazon EC2 Container Registry (ECR)"),
    "aws_s3_bucket": ("s3.gb", "Models in S3", "models_gb", "Amazon Simple Storage Service"),
}  # fmt: skip
TRAFFIC = {
    "aws_nat_gateway": ("nat.gb", "Traffic through NAT", "nat_gb_per_hour", EC2_OTHER),
    "aws_eks_cluster": ("transfer.out.gb", "Traffic to the internet", "out_gb_per_hour",
                        EC2_OTHER),
}  # fmt: skip


class Item(Settings):
    """What one kind of resource has cost.

    Attributes:
        what: As people read it.
        service: Who bills it, in Cost Explorer's words.
        quantity: How much was used.
        unit: Unit of the quantity.
        usd: US dollars.
        usd_per_hour: What it costs an hour at the end of the time; 0 where it is gone.
        source: Where the price comes from, and of which day.
        assumed: What is assumed and not seen; empty where all was seen.
        gpu: Whether it is the GPU nodes' own price.
    """

    what: str
    service: str
    quantity: float
    unit: str
    usd: float
    usd_per_hour: float
    source: str
    assumed: str = ""
    gpu: bool = False


@dataclass(frozen=True)
class Basis:
    """What is reckoned with.

    Attributes:
        groups: Node groups of the plan.
        counts: How many resources of each Terraform type were planned.
        table: List prices.
        market: Spot prices; None where none were asked for.
        assumed: What no plan says (`plan_costs.yaml`).
        emulated: Whether an emulator stood for AWS.
        public_subnets: In each of which a load balancer has an address.
    """

    groups: tuple[NodeGroup, ...]
    counts: Mapping[str, int]
    table: PriceTable
    market: SpotHistory | None
    assumed: Mapping[str, float]
    emulated: bool
    public_subnets: int

    @classmethod
    def of(cls, run: Run) -> "Basis | None":
        """What a run's plan and prices say; None where nothing was ever planned.

        Raises:
            Problem: The run's records cannot be read, or there are no prices for the region.
        """
        facts, path = run.find(PlanFacts), run.folder / PLAN_JSON
        if facts is None or not path.is_file():
            return None
        planned: dict[str, Any] = json.loads(path.read_text())
        return cls(
            groups=plan_cost.node_groups(planned),
            counts=Counter(one.type for one in facts.resources),
            table=run.find(PriceTable) or prices.load(run.profile.region),
            market=run.find(SpotHistory),
            assumed=yaml.safe_load(plan_cost.TABLE.read_text())["assumed"],
            emulated=facts.emulated,
            public_subnets=run.profile.infrastructure.zones,
        )

    @property
    def sources(self) -> str:
        """Where prices come from, and of which day."""
        market = self.market.source if self.market else "no spot price history: price cap"
        return f"{self.table.summary}; {market}"


def items(basis: Basis, used: Usage) -> tuple[Item, ...]:
    """What was used, priced as AWS bills it: by the second, or by the hour begun.

    Raises:
        Problem: A price is not in the table.
    """
    return (
        *_control_plane(basis, used),
        *(item for group in basis.groups for item in _nodes(basis, group, used)),
        *_standing(basis, used),
        *_load_balancers(basis, used),
        *_stored(basis, used),
        *_traffic(basis, used),
    )


def on_demand(basis: Basis, used: Usage) -> float:
    """What the GPU hours would have cost at the on-demand price, US dollars."""
    spot = [group for group in basis.groups if group.spot]
    return sum(basis.table.instance(group.types[0]).usd * used.gpu_hours for group in spot)


def _control_plane(basis: Basis, used: Usage) -> Iterator[Item]:
    count = basis.counts.get("aws_eks_cluster", 0)
    if count:
        price = basis.table.price("eks.standard")
        yield _by_time(price, "EKS control plane", EKS, used.stack, count, used.standing)


def _nodes(basis: Basis, group: NodeGroup, used: Usage) -> Iterator[Item]:
    spans = used.gpu_nodes if group.spot else _all(used.stack, group.desired)
    standing = (used.gpus_now if group.spot else group.desired) if used.standing else 0
    hours = sum(one.hours * one.count for one in spans)
    name = f"{'GPU' if group.spot else 'CPU'} nodes, {' or '.join(group.types)}"
    listed = basis.table.instance(group.types[0])
    if group.spot:
        usd = sum(_spot_cost(basis, group, one) for one in spans)
        now = _spot_price(basis, group, used.until)
        source = basis.market.source if basis.market else "price cap"
        yield Item(
            what=f"{name} (spot)", service=COMPUTE, quantity=hours, unit="hours", usd=usd,
            usd_per_hour=now * standing, source=source, gpu=True,
            assumed="" if basis.market else "the price cap, for want of a price history",
        )  # fmt: skip
    else:
        yield Item(
            what=name, service=COMPUTE, quantity=hours, unit="hours", usd=listed.usd * hours,
            usd_per_hour=listed.usd * standing, source=listed.label,
            assumed="all of them, all the time",
        )  # fmt: skip
    disk = basis.table.price("gp3.gb")
    yield Item(
        what=f"Disks of {name}", service=EC2_OTHER, quantity=hours * group.disk_gb,
        unit="GB-hours", usd=disk.cost(hours, group.disk_gb),
        usd_per_hour=disk.per_hour * group.disk_gb * standing, source=disk.label,
    )  # fmt: skip


def _spot_cost(basis: Basis, group: NodeGroup, span: Span) -> float:
    """Piece by piece, from one change of the price to the next."""
    points = basis.market.points if basis.market else ()
    changes = {one.moment for one in points if one.instance_type == group.types[0]}
    edges = [span.start, *sorted(one for one in changes if span.start < one < span.end), span.end]
    pieces = (Span(start, end, span.count) for start, end in itertools.pairwise(edges))
    return sum(_spot_price(basis, group, one.start) * one.hours * one.count for one in pieces)


def _spot_price(basis: Basis, group: NodeGroup, moment: datetime) -> float:
    """The price that held at a moment; never above the cap, which AWS enforces."""
    most = group.cap_usd
    if most is None:
        most = basis.table.instance(group.types[0]).usd
    seen = basis.market.at(moment, group.types[0]) if basis.market else None
    return most if seen is None else min(seen, most)


def _standing(basis: Basis, used: Usage) -> Iterator[Item]:
    for kind, (key, what, service) in STANDING.items():
        if count := basis.counts.get(kind, 0):
            price = basis.table.price(key)
            yield _by_time(price, what, service, used.stack, count, used.standing)


def _load_balancers(basis: Basis, used: Usage) -> Iterator[Item]:
    """Made by their controller, not by Terraform; counted while they were seen."""
    if not used.load_balancers:
        return
    standing = used.load_balancers_now > 0
    each = (
        ("alb.hour", "Load balancer", BALANCING, 1.0, ""),
        ("alb.lcu", "Load balancer's capacity unit", BALANCING, basis.assumed["lcu"], "assumed"),
        ("ipv4.hour", "Public IPv4 addresses of the load balancer", VPC,
         float(basis.public_subnets), "one in each zone"),
    )  # fmt: skip
    for key, what, service, count, assumed in each:
        price = basis.table.price(key)
        item = _by_time(price, what, service, used.load_balancers, count, standing)
        yield item.model_copy(update={"assumed": assumed})


def _stored(basis: Basis, used: Usage) -> Iterator[Item]:
    for kind, (key, what, amount, service) in STORED.items():
        if basis.counts.get(kind, 0):
            size = basis.assumed[amount]
            item = _by_time(basis.table.price(key), what, service, used.stack, size, used.standing)
            yield item.model_copy(update={"unit": "GB-hours", "assumed": f"{size:g} GB"})


def _traffic(basis: Basis, used: Usage) -> Iterator[Item]:
    for kind, (key, what, amount, service) in TRAFFIC.items():
        if basis.counts.get(kind, 0):
            price, rate = basis.table.price(key), basis.assumed[amount]
            yield Item(
                what=what, service=service, quantity=rate * used.hours, unit="GB",
                usd=price.usd * rate * used.hours,
                usd_per_hour=price.usd * rate if used.standing else 0.0,
                source=price.label, assumed=f"{rate:g} GB an hour",
            )  # fmt: skip


def _by_time(
    price: Price, what: str, service: str, spans: tuple[Span, ...], count: float, standing: bool
) -> Item:
    return Item(
        what=what,
        service=service,
        quantity=sum(one.hours * one.count for one in spans) * count,
        unit="hours",
        usd=sum(price.cost(one.hours, count * one.count) for one in spans),
        usd_per_hour=price.per_hour * count if standing else 0.0,
        source=price.label,
    )


def _all(spans: tuple[Span, ...], count: int) -> tuple[Span, ...]:
    return tuple(Span(one.start, one.end, count) for one in spans)
