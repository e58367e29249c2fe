"""Figures of a load test from its table of requests: percentiles, rates, and what is invalid.

The table may be larger than memory, so it is a `Dataset`: counts are
taken while rows stream by, and where every value is needed, as for a percentile, only that column
is read. Values stay float64, 80 MB for ten million: narrower ones would save little and round.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from pyarrow.dataset import Dataset, Expression, field

from helpers.load.arrivals import PhaseSpan, schedule, spans
from helpers.load.records import CLIENTS_FAULT, Percentile, PhaseReport, Trend
from helpers.load.request import OK
from helpers.scenario import Burst, Closed, Scenario

Floats = npt.NDArray[np.floating]

PERCENTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
# Fewest good answers for a percentile at 99 % confidence, as MLPerf loadgen's early stopping has
# it: P(at most 1 of n exceeds the true percentile) <= 1 %. P50 by the same rule.
FLOORS = {"p50": 11, "p90": 64, "p95": 130, "p99": 662, "p99.9": 6_636}
CONFIDENCE = 0.95

BLOCK_S = 5.0  # neighbouring seconds are alike; a trend is taken over medians of blocks
FEWEST_BLOCKS = 12

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


def percentile(ascending: Floats, share: float) -> float:
    """The nearest-rank percentile: the least value with at least `share` of all at or below it.

    >>> percentile(np.array([1.0, 2.0, 3.0, 4.0]), 0.5)
    2.0
    """
    # the tolerance keeps 0.95 * 20 = 19.000000000000004 at rank 19
    rank = math.ceil(share * len(ascending) - 1e-9)
    return float(ascending[max(rank, 1) - 1])


def highest_percentile(count: int) -> str:
    """The highest percentile up to P99 that so many samples support; P50 where even it is unsure.

    >>> highest_percentile(662), highest_percentile(661)
    ('p99', 'p95')
    """
    return next((name for name in ("p99", "p95", "p90") if count >= FLOORS[name]), "p50")


def interval_ranks(count: int, share: float) -> tuple[int | None, int | None]:
    """Ranks (from 1) whose values enclose the true percentile with 95 % confidence or more.

    By order statistics, without assuming a distribution (Hahn & Meeker 1991, 5.2): how many of
    `count` samples lie at or below the true percentile is binomial, and each tail is left 2.5 %.
    None where the samples are too few for that end.
    """
    spread = 9 * math.sqrt(count * share * (1 - share)) + 9
    first = max(math.floor(count * share - spread), 0)
    last = min(math.ceil(count * share + spread), count)
    # probabilities of `first` to `last` successes; the rest, beyond 9 sigma, is left out
    successes = np.arange(first, last)
    steps = np.log((count - successes) / (successes + 1) * share / (1 - share))
    relative = np.concatenate([[0.0], np.cumsum(steps)])
    weights = np.exp(relative - relative.max())
    below = np.cumsum(weights / weights.sum())
    tail = (1 - CONFIDENCE) / 2
    low = first + int(np.searchsorted(below, tail, side="right"))
    high = first + int(np.searchsorted(below, 1 - tail, side="left")) + 1
    return (low if low >= 1 else None), (high if high <= count else None)


def latency(values_ms: Floats) -> dict[str, Percentile]:
    """The percentiles for which there are samples enough, each with its interval."""
    ascending = np.sort(values_ms)
    percentiles = {}
    for name, share in PERCENTILES.items():
        if len(ascending) >= FLOORS[name]:
            low, high = interval_ranks(len(ascending), share)
            percentiles[name] = Percentile(
                ms=percentile(ascending, share),
                low_ms=None if low is None else float(ascending[low - 1]),
                high_ms=None if high is None else float(ascending[high - 1]),
            )
    return percentiles


def trend(at_s: npt.ArrayLike, values: npt.ArrayLike) -> Trend | None:
    """The slope over time, by Theil and Sen, of the medians of blocks; None where there are few."""
    known = np.asarray(values, dtype=float)
    blocks = np.floor_divide(np.asarray(at_s, dtype=float), BLOCK_S).astype(np.int32)
    medians = {}
    for block, group in grouped(blocks, known):
        measured = group[~np.isnan(group)]
        if len(measured):
            medians[block] = float(np.median(measured))
    if len(medians) < FEWEST_BLOCKS:
        return None
    from scipy import stats  # slow to import, and short loads do without

    minutes = np.array(list(medians)) * BLOCK_S / 60
    slope, _, low, high = stats.theilslopes(list(medians.values()), minutes, CONFIDENCE)
    return Trend(per_minute=float(slope), low=float(low), high=float(high))


def grouped(groups: npt.NDArray[np.int32], values: Floats) -> Iterator[tuple[int, Floats]]:
    """The values of each group, by the group's number; `groups` has the number for each value."""
    order = np.argsort(groups, kind="stable")  # quick on what is nearly in order already
    ordered = values[order]
    labels = groups[order]
    del order  # as large as the values are
    starts = np.flatnonzero(labels[1:] != labels[:-1]) + 1
    for start, end in pairwise([0, *starts.tolist(), len(ordered)]):
        if end > start:
            yield int(labels[start]), ordered[start:end]


def outcomes(table: Dataset) -> Counter[str]:
    """How many requests had each outcome."""
    counts: Counter[str] = Counter()
    for batch in table.to_batches(columns=["outcome"]):
        for row in batch["outcome"].value_counts().to_pylist():
            counts[row["values"]] += row["counts"]
    return counts


def column(rows: Dataset, values: Expression) -> Floats:
    """One column, or what is computed from some, in the table's order; unknown values left out."""
    known = _known(values)
    result = np.empty(rows.count_rows(filter=known))
    filled = 0
    for batch in rows.to_batches(columns={"value": values}, filter=known):
        result[filled : filled + len(batch)] = batch["value"].to_numpy()
        filled += len(batch)
    return result


def drift(table: Dataset) -> Trend | None:
    """How the median latency of measured good answers changed, milliseconds per minute."""
    good = table.filter(GOOD & ~field("warmup") & _known(field("latency_ms")))
    return trend(column(good, field("intended_s")), column(good, field("latency_ms")))


def reports(
    table: Dataset, scenario: Scenario, objective_ms: float | None = None
) -> tuple[tuple[PhaseReport, ...], PhaseReport]:
    """Figures of each phase, and of all measured phases together, from a scenario's requests."""
    plan = schedule(scenario)
    parts = [
        PhaseRows(
            span,
            table.filter(field("phase") == span.phase.name),
            None if isinstance(span.phase, Closed) else plan.count(number),
        )
        for number, span in enumerate(spans(scenario))
    ]
    phases = tuple(_report(part.span.phase.name, table, [part], objective_ms) for part in parts)
    measured = [part for part in parts if not part.span.phase.warmup]
    return phases, _report("measured", table, measured, objective_ms)


@dataclass(frozen=True)
class PhaseRows:
    """The requests of a phase, and how many the schedule asked for; None for a closed loop."""

    span: PhaseSpan
    rows: Dataset
    scheduled: int | None

    def count(self, condition: Expression | None = None) -> int:
        """How many requests meet a condition."""
        return int(self.rows.count_rows(filter=condition))

    @cached_property
    def requests(self) -> int:
        """How many requests there should be; a closed loop has as many as it has."""
        return self.count() if self.scheduled is None else self.scheduled

    @cached_property
    def sent(self) -> int:
        """How many were sent, however late."""
        return self.count(_known(field("sent_s")))

    def answered_within(self, objective_ms: float) -> int:
        """How many were answered well, by the phase's end and within an objective."""
        in_phase = GOOD & (field("done_s") <= self.span.end_s)
        return self.count(in_phase & (field("latency_ms") <= objective_ms))

    @cached_property
    def answered_in_time(self) -> int:
        """How many were answered well by the phase's end."""
        return self.answered_within(math.inf)

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
        due = self.count(field("intended_s") <= self.span.end_s - quick_ms / 1000)
        return due - self.answered_in_time > max((1 - KEPT_UP) * due, FEW)

    def reasons_invalid(self, *, named: bool) -> list[str]:
        """Why its figures must not be trusted, each a short clause; `named` says which phase."""
        where = f"phase {self.span.phase.name}: " if named else ""
        reasons = []
        if not self.requests:
            reasons.append(f"{where}nothing was sent")
        elif self.sent < LEAST_DELIVERED * self.requests and not self.fell_behind:
            delivered = 100 * self.sent / self.requests
            reasons.append(f"{where}only {delivered:.1f} % of its arrivals were sent")
        if late := self._lateness():
            reasons.append(f"{where}{late}: {CLIENTS_FAULT}")
        return reasons

    def _lateness(self) -> str:
        """How the requests left too late; empty where they did not."""
        send_errors_ms = _ascending(self.rows, SEND_ERROR_MS)
        p50_ms = _at(_ascending(self.rows.filter(GOOD), field("latency_ms")), 0.50) or 0.0
        share_ms, most_ms = SEND_ERROR_SHARE * p50_ms, SEND_ERROR_LIMIT_MS
        if isinstance(self.span.phase, Burst):  # all are due at once; the last leaves later
            most_ms = min(max(most_ms, share_ms), BURST_LIMIT_MS)
        floor_ms = min(max(share_ms, SEND_ERROR_FLOOR_MS), most_ms)
        limits_ms = (
            (highest_percentile(send_errors_ms.size), floor_ms),
            ("p99", most_ms),
            ("p50", max(share_ms, WAKE_UP_MS)),
        )
        for name, limit_ms in limits_ms:
            late_ms = _at(send_errors_ms, PERCENTILES[name]) or 0.0
            if late_ms > limit_ms:
                return (
                    f"requests left {late_ms:.2f} ms late ({name.upper()}; "
                    f"the limit is {limit_ms:.3g} ms)"
                )
        return ""


def _report(
    name: str, table: Dataset, parts: Sequence[PhaseRows], objective_ms: float | None
) -> PhaseReport:
    """Figures of some phases taken together."""
    rows = table.filter(field("phase").isin([part.span.phase.name for part in parts]))
    good = rows.filter(GOOD)
    seconds = sum(part.span.end_s - part.span.start_s for part in parts)
    requests = sum(part.requests for part in parts)
    counts = outcomes(rows)
    latencies = column(good, field("latency_ms"))
    send_error_ms = _ascending(rows, SEND_ERROR_MS)
    scheduled = [part.scheduled for part in parts if part.scheduled is not None]
    in_time = sum(part.count(field("sent_s") <= part.span.end_s) for part in parts)
    return PhaseReport(
        name=name,
        warmup=all(part.span.phase.warmup for part in parts),
        requested_rps=sum(scheduled) / seconds if len(scheduled) == len(parts) else None,
        offered_rps=in_time / seconds,
        throughput_rps=sum(part.answered_in_time for part in parts) / seconds,
        goodput_rps=None
        if objective_ms is None
        else sum(part.answered_within(objective_ms) for part in parts) / seconds,
        start_s=parts[0].span.start_s,
        end_s=parts[-1].span.end_s,
        requests=requests,
        delivered=sum(part.sent for part in parts),
        ok=counts[OK],
        errors={kind: count for kind, count in counts.most_common() if kind != OK},
        error_rate_pct=100 * (requests - counts[OK]) / requests if requests else 0.0,
        latency=latency(latencies),
        mean_ms=float(latencies.mean()) if latencies.size else None,
        max_ms=float(latencies.max()) if latencies.size else None,
        service_p50_ms=_at(_ascending(good, field("service_ms")), 0.50),
        send_error_p50_ms=_at(send_error_ms, 0.50) or 0.0,
        send_error_p99_ms=_at(send_error_ms, 0.99) or 0.0,
        overloaded=any(part.fell_behind for part in parts),
        invalid=tuple(
            reason for part in parts for reason in part.reasons_invalid(named=len(parts) > 1)
        ),
    )


def _known(values: Expression) -> Expression:
    return ~values.is_null(nan_is_null=True)


def _ascending(rows: Dataset, values: Expression) -> Floats:
    return np.sort(column(rows, values))


def _at(ascending: Floats, share: float) -> float | None:
    return percentile(ascending, share) if ascending.size else None
