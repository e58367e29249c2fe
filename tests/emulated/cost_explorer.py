"""Cost Explorer: what was billed by day, service and project tag, as far as it is known."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Literal

from moto.ce.responses import CostExplorerResponse

from helpers.rehearsal.moto_extension import Call, Refusal, operation

Coverage = Literal["complete", "empty", "late", "partial", "disabled"]


@dataclass(frozen=True)
class CostLine:
    """What one day's use of a service was billed."""

    day: date  # UTC
    service: str  # as Cost Explorer names it
    usd: float
    tagged: bool = True  # whether it carries the project's tag
    charge: str = "Usage"  # the charge type (dimension RECORD_TYPE); of a credit `usd` is negative


@dataclass
class Costs:
    """What Cost Explorer knows.

    `empty` has no line at all; `late` knows nothing of the last day; `partial` knows half of the
    lines and marks them estimated; `disabled` was never switched on in this account.
    """

    coverage: Coverage = "complete"
    lines: list[CostLine] = field(default_factory=list)
    tag_active: bool = False  # whether costs can be separated by the project's tag

    def become(self, other: "Costs") -> None:
        """Take over everything of other costs."""
        vars(self).update(vars(other))

    def known(self) -> list[CostLine]:
        """The lines that the coverage leaves."""
        newest = max((line.day for line in self.lines), default=date.min)
        match self.coverage:
            case "empty":
                return []
            case "late":
                return [line for line in self.lines if line.day < newest]
            case "partial":
                return self.lines[::2]
        return self.lines


COSTS = Costs()


@operation(CostExplorerResponse)
def get_cost_and_usage(call: Call) -> dict[str, Any]:
    """Costs by day, service and tag: the only question that is asked here."""
    if COSTS.coverage == "disabled":
        raise Refusal("AccessDeniedException", "User not enabled for cost explorer access")
    start, end = (date.fromisoformat(call.params["TimePeriod"][key]) for key in ("Start", "End"))
    days = [start + timedelta(days=number) for number in range((end - start).days)]
    return {
        "ResultsByTime": [_result(day, call.params.get("Filter")) for day in days],
        "GroupDefinitions": call.params["GroupBy"],
        "DimensionValueAttributes": [],
    }


def _passes(line: CostLine, query: dict[str, Any] | None) -> bool:
    """Whether a filter lets a line through: none, by RECORD_TYPE, or the opposite of one."""
    if query and "Not" in query:
        return not _passes(line, query["Not"])
    return not query or line.charge in query["Dimensions"]["Values"]


def _result(day: date, query: dict[str, Any] | None) -> dict[str, Any]:
    usd: dict[tuple[str, str], float] = defaultdict(float)
    for line in COSTS.known():
        if line.day == day and _passes(line, query):
            tag = "gpu-e2e" if line.tagged and COSTS.tag_active else ""
            usd[line.service, f"project${tag}"] += line.usd
    return {
        "TimePeriod": {"Start": day.isoformat(), "End": (day + timedelta(days=1)).isoformat()},
        "Total": {},
        "Groups": [
            {
                "Keys": keys,
                "Metrics": {"UnblendedCost": {"Amount": f"{amount:.10g}", "Unit": "USD"}},
            }
            for keys, amount in usd.items()
        ],
        "Estimated": COSTS.coverage != "complete",
    }
