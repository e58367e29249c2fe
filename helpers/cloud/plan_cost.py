"""What a plan costs: each kind of resource by its price, as it begins and at most."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from helpers.cloud.prices import PriceTable
from helpers.cloud.reports import CostLine, PlanCost
from helpers.cloud.spot import SpotHistory

TABLE = Path(__file__).parent / "plan_costs.yaml"
Planned = Mapping[str, Any]
# Terraform type → key of its price, and what people read. One of the type is one of the price.
BY_THE_PIECE = {
    "aws_nat_gateway": ("nat.hour", "NAT gateway"),
    "aws_eip": ("ipv4.hour", "Public IPv4 address of NAT"),
    "aws_cloudwatch_metric_alarm": ("cloudwatch.alarm", "Billing alarm"),
    "aws_kms_key": ("kms.key", "KMS key"),
}
ELSEWHERE = ("aws_eks_cluster", "aws_eks_node_group", "aws_autoscaling_group",
             "aws_ecr_repository", "aws_s3_bucket", "aws_vpc_endpoint")  # fmt: skip


@dataclass(frozen=True)
class NodeGroup:
    """Nodes of one kind.

    Attributes:
        name: Of the group.
        resource: Terraform type.
        types: Instance types, first choice first.
        spot: Whether they are spot instances.
        cap_usd: Most that an hour of one may cost; None without a cap.
        desired: How many to begin with.
        most: How many there may be.
        disk_gb: Root disk of one.
    """

    name: str
    resource: str
    types: tuple[str, ...]
    spot: bool
    cap_usd: float | None
    desired: int
    most: int
    disk_gb: float


def reckon(
    planned: Planned,
    prices: PriceTable,
    market: SpotHistory,
    *,
    session_hours: float,
    budget_usd: float,
) -> PlanCost:
    """What the plan costs once all of it stands.

    A session is counted in whole hours, as NAT and load balancer are billed.

    Args:
        planned: As `terraform show -json` gives it.
        prices: List prices.
        market: Spot prices.
        session_hours: How long a session is.
        budget_usd: What it may cost.

    Raises:
        Problem: A price is not in the table.
    """
    table = yaml.safe_load(TABLE.read_text())
    lines = (
        *_cluster(planned, prices),
        *(line for group in node_groups(planned) for line in _nodes(group, prices, market)),
        *_pieces(planned, prices),
        *_controllers(planned, prices, table["assumed"]),
        *_storage_and_traffic(planned, prices, table["assumed"]),
    )
    known = {*BY_THE_PIECE, *ELSEWHERE, *table["free"]}
    hours = math.ceil(session_hours)
    return PlanCost(
        lines=lines,
        session_hours=session_hours,
        session_usd=sum(one.hourly for one in lines) * hours,
        session_most_usd=sum(one.hourly_most for one in lines) * hours,
        budget_usd=budget_usd,
        unpriced=tuple(sorted({*_counts(planned)} - known | {*_unknown_endpoints(planned)})),
    )


def node_groups(planned: Planned) -> tuple[NodeGroup, ...]:
    """The groups of nodes that a plan makes."""
    disks = {one["name"]: _disk(one) for one in _values(planned, "aws_launch_template")}
    biggest = max(disks.values(), default=20.0)
    managed = tuple(
        _managed(one, disks.get(one["node_group_name"], biggest))
        for one in _values(planned, "aws_eks_node_group")
    )
    own = tuple(
        _own(one, disks.get(one["name"], biggest))
        for one in _values(planned, "aws_autoscaling_group")
    )
    return managed + own


def _managed(values: Planned, disk_gb: float) -> NodeGroup:
    scaling = values["scaling_config"][0]
    return NodeGroup(
        name=values["node_group_name"],
        resource="aws_eks_node_group",
        types=tuple(values["instance_types"]),
        spot=values["capacity_type"] == "SPOT",
        cap_usd=None,
        desired=scaling["desired_size"],
        most=scaling["max_size"],
        disk_gb=disk_gb,
    )


def _own(values: Planned, disk_gb: float) -> NodeGroup:
    policy = values["mixed_instances_policy"][0]
    chosen = policy["instances_distribution"][0]
    cap = chosen.get("spot_max_price")
    return NodeGroup(
        name=values["name"],
        resource="aws_autoscaling_group",
        types=tuple(one["instance_type"] for one in policy["launch_template"][0]["override"]),
        spot=chosen["on_demand_percentage_above_base_capacity"] == 0,
        cap_usd=float(cap) if cap else None,
        desired=values["desired_capacity"],
        most=values["max_size"],
        disk_gb=disk_gb,
    )


def _cluster(planned: Planned, prices: PriceTable) -> Iterator[CostLine]:
    for values in _values(planned, "aws_eks_cluster"):
        policy = values.get("upgrade_policy") or [{}]
        standard = policy[0].get("support_type") == "STANDARD"
        yield _line(
            prices,
            "eks.standard" if standard else "eks.extended",
            f"EKS control plane, {'standard' if standard else 'possibly extended'} support",
            1,
            "aws_eks_cluster",
        )


def _nodes(group: NodeGroup, prices: PriceTable, market: SpotHistory) -> Iterator[CostLine]:
    listed = [prices.instance(one) for one in group.types]
    on_demand = max(listed, key=lambda price: price.usd)
    usd, most, source = listed[0].usd, on_demand.usd, listed[0].label
    note = ""
    if group.spot:
        now = market.at(datetime.fromisoformat(market.asked), group.types[0])
        most = group.cap_usd if group.cap_usd is not None else on_demand.usd
        usd, source = (min(now, most), market.source) if now else (most, "price cap")
        note = "at most the price cap" if group.cap_usd else "at most the on-demand price"
    yield CostLine(
        what=f"Node {' or '.join(group.types)} ({'spot' if group.spot else 'on demand'})",
        resource=group.resource,
        count=group.desired,
        most=group.most,
        usd_per_hour=usd,
        most_usd_per_hour=most,
        source=source,
        note=note,
    )
    disk = prices.price("gp3.gb")
    yield CostLine(
        what=f"Disk of each of these nodes, {group.disk_gb:g} GiB gp3",
        resource=group.resource,
        count=group.desired,
        most=group.most,
        usd_per_hour=disk.per_hour * group.disk_gb,
        most_usd_per_hour=disk.per_hour * group.disk_gb,
        source=disk.label,
    )


def _pieces(planned: Planned, prices: PriceTable) -> Iterator[CostLine]:
    counts = _counts(planned)
    for kind, (key, what) in BY_THE_PIECE.items():
        if counts[kind]:
            yield _line(prices, key, what, counts[kind], kind)


def _controllers(
    planned: Planned, prices: PriceTable, assumed: Mapping[str, float]
) -> Iterator[CostLine]:
    """What a controller in the cluster makes outside Terraform: the load balancer."""
    if not _counts(planned)["aws_eks_cluster"]:
        return
    public = [one for one in _values(planned, "aws_subnet") if _is_public(one)]
    by_whom = "made by its controller in stage 03"
    yield _line(prices, "alb.hour", "Load balancer", 1, "", by_whom)
    yield _line(prices, "alb.lcu", "Load balancer's capacity unit", assumed["lcu"], "", "assumed")
    yield _line(
        prices, "ipv4.hour", "Public IPv4 address of the load balancer", len(public), "", by_whom
    )


def _storage_and_traffic(
    planned: Planned, prices: PriceTable, assumed: Mapping[str, float]
) -> Iterator[CostLine]:
    counts = _counts(planned)
    stored = (
        ("aws_ecr_repository", "ecr.gb", "Image in ECR", assumed["image_gb"], "GB"),
        ("aws_s3_bucket", "s3.gb", "Models in S3", assumed["models_gb"], "GB"),
        ("aws_nat_gateway", "nat.gb", "Traffic through NAT", assumed["nat_gb_per_hour"], "GB/h"),
        ("aws_eks_cluster", "transfer.out.gb", "Traffic to the internet",
         assumed["out_gb_per_hour"], "GB/h"),
    )  # fmt: skip
    for kind, key, what, amount, unit in stored:
        if counts[kind]:
            yield _line(prices, key, what, amount, kind, f"{amount:g} {unit} assumed")


def _line(
    prices: PriceTable, key: str, what: str, count: float, resource: str, note: str = ""
) -> CostLine:
    price = prices.price(key)
    usd = price.usd if price.per == "GB" else price.per_hour
    return CostLine(
        what=what,
        resource=resource,
        count=count,
        most=count,
        usd_per_hour=usd,
        most_usd_per_hour=usd,
        source=price.label,
        note=note or price.note,
    )


def _resources(planned: Planned) -> Iterator[Mapping[str, Any]]:
    """What will stand, in all modules."""
    waiting = [planned.get("planned_values", {}).get("root_module", {})]
    while waiting:
        module = waiting.pop()
        waiting += module.get("child_modules", ())
        yield from (one for one in module.get("resources", ()) if one["mode"] == "managed")


def _values(planned: Planned, kind: str) -> list[Planned]:
    return [one.get("values", {}) for one in _resources(planned) if one["type"] == kind]


def _counts(planned: Planned) -> Counter[str]:
    return Counter(one["type"] for one in _resources(planned))


def _is_public(subnet: Planned) -> bool:
    return "kubernetes.io/role/elb" in (subnet.get("tags") or {})


def _disk(template: Planned) -> float:
    return float(sum(one["ebs"][0]["volume_size"] for one in template["block_device_mappings"]))


def _unknown_endpoints(planned: Planned) -> Iterator[str]:
    """Gateway endpoints are free; others cost by hour and zone."""
    for values in _values(planned, "aws_vpc_endpoint"):
        if values.get("vpc_endpoint_type") != "Gateway":
            yield "aws_vpc_endpoint of another type than Gateway"
