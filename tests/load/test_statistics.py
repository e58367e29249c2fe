"""Figures equal what is known of the requests and what pandas computes; doubtful ones say so."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow.dataset import Dataset, dataset
from scipy import stats

from helpers.load import statistics
from helpers.load.arrivals import schedule
from helpers.load.records import PhaseReport
from helpers.load.request import Recorder, Request, Second, parts_folder
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
    value = statistics.percentile(ascending, share)
    assert value in ascending
    assert value == np.percentile(ascending, 100 * share, method="inverted_cdf")


@given(st.integers(1, 5000), st.sampled_from(list(statistics.PERCENTILES.values())))
@settings(deadline=None)
def test_interval_ranks_cover_as_the_binomial_says(count: int, share: float) -> None:
    low, high = statistics.interval_ranks(count, share)
    binomial = stats.binom(count, share)
    # the percentile lies below the sample of rank r where fewer than r samples are at or below it
    assert low is None or binomial.cdf(low - 1) <= 0.025 + 1e-9
    assert high is None or binomial.sf(high - 1) <= 0.025 + 1e-9
    # and the interval is as narrow as it can be
    assert binomial.cdf(low or 0) > 0.025 - 1e-9
    assert binomial.sf((high or count + 1) - 2) > 0.025 - 1e-9


@pytest.mark.parametrize("name", list(statistics.FLOORS))
def test_floors_are_those_of_mlperf_at_99_per_cent(name: str) -> None:
    over, floor = 1 - statistics.PERCENTILES[name], statistics.FLOORS[name]
    assert stats.binom(floor, over).cdf(1) <= 0.01 < stats.binom(floor - 1, over).cdf(1)
    assert name in statistics.latency(np.ones(floor))
    assert name not in statistics.latency(np.ones(floor - 1))


def test_a_load_stops_at_its_limits_and_for_nothing_else() -> None:
    limits = Stop(errors_pct=10, p99_ms=100, in_flight=50)
    good = Second(7.0, "steady", 10.0, 10.0, 3, 0, 0.0, 5.0, 6.0, 7.0, 50.0)
    assert reason_to_stop(limits, good) == ""
    assert "errors" in reason_to_stop(limits, replace(good, error_share=0.11))
    assert "P99" in reason_to_stop(limits, replace(good, p99_ms=101.0))
    assert "no answer" in reason_to_stop(limits, replace(good, in_flight=51))
    worst = replace(good, error_share=1.0, p99_ms=9e9, in_flight=9999)
    assert reason_to_stop(Stop(), worst) == ""


STEADY = {"arrivals": "constant", "rate": 100, "duration_s": 10}


def stored(frame: pd.DataFrame) -> Dataset:
    return dataset(pa.Table.from_pandas(frame, preserve_index=False))


def table(played: Scenario, latency_ms: Any = 5.0, late_ms: Any = 0.1) -> pd.DataFrame:
    """What the recorder makes of a scenario whose latencies are known."""
    plan = schedule(played)
    phases = [played.phases[number] for number in plan.phases]
    sent_s = plan.times_s + np.asarray(late_ms) / 1000
    done_s = plan.times_s + np.asarray(latency_ms) / 1000
    return pd.DataFrame(
        {
            "phase": [phase.name for phase in phases],
            "warmup": [phase.warmup for phase in phases],
            "intended_s": plan.times_s,
            "released_s": sent_s,
            "sent_s": sent_s,
            "done_s": done_s,
            "latency_ms": (done_s - plan.times_s) * 1000,
            "service_ms": (done_s - sent_s) * 1000,
            "outcome": "ok",
        }
    )


def fail(frame: pd.DataFrame, rows: slice, outcome: str, *, sent: bool = True) -> pd.DataFrame:
    lost = ["done_s", "latency_ms", "service_ms"] + ([] if sent else ["sent_s"])
    frame.loc[frame.index[rows], "outcome"] = outcome
    frame.loc[frame.index[rows], lost] = np.nan
    return frame


def measured(frame: pd.DataFrame, played: Scenario) -> PhaseReport:
    return statistics.reports(stored(frame), played)[1]


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
    ("count", "latency_ms", "late", "late_ms", "doubt"),
    [
        # by the highest percentile that so many samples support
        (661, 5.0, 33, 0.9, ""),
        (661, 5.0, 34, 0.9, "left 0.90 ms late (P95; the limit is 0.5 ms)"),
        (662, 5.0, 6, 0.9, ""),
        (662, 5.0, 7, 0.9, "left 0.90 ms late (P99; the limit is 0.5 ms)"),
        (661, 5.0, 6, 1.1, ""),
        (661, 5.0, 7, 1.1, "left 1.10 ms late (P99; the limit is 1 ms)"),
        # by a share of the latency, within bounds
        (1000, 2.0, 11, 0.46, ""),
        (1000, 2.0, 11, 0.54, "left 0.54 ms late (P99; the limit is 0.5 ms)"),
        (1000, 16.0, 11, 0.76, ""),
        (1000, 16.0, 11, 0.84, "left 0.84 ms late (P99; the limit is 0.8 ms)"),
        (1000, 90.0, 11, 0.96, ""),
        (1000, 90.0, 11, 1.04, "left 1.04 ms late (P99; the limit is 1 ms)"),
        # always a little late
        (1000, 7.0, 1000, 0.3, ""),
        (1000, 5.0, 1000, 0.3, "left 0.30 ms late (P50; the limit is 0.25 ms)"),
    ],
)
def test_a_client_that_is_late_for_what_it_measures_is_invalid(
    count: int, latency_ms: float, late: int, late_ms: float, doubt: str
) -> None:
    played = scenario({"name": "a", "arrivals": "constant", "rate": count, "duration_s": 1})
    errors_ms = np.repeat([late_ms, 0.0], [late, count - late])
    invalid = measured(table(played, latency_ms, errors_ms), played).invalid
    expected = (f"requests {doubt}: the client was the bottleneck",) if doubt else ()
    assert invalid == expected


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
    if not overloaded:  # nor is a slow but steady server, but rejections are
        assert not measured(table(played, 900.0), played).overloaded
        assert measured(fail(table(played), slice(500, 600), "http-503"), played).overloaded


def test_nothing_sent_is_invalid_not_a_crash() -> None:
    played = scenario(STEADY)
    report = measured(table(played).iloc[:0], played)
    assert report.latency == {} and report.mean_ms is None and report.error_rate_pct == 100
    assert report.invalid == ("only 0.0 % of its arrivals were sent",)
    assert report.send_error_p99_ms == 0
    closed = scenario({"arrivals": "closed", "concurrency": 2, "duration_s": 10})
    assert measured(table(played).iloc[:0], closed).invalid == ("nothing was sent",)
    report = measured(table(played), closed)
    assert report.requested_rps is None and not report.overloaded
    assert report.requests == 1000 and report.invalid == ()


@pytest.mark.parametrize(("slope", "differs"), [(0.0, False), (0.6, True)])
def test_a_drift_is_found_where_there_is_one(slope: float, differs: bool) -> None:
    played = scenario({**STEADY, "duration_s": 120})
    minutes = schedule(played).times_s / 60
    noise = np.random.default_rng(1).exponential(0.5, len(minutes))
    drift = statistics.drift(stored(table(played, 5 + slope * minutes + noise)))
    assert drift is not None and drift.low <= slope <= drift.high
    assert (drift.low > 0 or drift.high < 0) is differs
    assert statistics.drift(stored(table(scenario(STEADY)))) is None


def test_what_is_doubtful_is_said_of_its_phase_alone() -> None:
    played = scenario({**STEADY, "name": "good"}, {**STEADY, "name": "late"})
    late_ms = np.repeat([0.1, 30.0], 1000)
    waits_ms = np.concatenate([np.full(1000, 50.0), np.linspace(50, 5000, 1000)])
    phases, whole = statistics.reports(stored(table(played, waits_ms, late_ms)), played)
    assert [phase.overloaded for phase in phases] == [False, True]
    assert [bool(phase.invalid) for phase in phases] == [False, True]
    assert whole.overloaded
    assert whole.invalid == tuple(f"phase late: {reason}" for reason in phases[1].invalid)


def test_a_long_table_of_several_workers_is_assembled_in_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "ROWS_AT_ONCE", 5)
    played = scenario(STEADY, workers=2)
    for worker in range(2):
        store = Recorder(parts_folder(tmp_path, played.name), worker)
        for number in range(worker, 20, 2):
            store.add(Request(0, number / 10, 0, number / 10), "timeout", 0)
            store.write(store.take())
    statistics.assemble(tmp_path, played)
    path = statistics.table_path(tmp_path, played.name)
    assert pq.ParquetFile(path).num_row_groups == 4
    assert sorted(pd.read_parquet(path)["intended_s"]) == [number / 10 for number in range(20)]
    seconds = pd.read_csv(statistics.seconds_path(tmp_path, played.name))
    assert list(seconds["errors"]) == [10, 10]
