"""Statistics equal independent computations."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from helpers.load import statistics
from helpers.load.request import Second
from helpers.load.worker_pool import reason_to_stop
from helpers.scenario import Stop


@given(
    st.lists(st.floats(0.001, 1e5), min_size=1, max_size=500),
    st.sampled_from(list(statistics.PERCENTILES.values())),
)
def test_percentile_is_nearest_rank(values: list[float], share: float) -> None:
    ascending = np.sort(values)
    found = statistics.percentile(ascending, share)
    assert found in ascending
    assert found == np.percentile(ascending, 100 * share, method="inverted_cdf")


@given(st.integers(1, 5000), st.sampled_from(list(statistics.PERCENTILES.values())))
@settings(deadline=None)
def test_interval_ranks_cover_as_the_binomial_says(count: int, share: float) -> None:
    low, high = statistics.interval_ranks(count, share)
    binomial = stats.binom(count, share)
    # the true percentile lies below the sample of rank r where fewer than r samples are at or
    # below it
    if low is None:
        assert binomial.cdf(0) > 0.025 - 1e-12
    else:
        assert binomial.cdf(low - 1) <= 0.025 + 1e-9 < binomial.cdf(low) + 1e-9
    if high is None:
        assert binomial.sf(count - 1) > 0.025 - 1e-12
    else:
        assert binomial.sf(high - 1) <= 0.025 + 1e-9
        assert binomial.sf(high - 2) > 0.025 - 1e-9


def test_intervals_cover_the_truth_as_often_as_they_promise() -> None:
    random, covered = np.random.default_rng(7), 0
    truth = stats.lognorm(0.5).ppf(0.95)
    for _ in range(400):
        found = statistics.latency(random.lognormal(0, 0.5, 700))["p95"]
        assert found.low_ms is not None and found.high_ms is not None
        covered += found.low_ms <= truth <= found.high_ms
    assert covered >= 370  # of 400; 380 expected at least, 370 has a chance of 1 in 60


@pytest.mark.parametrize("name", list(statistics.FLOORS))
def test_floors_are_those_of_mlperf_at_99_per_cent(name: str) -> None:
    over = 1 - statistics.PERCENTILES[name]
    enough = next(n for n in range(2, 9999) if stats.binom(n, over).cdf(1) <= 0.01)
    assert statistics.FLOORS[name] == enough


def test_percentiles_without_samples_enough_are_left_out() -> None:
    assert statistics.latency(np.ones(10)) == {}
    assert set(statistics.latency(np.ones(64))) == {"p50", "p90"}
    assert set(statistics.latency(np.ones(661))) == {"p50", "p90", "p95"}
    assert set(statistics.latency(np.ones(662))) == {"p50", "p90", "p95", "p99"}
    assert set(statistics.latency(np.ones(6_636))) == set(statistics.PERCENTILES)


def second(**changed: Any) -> Second:
    facts: dict[str, Any] = {
        "elapsed_s": 7.0, "phase": "steady", "offered_rps": 10.0, "throughput_rps": 10.0,
        "in_flight": 3, "errors": 0, "error_share": 0.0, "p50_ms": 5.0, "p95_ms": 6.0,
        "p99_ms": 7.0, "memory_mib": 50.0,
    }  # fmt: skip
    return Second(**(facts | changed))


def test_a_load_stops_for_what_it_was_told_and_for_nothing_else() -> None:
    every = Stop(errors_pct=10, p99_ms=100, in_flight=50)
    assert reason_to_stop(every, second()) == ""
    assert "errors" in reason_to_stop(every, second(error_share=0.11))
    assert "P99" in reason_to_stop(every, second(p99_ms=101.0))
    assert "no answer" in reason_to_stop(every, second(in_flight=51))
    worst = second(error_share=1.0, p99_ms=9e9, in_flight=9999)
    assert reason_to_stop(Stop(), worst) == ""
