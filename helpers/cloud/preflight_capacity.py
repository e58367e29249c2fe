"""Checks of what AWS will give: quotas in vCPUs, instance types by zone, the spot price."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from helpers.cloud.account import asking
from helpers.cloud.prices import record_spot_prices
from helpers.cloud.question import Question
from helpers.cloud.readiness import Finding, Verdict
from helpers.cloud.terraform.variables import SYSTEM_NODES

OPEN_REQUESTS = ("PENDING", "CASE_OPENED")


@dataclass(frozen=True)
class Quota:
    """A limit in vCPUs, and what the stack needs of it.

    Attributes:
        name: Of its finding.
        title: What people read.
        code: AWS's code of it (service `ec2`).
        needed: vCPUs that the stack may come to use.
    """

    name: str
    title: str
    code: str
    needed: int


def quotas(question: Question) -> Iterator[Finding]:
    """The vCPU limits of spot GPU nodes, on-demand GPU nodes and system nodes."""
    chosen = question.chosen
    cores = _cores(question, (*question.gpu_types, *chosen.cpu_instance_types))
    gpu = chosen.gpu.max_nodes * max(cores[one] for one in question.gpu_types)
    system = SYSTEM_NODES["max"] * max(cores[one] for one in chosen.cpu_instance_types)
    wanted = (
        Quota("quota-spot-gpu", "vCPUs of G and VT spot instances", "L-3819A6DF", gpu),
        Quota("quota-on-demand-gpu", "vCPUs of G and VT on-demand instances", "L-DB2E81BA", 0),
        Quota("quota-system", "vCPUs of standard on-demand instances", "L-1216C47A", system),
    )
    for one in wanted:
        yield _held(question, one)


def _held(question: Question, quota: Quota) -> Finding:
    client = question.account.client("service-quotas")
    with asking(f"the quota of {quota.title}"):
        found = client.get_service_quota(ServiceCode="ec2", QuotaCode=quota.code)
    has = int(found["Quota"]["Value"])
    enough, names = has >= quota.needed, f"--service-code ec2 --quota-code {quota.code}"
    needed = f"the stack needs up to {quota.needed}" if quota.needed else "the stack needs none"
    command = (
        f"aws service-quotas get-service-quota {names} --region {question.region}"
        if enough
        else f"aws service-quotas request-service-quota-increase {names} "
        f"--desired-value {quota.needed} --region {question.region}"
    )
    if not enough and (asked := _asked_for(question, quota)):
        needed += f"; {asked}"
        command = (
            "aws service-quotas list-requested-service-quota-change-history-by-quota "
            f"{names} --region {question.region}"
        )
    return Finding(
        name=quota.name,
        title=f"{quota.title} ({quota.code})",
        found=f"{has}; {needed}",
        verdict=Verdict.OK if enough else Verdict.BLOCKS,
        command=command,
    )


def _asked_for(question: Question, quota: Quota) -> str:
    """Whether more has been asked for already; people decide about it."""
    client = question.account.client("service-quotas")
    with asking(f"the requests for {quota.title}"):
        history = client.list_requested_service_quota_change_history_by_quota(
            ServiceCode="ec2", QuotaCode=quota.code
        )["RequestedQuotas"]
    waiting = [one for one in history if one["Status"] in OPEN_REQUESTS]
    if not waiting:
        return ""
    return f"{waiting[0]['DesiredValue']:g} have been asked for ({waiting[0]['Status']})"


def _cores(question: Question, types: tuple[str, ...]) -> dict[str, int]:
    with asking("the instance types"):
        found = question.account.client("ec2").describe_instance_types(
            InstanceTypes=sorted(set(types))
        )["InstanceTypes"]
    return {one["InstanceType"]: one["VCpuInfo"]["DefaultVCpus"] for one in found}


def offered(question: Question) -> Iterator[Finding]:
    """Whether the stack's zones have the instance types at all."""
    zones = question.zones()
    kinds = {"gpu": question.gpu_types, "system": question.chosen.cpu_instance_types}
    for name, types in kinds.items():
        where = _offering_zones(question, types)
        having = [one for one in zones if one in where]
        everywhere = len(having) == len(zones)
        verdict = Verdict.OK if everywhere else Verdict.WARN if having else Verdict.BLOCKS
        yield Finding(
            name=f"offered-{name}",
            title=f"{' or '.join(types)} in the stack's zones",
            found=f"in {', '.join(having) or 'none'} of {', '.join(zones)}",
            verdict=verdict,
            command="aws ec2 describe-instance-type-offerings --location-type availability-zone "
            f"--filters Name=instance-type,Values={','.join(types)} --region {question.region}",
        )


def _offering_zones(question: Question, types: tuple[str, ...]) -> set[str]:
    pages = question.account.client("ec2").get_paginator("describe_instance_type_offerings")
    with asking("where the instance types are offered"):
        return {
            one["Location"]
            for page in pages.paginate(
                LocationType="availability-zone",
                Filters=[{"Name": "instance-type", "Values": list(types)}],
            )
            for one in page["InstanceTypeOfferings"]
        }


def spot_price(question: Question) -> Iterator[Finding]:
    """The spot price now and over a week, in the stack's zones, against the cap."""
    zones, cap = question.zones(), question.chosen.gpu.max_price_usd
    prices = record_spot_prices(question.run, question.account, question.gpu_types)
    moment = datetime.fromisoformat(prices.asked)
    told, under = [], 0
    for zone in zones:
        known = [
            price
            for one in question.gpu_types
            if (price := prices.price_at(moment, one, zone)) is not None
        ]
        week = [point.usd for point in prices.points if point.zone == zone]
        under += bool(known) and min(known) <= cap
        span = f" (week {min(week):.3f} to {max(week):.3f})" if week else ""
        told.append(f"{zone} {f'${min(known):.3f}' if known else 'unknown'}{span}")
    capped = question.chosen.gpu.capacity == "spot-capped"
    bad = Verdict.WARN if under or not capped else Verdict.BLOCKS
    yield Finding(
        name="spot",
        title=f"Spot price an hour, cap ${cap:g}" if capped else "Spot price an hour, no cap",
        found=f"{'; '.join(told)}; {prices.source}",
        verdict=Verdict.OK if under == len(zones) else bad,
        command="aws ec2 describe-spot-price-history --product-descriptions Linux/UNIX "
        f"--instance-types {' '.join(question.gpu_types)} --region {question.region}",
    )
