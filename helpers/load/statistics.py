"""Statistics of latencies, and when a load should end; pure functions."""

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from helpers.load.progress import Second
from helpers.load.report import Percentile, Trend
from helpers.scenario import Stop

Floats = npt.NDArray[np.floating]

PERCENTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
# Fewest good answers for a percentile at 99 % confidence, as MLPerf loadgen's early stopping has
# it: P(at most 1 of n exceeds the true percentile) <= 1 %. P50 by the same rule.
FLOORS = {"p50": 11, "p90": 64, "p95": 130, "p99": 662, "p99.9": 6_636}
CONFIDENCE = 0.95

BLOCK_S = 5.0  # neighbouring seconds are alike; a trend is taken over medians of blocks
FEWEST_BLOCKS = 12


def percentile(ascending: Floats, share: float) -> float:
    """The nearest-rank percentile: the least value with at least `share` of all at or below it.

    >>> percentile(np.array([1.0, 2.0, 3.0, 4.0]), 0.5)
    2.0
    """
    # the tolerance keeps 0.95 * 20 = 19.000000000000004 at rank 19
    rank = math.ceil(share * len(ascending) - 1e-9)
    return float(ascending[max(rank, 1) - 1])


def judged(count: int) -> str:
    """The highest percentile up to P99 that so many samples tell; P50 where even it is uncertain.

    >>> judged(662), judged(661)
    ('p99', 'p95')
    """
    told = ("p50", *(name for name in ("p90", "p95", "p99") if count >= FLOORS[name]))
    return told[-1]


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


def trend(at_s: npt.ArrayLike, values: npt.ArrayLike) -> Trend | None:
    """The slope over time, by Theil and Sen, of the medians of blocks; None where there are few.

    Args:
        at_s: When each value was measured, seconds.
        values: What was measured; NaN where nothing was.
    """
    known = np.asarray(values, dtype=float)
    block = np.floor_divide(np.asarray(at_s, dtype=float), BLOCK_S).astype(np.int32)
    medians = {
        one: float(np.median(found))
        for one, group in grouped(block, known)
        if len(found := group[~np.isnan(group)])
    }
    if len(medians) < FEWEST_BLOCKS:
        return None
    from scipy import stats  # slow to import, and short loads do without

    minutes = np.array(list(medians)) * BLOCK_S / 60
    slope, _, low, high = stats.theilslopes(list(medians.values()), minutes, CONFIDENCE)
    return Trend(per_minute=float(slope), low=float(low), high=float(high))


def grouped(groups: npt.NDArray[np.int32], values: Floats) -> Iterator[tuple[int, Floats]]:
    """The values of each group, groups in ascending order.

    Args:
        groups: For each value, the number of its group.
        values: Any number of them.
    """
    order = np.argsort(groups, kind="stable")  # quick on what is nearly in order already
    ordered = values[order]
    labels = groups[order]
    del order  # as large as the values are
    starts = np.flatnonzero(labels[1:] != labels[:-1]) + 1
    for start, end in pairwise([0, *starts.tolist(), len(ordered)]):
        if end > start:
            yield int(labels[start]), ordered[start:end]


def reason_to_stop(stop: Stop, second: Second) -> str:
    """Why a load should end after a second of it; empty where it should go on."""
    if stop.errors_pct is not None and 100 * second.error_share > stop.errors_pct:
        return f"{100 * second.error_share:.0f} % of the answers of the last seconds were errors"
    if stop.p99_ms is not None and second.p99_ms is not None and second.p99_ms > stop.p99_ms:
        return f"the P99 of the last seconds was {second.p99_ms:.0f} ms"
    if stop.in_flight is not None and second.in_flight > stop.in_flight:
        return f"{second.in_flight} requests had no answer"
    return ""
