"""Figures of a load test, from its table of requests.

The table may be larger than memory, so it is a `Dataset`: what is counted is counted while rows
stream by, and where every value matters, as for a percentile, that one column is read. Values stay
the float64 that the table holds, 80 MB for ten million: narrower ones would save little and be
rounded.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pyarrow.dataset import Dataset, Expression, field

from helpers.load.arrivals import Span, schedule, spans
from helpers.load.client import OK
from helpers.load.report import CLIENTS_FAULT, PhaseReport, Trend
from helpers.load.statistics import PERCENTILES, Floats, judged, latency, percentile, trend
from helpers.scenario import Burst, Closed, Scenario

LEAST_DELIVERED = 0.98
# A request may leave late by a share of the median latency, judged where samples suffice. No client
# is exact to less than the floor on every machine, nor at the median to less than a core's waking.
SEND_ERROR_SHARE, SEND_ERROR_FLOOR_MS, WAKE_UP_MS = 0.05, 0.5, 0.25
SEND_ERROR_LIMIT_MS, BURST_LIMIT_MS = 1.0, 10.0  # at P99, whatever the latency, however few
CPU_LIMIT = 0.8  # one core is all that one event loop can use
KEPT_UP = 0.95
FEW = 5  # late answers that are chance rather than a server falling behind

GOOD = field("outcome") == OK
SEND_ERROR_MS = (field("released_s") - field("intended_s")) * 1000


@dataclass(frozen=True)
class Part:
    """The rows of a phase and what it was meant to be."""

    span: Span
    rows: Dataset
    scheduled: int | None

    @property
    def seconds(self) -> float:
        """The phase's length."""
        return self.span.end_s - self.span.start_s

    @cached_property
    def requests(self) -> int:
        """How many requests there should be; a closed loop has as many as it has."""
        return int(self.rows.count_rows()) if self.scheduled is None else self.scheduled

    @cached_property
    def sent(self) -> int:
        """How many were sent, however late."""
        return int(self.rows.count_rows(filter=_known(field("sent_s"))))

    @cached_property
    def sent_in_time(self) -> int:
        """How many were sent by the phase's end."""
        return int(self.rows.count_rows(filter=field("sent_s") <= self.span.end_s))

    @cached_property
    def answered_in_time(self) -> int:
        """How many were answered well by the phase's end."""
        return self.answered_within(math.inf)

    def answered_within(self, objective_ms: float) -> int:
        """How many of these took no longer than an objective."""
        in_phase = GOOD & (field("done_s") <= self.span.end_s)
        return int(self.rows.count_rows(filter=in_phase & (field("latency_ms") <= objective_ms)))

    @cached_property
    def send_errors_ms(self) -> Floats:
        """How late requests were released, ascending."""
        return _ascending(self.rows, SEND_ERROR_MS)

    @cached_property
    def p50_ms(self) -> float:
        """The median latency of good answers; 0 where there is none."""
        return _at(_ascending(self.rows.filter(GOOD), field("latency_ms")), 0.50) or 0.0

    @cached_property
    def fell_behind(self) -> bool:
        """Whether the server did not keep up with the arrivals of the phase.

        That is so when more than 5 % of what it should have answered before the phase's end was
        not answered well by then. What arrived so shortly before the end that even a quick answer
        (P10) would have come after it does not count.
        """
        if self.scheduled is None:
            return False
        quick_ms = _at(_ascending(self.rows.filter(GOOD), field("latency_ms")), 0.10) or 0.0
        latest_s = self.span.end_s - quick_ms / 1000
        due = int(self.rows.count_rows(filter=field("intended_s") <= latest_s))
        return due - self.answered_in_time > max((1 - KEPT_UP) * due, FEW)


def reports(
    table: Dataset, scenario: Scenario, objective_ms: float | None = None
) -> tuple[tuple[PhaseReport, ...], PhaseReport]:
    """Figures of each phase, and of all measured phases together.

    Args:
        table: All requests of the scenario, as `helpers.load.report` describes.
        scenario: What was played.
        objective_ms: Good answers within this are goodput.
    """
    parts = _parts(table, scenario)
    phases = tuple(_report(one.span.phase.name, table, [one], objective_ms) for one in parts)
    measured = [one for one in parts if not one.span.phase.warmup]
    return phases, _report("measured", table, measured, objective_ms)


def drift(table: Dataset) -> Trend | None:
    """How the median latency of measured good answers changed, milliseconds per minute."""
    good = table.filter(GOOD & ~field("warmup") & _known(field("latency_ms")))
    return trend(column(good, field("intended_s")), column(good, field("latency_ms")))


def outcomes(table: Dataset) -> Counter[str]:
    """How many requests had each outcome."""
    counted: Counter[str] = Counter()
    for batch in table.to_batches(columns=["outcome"]):
        for one in batch["outcome"].value_counts().to_pylist():
            counted[one["values"]] += one["counts"]
    return counted


def column(rows: Dataset, values: Expression) -> Floats:
    """One column, or what is computed from some, in the table's order; unknown values left out."""
    known = _known(values)
    found = np.empty(rows.count_rows(filter=known))
    filled = 0
    for batch in rows.to_batches(columns={"value": values}, filter=known):
        found[filled : filled + len(batch)] = batch["value"].to_numpy()
        filled += len(batch)
    return found


def _parts(table: Dataset, scenario: Scenario) -> list[Part]:
    plan = schedule(scenario)
    return [
        Part(
            span,
            table.filter(field("phase") == span.phase.name),
            None if isinstance(span.phase, Closed) else plan.count(number),
        )
        for number, span in enumerate(spans(scenario))
    ]


def _report(
    name: str, table: Dataset, parts: Sequence[Part], objective_ms: float | None
) -> PhaseReport:
    """Figures of some phases taken together."""
    rows = table.filter(field("phase").isin([one.span.phase.name for one in parts]))
    good = rows.filter(GOOD)
    seconds = sum(one.seconds for one in parts)
    requests = sum(one.requests for one in parts)
    counted = outcomes(rows)
    latencies = column(good, field("latency_ms"))
    send_error_ms = _ascending(rows, SEND_ERROR_MS)
    scheduled = [one.scheduled for one in parts if one.scheduled is not None]
    return PhaseReport(
        name=name,
        warmup=all(one.span.phase.warmup for one in parts),
        requested_rps=sum(scheduled) / seconds if len(scheduled) == len(parts) else None,
        offered_rps=sum(one.sent_in_time for one in parts) / seconds,
        throughput_rps=sum(one.answered_in_time for one in parts) / seconds,
        goodput_rps=None
        if objective_ms is None
        else sum(one.answered_within(objective_ms) for one in parts) / seconds,
        start_s=parts[0].span.start_s,
        end_s=parts[-1].span.end_s,
        requests=requests,
        delivered=sum(one.sent for one in parts),
        ok=counted[OK],
        errors={kind: count for kind, count in counted.most_common() if kind != OK},
        error_rate_pct=100 * (requests - counted[OK]) / requests if requests else 0.0,
        latency=latency(latencies),
        mean_ms=float(latencies.mean()) if latencies.size else None,
        max_ms=float(latencies.max()) if latencies.size else None,
        service_p50_ms=_at(_ascending(good, field("service_ms")), 0.50),
        send_error_p50_ms=_at(send_error_ms, 0.50) or 0.0,
        send_error_p99_ms=_at(send_error_ms, 0.99) or 0.0,
        overloaded=any(one.fell_behind for one in parts),
        invalid=tuple(doubt for one in parts for doubt in doubts(one, named=len(parts) > 1)),
    )


def doubts(part: Part, *, named: bool = False) -> list[str]:
    """Why the figures of a phase must not be believed; each a short clause.

    Args:
        part: The phase and its rows.
        named: Whether to say which phase.
    """
    where = f"phase {part.span.phase.name}: " if named else ""
    found = []
    if not part.requests:
        found.append(f"{where}nothing was sent")
    elif part.sent < LEAST_DELIVERED * part.requests and not part.fell_behind:
        delivered = 100 * part.sent / part.requests
        found.append(f"{where}only {delivered:.1f} % of its arrivals were sent")
    if late := _lateness(part):
        found.append(f"{where}{late}: {CLIENTS_FAULT}")
    return found


def _lateness(part: Part) -> str:
    """How the requests left too late; empty where they did not."""
    share_ms = SEND_ERROR_SHARE * part.p50_ms
    most_ms = SEND_ERROR_LIMIT_MS
    if isinstance(part.span.phase, Burst):  # all is due at once; the last leaves after the first
        most_ms = min(max(most_ms, share_ms), BURST_LIMIT_MS)
    limits_ms = (
        (judged(part.send_errors_ms.size), min(max(share_ms, SEND_ERROR_FLOOR_MS), most_ms)),
        ("p99", most_ms),
        ("p50", max(share_ms, WAKE_UP_MS)),
    )
    for name, limit_ms in limits_ms:
        late_ms = _at(part.send_errors_ms, PERCENTILES[name]) or 0.0
        if late_ms > limit_ms:
            return (
                f"requests left {late_ms:.2f} ms late ({name.upper()}; "
                f"the limit is {limit_ms:.3g} ms)"
            )
    return ""


def _known(values: Expression) -> Expression:
    return ~values.is_null(nan_is_null=True)


def _ascending(rows: Dataset, values: Expression) -> Floats:
    return np.sort(column(rows, values))


def _at(ascending: Floats, share: float) -> float | None:
    return percentile(ascending, share) if ascending.size else None
