"""Figures of a load test, from its table of requests; pure functions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from helpers.load.arrivals import Span, schedule, spans
from helpers.load.client import OK
from helpers.load.report import Percentile, PhaseReport
from helpers.scenario import Closed, Scenario

Floats = npt.NDArray[np.floating]

PERCENTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
# Fewest good answers for a percentile at 99 % confidence, as MLPerf loadgen's early stopping has it
# (P90, P95, P99): P(at most 1 of n exceeds the true percentile) <= 1 %. P50 by the same rule.
FLOORS = {"p50": 11, "p90": 64, "p95": 130, "p99": 662}
CONFIDENCE = 0.95

LEAST_DELIVERED = 0.98
# Tenfold what the timer was measured to be late by; the targets of latency are tens of
# milliseconds, and what leaves this late is no longer the schedule that was asked for.
SEND_ERROR_LIMIT_MS = 10.0
CPU_LIMIT = 0.9  # one core is all that one event loop can use
KEPT_UP = 0.95
FEW = 5  # late answers that are chance rather than a server falling behind


@dataclass(frozen=True)
class Part:
    """The rows of a phase and what it was meant to be."""

    span: Span
    rows: pd.DataFrame
    scheduled: int | None

    @property
    def seconds(self) -> float:
        """The phase's length."""
        return self.span.end_s - self.span.start_s

    @property
    def requests(self) -> int:
        """How many requests there should be; a closed loop has as many as it has."""
        return len(self.rows) if self.scheduled is None else self.scheduled


def percentile(ascending: Floats, share: float) -> float:
    """The nearest-rank percentile: the least value with at least `share` of all at or below it.

    >>> percentile(np.array([1.0, 2.0, 3.0, 4.0]), 0.5)
    2.0
    """
    # the tolerance keeps 0.95 * 20 = 19.000000000000004 at rank 19
    rank = math.ceil(share * len(ascending) - 1e-9)
    return float(ascending[max(rank, 1) - 1])


def interval_ranks(count: int, share: float) -> tuple[int | None, int | None]:
    """Ranks (from 1) whose values enclose the true percentile with 95 % confidence or more.

    By order statistics, without assuming a distribution (Hahn & Meeker 1991, 5.2): how many of
    `count` samples lie at or below the true percentile is binomial, and each tail is left 2.5 %.
    None where the samples are too few for that end.
    """
    spread = 9 * math.sqrt(count * share * (1 - share)) + 9
    first = max(math.floor(count * share - spread), 0)
    last = min(math.ceil(count * share + spread), count)
    below = np.cumsum(_binomial(count, share, first, last))
    tail = (1 - CONFIDENCE) / 2
    low = first + int(np.searchsorted(below, tail, side="right"))
    high = first + int(np.searchsorted(below, 1 - tail, side="left")) + 1
    return (low if low >= 1 else None), (high if high <= count else None)


def _binomial(count: int, share: float, first: int, last: int) -> Floats:
    """Probabilities of `first` to `last` successes; the rest, beyond 9 sigma, is left out."""
    successes = np.arange(first, last)
    steps = np.log((count - successes) / (successes + 1) * share / (1 - share))
    relative = np.concatenate([[0.0], np.cumsum(steps)])
    weights = np.exp(relative - relative.max())
    probabilities: Floats = weights / weights.sum()
    return probabilities


def latency(values_ms: Floats) -> dict[str, Percentile]:
    """Those percentiles for which there are samples enough, each with its interval.

    Args:
        values_ms: Latencies of good answers, in any order.
    """
    ascending = np.sort(values_ms)
    found = {}
    for name, share in PERCENTILES.items():
        if len(ascending) >= FLOORS[name]:
            low, high = interval_ranks(len(ascending), share)
            found[name] = Percentile(
                ms=percentile(ascending, share),
                low_ms=None if low is None else float(ascending[low - 1]),
                high_ms=None if high is None else float(ascending[high - 1]),
            )
    return found


def reports(table: pd.DataFrame, scenario: Scenario) -> tuple[tuple[PhaseReport, ...], PhaseReport]:
    """Figures of each phase, and of all measured phases together.

    Args:
        table: All requests of the scenario, as `helpers.load.report` describes.
        scenario: What was played.
    """
    parts = _parts(table, scenario)
    phases = tuple(report(one.span.phase.name, [one]) for one in parts)
    measured = [one for one in parts if not one.span.phase.warmup]
    return phases, report("measured", measured)


def _parts(table: pd.DataFrame, scenario: Scenario) -> list[Part]:
    plan = schedule(scenario)
    return [
        Part(
            span,
            table[table["phase"] == span.phase.name],
            None if isinstance(span.phase, Closed) else plan.count(number),
        )
        for number, span in enumerate(spans(scenario))
    ]


def report(name: str, parts: Sequence[Part]) -> PhaseReport:
    """Figures of some phases taken together."""
    rows = pd.concat([one.rows for one in parts])
    seconds = sum(one.seconds for one in parts)
    requests = sum(one.requests for one in parts)
    good, failed = rows[rows["outcome"] == OK], rows["outcome"][rows["outcome"] != OK]
    latencies = good["latency_ms"].to_numpy(dtype=float)
    scheduled = [one.scheduled for one in parts if one.scheduled is not None]
    in_time = sum(_answered_in_time(one) for one in parts)
    return PhaseReport(
        name=name,
        warmup=all(one.span.phase.warmup for one in parts),
        requested_rps=sum(scheduled) / seconds if len(scheduled) == len(parts) else None,
        offered_rps=sum(_sent_in_time(one) for one in parts) / seconds,
        throughput_rps=in_time / seconds,
        start_s=parts[0].span.start_s,
        end_s=parts[-1].span.end_s,
        requests=requests,
        delivered=int(rows["sent_s"].notna().sum()),
        ok=len(good),
        errors={str(kind): int(n) for kind, n in failed.value_counts().items()},
        error_rate_pct=100 * (requests - len(good)) / requests if requests else 0.0,
        latency=latency(latencies),
        mean_ms=float(latencies.mean()) if latencies.size else None,
        max_ms=float(latencies.max()) if latencies.size else None,
        service_p50_ms=_sample(good["service_ms"], 0.50),
        send_error_p99_ms=_send_error_ms(rows),
        overloaded=any(fell_behind(one) for one in parts),
        invalid=tuple(doubt for one in parts for doubt in doubts(one, named=len(parts) > 1)),
    )


def doubts(part: Part, *, named: bool = False) -> list[str]:
    """Why the figures of a phase must not be believed; each a short clause.

    Args:
        part: The phase and its rows.
        named: Whether to say which phase.
    """
    where = f"phase {part.span.phase.name}: " if named else ""
    sent = int(part.rows["sent_s"].notna().sum())
    late = _send_error_ms(part.rows)
    found = []
    if not part.requests:
        found.append(f"{where}nothing was sent")
    elif sent < LEAST_DELIVERED * part.requests:
        found.append(f"{where}only {100 * sent / part.requests:.1f} % of its arrivals were sent")
    if late > SEND_ERROR_LIMIT_MS:
        found.append(
            f"{where}requests left {late:.1f} ms late (P99; the limit is "
            f"{SEND_ERROR_LIMIT_MS:g} ms): the client or its connections were the bottleneck"
        )
    return found


def fell_behind(part: Part) -> bool:
    """Whether the server did not keep up with the arrivals of a phase.

    That is so when more than 5 % of what it should have answered before the phase's end was not
    answered well by then. What arrived so shortly before the end that even a quick answer (P10)
    would have come after it does not count.
    """
    if part.scheduled is None:
        return False
    good = part.rows[part.rows["outcome"] == OK]
    quick_ms = _sample(good["latency_ms"], 0.10) or 0.0
    due = int((part.rows["intended_s"] <= part.span.end_s - quick_ms / 1000).sum())
    behind = due - _answered_in_time(part)
    return behind > max((1 - KEPT_UP) * due, FEW)


def _answered_in_time(part: Part) -> int:
    good = part.rows[part.rows["outcome"] == OK]
    return int((good["done_s"] <= part.span.end_s).sum())


def _sent_in_time(part: Part) -> int:
    return int((part.rows["sent_s"] <= part.span.end_s).sum())


def _send_error_ms(rows: pd.DataFrame) -> float:
    return _sample((rows["sent_s"] - rows["intended_s"]) * 1000, 0.99) or 0.0


def _sample(values: "pd.Series[float]", share: float) -> float | None:
    known = np.sort(values.dropna().to_numpy(dtype=float))
    return percentile(known, share) if known.size else None
