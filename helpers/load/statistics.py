"""Figures of a load test, from its table of requests; pure functions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from helpers.load.arrivals import Span, schedule, spans
from helpers.load.client import OK
from helpers.load.progress import Second
from helpers.load.report import Percentile, PhaseReport, Trend
from helpers.scenario import Closed, Scenario, Stop

Floats = npt.NDArray[np.floating]

PERCENTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
# Fewest good answers for a percentile at 99 % confidence, as MLPerf loadgen's early stopping has
# it: P(at most 1 of n exceeds the true percentile) <= 1 %. P50 by the same rule.
FLOORS = {"p50": 11, "p90": 64, "p95": 130, "p99": 662, "p99.9": 6_636}
CONFIDENCE = 0.95

LEAST_DELIVERED = 0.98
# At P99. A machine of two cores that client, server and telemetry share lets go 1 ms late at times
# when nothing else runs, and later when something does.
SEND_ERROR_LIMIT_MS = 10.0
CPU_LIMIT = 0.8  # one core is all that one event loop can use
BLOCK_S = 5.0  # neighbouring seconds are alike; a trend is taken over medians of blocks
FEWEST_BLOCKS = 12
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


def reports(
    table: pd.DataFrame, scenario: Scenario, objective_ms: float | None = None
) -> tuple[tuple[PhaseReport, ...], PhaseReport]:
    """Figures of each phase, and of all measured phases together.

    Args:
        table: All requests of the scenario, as `helpers.load.report` describes.
        scenario: What was played.
        objective_ms: Good answers within this are goodput.
    """
    parts = _parts(table, scenario)
    phases = tuple(report(one.span.phase.name, [one], objective_ms) for one in parts)
    measured = [one for one in parts if not one.span.phase.warmup]
    return phases, report("measured", measured, objective_ms)


def seconds(table: pd.DataFrame) -> pd.DataFrame:
    """One row a second, as `helpers.load.report` describes."""
    good = table[table["outcome"] == OK]
    due = _second(table["intended_s"])
    latency = good.groupby(_second(good["intended_s"]))["latency_ms"]
    rows = pd.DataFrame(
        {
            "due": due.value_counts(),
            "released": _second(table["released_s"]).value_counts(),
            "ok": _second(good["done_s"]).value_counts(),
            "errors": due[table["outcome"] != OK].value_counts(),
        }
    )
    rows = rows.fillna(0).astype(int).sort_index()
    for name in ("p50", "p95", "p99"):
        rows[f"{name}_ms"] = latency.quantile(PERCENTILES[name], interpolation="higher").round(3)
    return rows.rename_axis("second").reset_index()


def drift(table: pd.DataFrame) -> Trend | None:
    """How the median latency of measured good answers changed, milliseconds per minute."""
    good = table[(table["outcome"] == OK) & ~table["warmup"]]
    return trend(good["intended_s"].to_numpy(), good["latency_ms"].to_numpy())


def trend(at_s: npt.ArrayLike, values: npt.ArrayLike) -> Trend | None:
    """The slope over time, by Theil and Sen, of the medians of blocks; None where there are few.

    Args:
        at_s: When each value was measured, seconds.
        values: What was measured; NaN where nothing was.
    """
    known = pd.Series(np.asarray(values, dtype=float), index=np.asarray(at_s, dtype=float)).dropna()
    medians = known.groupby(known.index // BLOCK_S).median()
    if len(medians) < FEWEST_BLOCKS:
        return None
    from scipy import stats  # slow to import, and short loads do without

    minutes = medians.index * BLOCK_S / 60
    slope, _, low, high = stats.theilslopes(medians.to_numpy(), minutes, CONFIDENCE)
    return Trend(per_minute=float(slope), low=float(low), high=float(high))


def reason_to_stop(stop: Stop, second: Second) -> str:
    """Why a load should end after a second of it; empty where it should go on."""
    if stop.errors_pct is not None and 100 * second.error_share > stop.errors_pct:
        return f"{100 * second.error_share:.0f} % of the answers of the last seconds were errors"
    if stop.p99_ms is not None and second.p99_ms is not None and second.p99_ms > stop.p99_ms:
        return f"the P99 of the last seconds was {second.p99_ms:.0f} ms"
    if stop.in_flight is not None and second.in_flight > stop.in_flight:
        return f"{second.in_flight} requests had no answer"
    return ""


def _second(times: "pd.Series[float]") -> "pd.Series[int]":
    return times.dropna().astype(int)


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


def report(name: str, parts: Sequence[Part], objective_ms: float | None = None) -> PhaseReport:
    """Figures of some phases taken together."""
    rows = parts[0].rows if len(parts) == 1 else pd.concat([one.rows for one in parts])
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
        goodput_rps=None
        if objective_ms is None
        else sum(_answered_in_time(one, objective_ms) for one in parts) / seconds,
        start_s=parts[0].span.start_s,
        end_s=parts[-1].span.end_s,
        requests=requests,
        delivered=int(rows["sent_s"].notna().sum()),
        ok=len(good),
        errors={str(kind): int(n) for kind, n in failed.value_counts().items() if n},
        error_rate_pct=100 * (requests - len(good)) / requests if requests else 0.0,
        latency=latency(latencies),
        mean_ms=float(latencies.mean()) if latencies.size else None,
        max_ms=float(latencies.max()) if latencies.size else None,
        service_p50_ms=_sample(good["service_ms"], 0.50),
        send_error_p50_ms=_send_error_ms(rows, 0.50),
        send_error_p99_ms=_send_error_ms(rows, 0.99),
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
    found = []
    if not part.requests:
        found.append(f"{where}nothing was sent")
    elif sent < LEAST_DELIVERED * part.requests and not fell_behind(part):
        found.append(f"{where}only {100 * sent / part.requests:.1f} % of its arrivals were sent")
    late = _send_error_ms(part.rows, 0.99)
    if late > SEND_ERROR_LIMIT_MS:
        found.append(
            f"{where}requests left {late:.1f} ms late (P99; the limit is "
            f"{SEND_ERROR_LIMIT_MS:g} ms): the client was the bottleneck"
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


def _answered_in_time(part: Part, objective_ms: float = math.inf) -> int:
    good = part.rows["outcome"] == OK
    in_phase = part.rows["done_s"] <= part.span.end_s
    return int((good & in_phase & (part.rows["latency_ms"] <= objective_ms)).sum())


def _sent_in_time(part: Part) -> int:
    return int((part.rows["sent_s"] <= part.span.end_s).sum())


def _send_error_ms(rows: pd.DataFrame, share: float) -> float:
    return _sample((rows["released_s"] - rows["intended_s"]) * 1000, share) or 0.0


def _sample(values: "pd.Series[float]", share: float) -> float | None:
    known = np.sort(values.dropna().to_numpy(dtype=float))
    return percentile(known, share) if known.size else None
