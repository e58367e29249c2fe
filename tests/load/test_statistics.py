"""Figures equal what is known of the requests, and doubtful ones say so."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow.dataset import Dataset, dataset
from scipy import stats

from helpers.load import statistics
from helpers.load.arrivals import schedule
from helpers.load.records import PhaseReport
from helpers.load.request import Second
from helpers.load.worker_pool import reason_to_stop
from helpers.scenario import Scenario, Stop

from .conftest import scenario


@given(
    st.lists(st.floats(0.001, 1e5), min_size=1, max_size=500),
    st.sampled_from(list(statistics.PERCENTILES.values())),
)
@settings(deadline=None)
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
    over, floor = 1 - statistics.PERCENTILES[name], statistics.FLOORS[name]
    assert stats.binom(floor, over).cdf(1) <= 0.01 < stats.binom(floor - 1, over).cdf(1)


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


STEADY = {"arrivals": "constant", "rate": 100, "duration_s": 10}


def stored(frame: pd.DataFrame) -> Dataset:
    return dataset(pa.Table.from_pandas(frame, preserve_index=False))


def table(played: Scenario, latency_ms: Any = 5.0, late_ms: Any = 0.1) -> pd.DataFrame:
    """What the recorder makes of a scenario whose latencies are known."""
    plan = schedule(played)
    phases = [played.phases[number] for number in plan.phases]
    frame = pd.DataFrame(
        {
            "phase": [phase.name for phase in phases],
            "warmup": [phase.warmup for phase in phases],
            "intended_s": plan.times_s,
            "released_s": plan.times_s + np.asarray(late_ms) / 1000,
            "sent_s": plan.times_s + np.asarray(late_ms) / 1000,
            "done_s": plan.times_s + np.asarray(latency_ms) / 1000,
            "outcome": "ok",
            "bytes": 4000,
        }
    )
    return timed(frame)


def timed(frame: pd.DataFrame) -> pd.DataFrame:
    frame["latency_ms"] = (frame["done_s"] - frame["intended_s"]) * 1000
    frame["service_ms"] = (frame["done_s"] - frame["sent_s"]) * 1000
    return frame


def fail(frame: pd.DataFrame, rows: slice, outcome: str, *, sent: bool = True) -> pd.DataFrame:
    frame.loc[frame.index[rows], "outcome"] = outcome
    frame.loc[frame.index[rows], ["done_s"] + ([] if sent else ["sent_s"])] = np.nan
    return timed(frame)


def measured(frame: pd.DataFrame, played: Scenario) -> PhaseReport:
    return statistics.reports(stored(frame), played)[1]


def test_figures_of_a_good_phase() -> None:
    played = scenario(STEADY)
    latency = np.arange(1, 1001) / 100
    report = measured(table(played, latency), played)
    assert (report.requests, report.delivered, report.ok) == (1000, 1000, 1000)
    assert report.requested_rps == report.offered_rps == pytest.approx(100)
    assert report.throughput_rps == pytest.approx(100)
    assert report.latency["p50"].ms == pytest.approx(5)
    assert report.latency["p99"].ms == pytest.approx(9.9)
    assert report.mean_ms == pytest.approx(latency.mean())
    assert report.max_ms == pytest.approx(10)
    assert report.service_p50_ms == pytest.approx(4.9)
    assert report.send_error_p99_ms == pytest.approx(0.1)
    assert (report.errors, report.error_rate_pct) == ({}, 0)
    assert not report.overloaded and report.invalid == ()


def test_warm_up_is_reported_but_not_measured() -> None:
    warm = {"name": "warm-up", "arrivals": "constant", "rate": 50, "duration_s": 2}
    second = {**STEADY, "name": "more", "rate": 300}
    played = scenario({**warm, "warmup": True}, STEADY, second)
    phases, all_of_them = statistics.reports(stored(table(played)), played)
    assert [one.requests for one in phases] == [100, 1000, 3000]
    assert [one.warmup for one in phases] == [True, False, False]
    assert all_of_them.requests == 4000
    assert all_of_them.requested_rps == pytest.approx(200)
    assert (all_of_them.start_s, all_of_them.end_s) == (2, 22)


def test_errors_are_counted_by_class_and_kept_out_of_the_latency() -> None:
    played = scenario(STEADY)
    frame = table(played)
    frame.loc[frame.index[:30], "outcome"] = "http-503"
    frame.loc[frame.index[:30], "done_s"] = frame["intended_s"] + 9
    report = measured(fail(timed(frame), slice(30, 50), "timeout"), played)
    assert report.errors == {"http-503": 30, "timeout": 20}
    assert report.error_rate_pct == pytest.approx(5)
    assert report.max_ms == pytest.approx(5)
    assert report.delivered == 1000


def test_too_few_delivered_is_invalid() -> None:
    played = scenario(STEADY)
    enough = fail(table(played), slice(0, 20), "timeout", sent=False)
    assert measured(enough, played).invalid == ()
    too_few = fail(table(played), slice(0, 21), "timeout", sent=False)
    assert measured(too_few, played).invalid == ("only 97.9 % of its arrivals were sent",)
    lost = table(played).iloc[:-100]
    assert "only 90.0 %" in measured(lost, played).invalid[0]
    assert measured(lost, played).requests == 1000


@pytest.mark.parametrize(
    ("latency_ms", "limit_ms"), [(2.0, "0.5"), (10.0, "0.5"), (16.0, "0.8"), (20.0, "1"), (90, "1")]
)
def test_a_client_that_is_late_for_what_it_measures_is_invalid(
    latency_ms: float, limit_ms: str
) -> None:
    played = scenario({**STEADY, "name": "a"}, {**STEADY, "name": "b"})
    late = np.zeros(2000)
    late[1500:1511] = float(limit_ms) + 0.04
    phases, both = statistics.reports(stored(table(played, latency_ms, late)), played)
    assert phases[0].invalid == ()
    assert phases[1].invalid == (
        f"requests left {float(limit_ms) + 0.04:.2f} ms late (P99; the limit is {limit_ms} ms): "
        "the client was the bottleneck",
    )
    assert both.invalid == (f"phase b: {phases[1].invalid[0]}",)
    late[1500:1511] = float(limit_ms) - 0.04
    assert statistics.reports(stored(table(played, latency_ms, late)), played)[1].invalid == ()


@pytest.mark.parametrize(
    ("count", "late", "late_ms", "doubt"),
    [
        (661, 33, 0.9, ""),  # one in twenty, and so few that one in a hundred is chance
        (661, 34, 0.9, "left 0.90 ms late (P95; the limit is 0.5 ms)"),
        (662, 6, 0.9, ""),
        (662, 7, 0.9, "left 0.90 ms late (P99; the limit is 0.5 ms)"),
        (661, 6, 1.1, ""),
        (661, 7, 1.1, "left 1.10 ms late (P99; the limit is 1 ms)"),
        (20, 1, 1.1, "left 1.10 ms late (P99; the limit is 1 ms)"),
    ],
)
def test_few_requests_are_judged_by_a_percentile_that_they_tell(
    count: int, late: int, late_ms: float, doubt: str
) -> None:
    played = scenario({"name": "a", "arrivals": "constant", "rate": count, "duration_s": 1})
    errors_ms = np.repeat([late_ms, 0.0], [late, count - late])
    invalid = measured(table(played, 5.0, errors_ms), played).invalid
    assert doubt in "".join(invalid)
    assert bool(doubt) is bool(invalid)


def test_a_client_that_is_always_a_little_late_is_invalid_where_answers_are_quick() -> None:
    played = scenario(STEADY)
    late = np.full(1000, 0.3)
    assert measured(table(played, 7.0, late), played).invalid == ()
    (doubt,) = measured(table(played, 5.0, late), played).invalid
    assert "left 0.30 ms late (P50; the limit is 0.25 ms)" in doubt


def test_the_last_of_a_burst_may_leave_after_the_first() -> None:
    played = scenario({"name": "a", "arrivals": "burst", "count": 1000, "duration_s": 1})
    late = np.linspace(0, 3, 1000)
    assert measured(table(played, 100.0, late), played).invalid == ()
    (doubt,) = measured(table(played, 20.0, late), played).invalid
    assert "2.97 ms late (P99; the limit is 1 ms)" in doubt
    (doubt,) = measured(table(played, 900.0, 5 * late), played).invalid
    assert "14.8" in doubt and "the limit is 10 ms" in doubt


@pytest.mark.parametrize(
    ("factor", "overloaded"), [(0.8, False), (0.99, False), (1.2, True), (2.0, True)]
)
def test_overload_is_a_queue_that_only_grows(factor: float, overloaded: bool) -> None:
    played = scenario(STEADY)
    service_s = factor / 100
    done, free = [], 0.0
    for arrival in schedule(played).times_s:
        free = max(free, arrival) + service_s
        done.append((free - arrival) * 1000)
    report = measured(table(played, np.array(done)), played)
    assert report.overloaded == overloaded
    assert report.invalid == ()
    assert report.ok == 1000


def test_a_slow_but_steady_server_is_not_overloaded() -> None:
    played = scenario({**STEADY, "duration_s": 2})
    assert not measured(table(played, 900.0), played).overloaded


def test_rejections_are_overload() -> None:
    played = scenario(STEADY)
    frame = fail(table(played), slice(500, 600), "http-503")
    assert measured(frame, played).overloaded


def test_a_closed_loop_has_no_requested_rate() -> None:
    played = scenario({"arrivals": "closed", "concurrency": 2, "duration_s": 10})
    frame = table(scenario(STEADY))
    report = measured(frame, played)
    assert report.requested_rps is None and not report.overloaded
    assert report.requests == 1000 and report.invalid == ()


def test_nothing_sent_is_invalid_not_a_crash() -> None:
    played = scenario(STEADY)
    report = measured(table(played).iloc[:0], played)
    assert report.latency == {} and report.mean_ms is None and report.error_rate_pct == 100
    assert report.invalid == ("only 0.0 % of its arrivals were sent",)
    closed = scenario({"arrivals": "closed", "concurrency": 2, "duration_s": 10})
    assert measured(table(played).iloc[:0], closed).invalid == ("nothing was sent",)
    assert not math.isnan(report.send_error_p99_ms)


def test_goodput_counts_what_was_answered_within_the_objective_and_the_phase() -> None:
    played = scenario(STEADY)
    frame = fail(table(played, np.where(np.arange(1000) < 250, 40.0, 5.0)), slice(990, 1000), "x")
    _, found = statistics.reports(stored(frame), played, 20.0)
    assert found.goodput_rps == pytest.approx(74)
    assert measured(frame, played).goodput_rps is None


def test_seconds_count_what_happened_in_each() -> None:
    played = scenario({**STEADY, "duration_s": 3})
    frame = fail(table(played, 1500.0), slice(100, 110), "http-503")
    seconds = statistics.seconds(stored(frame)).set_index("second")
    assert seconds["due"].to_dict() == {0: 100, 1: 100, 2: 100, 3: 0, 4: 0}
    assert seconds["ok"].to_dict() == {0: 0, 1: 50, 2: 90, 3: 100, 4: 50}
    assert seconds["errors"].to_dict() == {0: 0, 1: 10, 2: 0, 3: 0, 4: 0}
    assert seconds["p99_ms"].dropna().tolist() == [1500.0] * 3


@pytest.mark.parametrize(("slope", "differs"), [(0.0, False), (0.6, True)])
def test_a_drift_is_found_where_there_is_one(slope: float, differs: bool) -> None:
    played = scenario({**STEADY, "duration_s": 120})
    minutes = schedule(played).times_s / 60
    noise = np.random.default_rng(1).exponential(0.5, len(minutes))
    found = statistics.drift(stored(table(played, 5 + slope * minutes + noise)))
    assert found is not None and found.low <= slope <= found.high
    assert found.differs is differs
    assert statistics.drift(stored(table(scenario(STEADY)))) is None
