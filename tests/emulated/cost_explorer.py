"""Cost Explorer: what was billed, as far as it is known."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any, Literal

from moto.ce.responses import CostExplorerResponse
from pydantic import BaseModel, ConfigDict

from helpers.rehearsal.moto_extension import ACCOUNT_ID, Call, Operations, Refusal, add

NO_TAG = ""
Coverage = Literal["complete", "empty", "late", "partial", "disabled"]


class CostLine(BaseModel):
    """What one day's use of something was billed.

    Attributes:
        day: The day, UTC.
        service: As Cost Explorer names it, such as `Amazon Elastic Compute Cloud - Compute`.
        usage_type: Such as `SpotUsage:g4dn.xlarge`.
        usd: US dollars.
        quantity: In the usage type's own unit, mostly hours.
        tagged: Whether the line carries the project's tags.
    """

    day: date
    service: str
    usage_type: str
    usd: float
    quantity: float = 0.0
    tagged: bool = True


class Costs(BaseModel):
    """What Cost Explorer knows.

    `empty` has no line at all; `late` knows nothing of the last day; `partial` knows half of the
    lines and marks them estimated; `disabled` was never switched on in this account.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)
    coverage: Coverage = "complete"
    lines: list[CostLine] = []
    active_tags: list[str] = []

    def become(self, other: "Costs") -> None:
        """Take over everything of other costs."""
        for name in Costs.model_fields:
            setattr(self, name, getattr(other, name))


COSTS = Costs()


def get_cost_and_usage(call: Call) -> dict[str, Any]:
    """Costs by day or month, in all or by one or two keys.

    Raises:
        Refusal: Cost Explorer is not enabled, or the request is none that it takes.
    """
    given = call.params
    if COSTS.coverage == "disabled":
        raise Refusal("AccessDeniedException", "User not enabled for cost explorer access")
    if given["Granularity"] == "HOURLY":
        message = "Hourly data must be enabled in the Cost Explorer's preferences."
        raise Refusal("ValidationException", message)
    groups = given.get("GroupBy", [])
    lines = [one for one in _known(call) if _passes(call, one, given.get("Filter", {}))]
    results = [
        _result(call, [one for one in lines if start <= one.day < end], start, end, groups)
        for start, end in _periods(given["TimePeriod"], given["Granularity"])
    ]
    return {
        "ResultsByTime": results,
        "GroupDefinitions": list(groups),
        "DimensionValueAttributes": [],
    }


def list_cost_allocation_tags(call: Call) -> dict[str, Any]:
    """The tags that costs can be told apart by."""
    active = COSTS.active_tags
    return {
        "CostAllocationTags": [
            {"TagKey": key, "Type": "UserDefined", "Status": "Active"} for key in active
        ]
    }


def update_cost_allocation_tags(call: Call) -> dict[str, Any]:
    """Tags switched on or off; AWS takes up to a day for it."""
    costs = COSTS
    for one in call.params["CostAllocationTagsStatus"]:
        others = [key for key in costs.active_tags if key != one["TagKey"]]
        costs.active_tags = others + [one["TagKey"]] * (one["Status"] == "Active")
    return {"Errors": []}


def _known(call: Call) -> list[CostLine]:
    costs = COSTS
    newest = max((one.day for one in costs.lines), default=date.min)
    match costs.coverage:
        case "empty":
            return []
        case "late":
            return [one for one in costs.lines if one.day < newest]
        case "partial":
            return costs.lines[::2]
    return costs.lines


def _periods(wanted: Mapping[str, str], granularity: str) -> Iterator[tuple[date, date]]:
    start, last = date.fromisoformat(wanted["Start"]), date.fromisoformat(wanted["End"])
    if start >= last:
        raise Refusal("ValidationException", "Start date (and hour) should be before end date.")
    while start < last:
        end = start + timedelta(days=1)
        if granularity == "MONTHLY":
            end = (start.replace(day=1) + timedelta(days=32)).replace(day=1)
        yield start, min(end, last)
        start = end


def _passes(call: Call, line: CostLine, wanted: Mapping[str, Any]) -> bool:
    for kind, test in wanted.items():
        match kind:
            case "And":
                passed = all(_passes(call, line, one) for one in test)
            case "Or":
                passed = any(_passes(call, line, one) for one in test)
            case "Not":
                passed = not _passes(call, line, test)
            case "Dimensions":
                passed = _dimension(call, line, test["Key"]) in test["Values"]
            case "Tags":
                passed = _tag(call, line, test["Key"]) != NO_TAG
            case _:
                raise Refusal("ValidationException", f"The emulator filters by no {kind}.")
        if not passed:
            return False
    return True


def _dimension(call: Call, line: CostLine, key: str) -> str:
    values = {
        "SERVICE": line.service,
        "USAGE_TYPE": line.usage_type,
        "REGION": call.region,
        "LINKED_ACCOUNT": ACCOUNT_ID,
        "RECORD_TYPE": "Usage",
    }
    if key not in values:
        raise Refusal("ValidationException", f"The emulator knows no dimension {key}.")
    return values[key]


def _tag(call: Call, line: CostLine, key: str) -> str:
    """Costs carry a tag only once that tag is active."""
    return "gpu-e2e" if line.tagged and key in COSTS.active_tags else NO_TAG


def _result(
    call: Call, lines: list[CostLine], start: date, end: date, groups: Any
) -> dict[str, Any]:
    metrics = call.params["Metrics"]
    sorted_into: dict[tuple[str, ...], list[CostLine]] = defaultdict(list)
    for line in lines:
        sorted_into[tuple(_key(call, line, group) for group in groups)].append(line)
    return {
        "TimePeriod": {"Start": start.isoformat(), "End": end.isoformat()},
        "Total": {} if groups else _sums(lines, metrics),
        "Groups": [
            {"Keys": list(keys), "Metrics": _sums(members, metrics)}
            for keys, members in sorted_into.items()
            if groups
        ],
        "Estimated": COSTS.coverage != "complete",
    }


def _key(call: Call, line: CostLine, group: Mapping[str, str]) -> str:
    if group["Type"] == "TAG":
        return f"{group['Key']}${_tag(call, line, group['Key'])}"
    return _dimension(call, line, group["Key"])


def _sums(lines: list[CostLine], metrics: list[str]) -> dict[str, Any]:
    usd, quantity = sum(one.usd for one in lines), sum(one.quantity for one in lines)
    return {
        metric: {"Amount": f"{quantity:.10g}", "Unit": "N/A"}
        if metric == "UsageQuantity"
        else {"Amount": f"{usd:.10g}", "Unit": "USD"}
        for metric in metrics
    }


OPERATIONS: Operations = {
    "GetCostAndUsage": get_cost_and_usage,
    "ListCostAllocationTags": list_cost_allocation_tags,
    "UpdateCostAllocationTagsStatus": update_cost_allocation_tags,
}

add(CostExplorerResponse, OPERATIONS)
