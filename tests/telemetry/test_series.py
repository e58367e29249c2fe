"""A load is read back from a real Prometheus with the rates that its samples have."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from helpers.errors import Problem
from helpers.run import Run
from helpers.telemetry import catalogue, series
from helpers.telemetry.prometheus_api import Prometheus
from helpers.telemetry.records import Telemetry

from . import history
from .history import IDLE, INTERVAL_S, TRUTH, History

MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def fired(past: History, new_run: Callable[[str], Run]) -> Run:
    """A load of two scenarios with a pause between them, in which the GPU is idle."""
    run = new_run(f"telemetry.scrape_interval_s={INTERVAL_S}")
    start, end = IDLE
    for scenario, begin in (
        ("smoke", start - 60 * MINUTE),  # an earlier firing of the same scenario
        ("smoke", start - MINUTE),
        ("spike", end),
    ):
        run.event("load-start", "05", scenario=scenario, at=begin.isoformat())
        stop = (begin + MINUTE).isoformat()
        run.event("load-stop", "05", scenario=scenario, outcome="finished", at=stop)
    run.event("load-start", "05", scenario="soak")  # killed before it stopped
    with (run.folder / "events.jsonl").open("a") as log:
        log.write('{"at": "2026-11-23T08:')
    return run


@pytest.fixture(scope="module")
def telemetry(fired: Run, past: History) -> Telemetry:
    return series.collect(fired, past.server)


def test_known_rates_come_back(fired: Run, telemetry: Telemetry) -> None:
    table = fired.load_table(series.TABLE)
    assert list(table.columns) == series.COLUMNS
    busy = table[table["label"].eq("m")].groupby("series")["value"]
    assert busy.median().to_dict() == pytest.approx(TRUTH, rel=1e-3)
    # a model without requests has a rate, and no time per request
    idle = table[table["label"].eq("idle")]
    assert set(idle["series"]) == {"requests", "failures", "inferences"}
    assert idle["value"].eq(0).all()
    parts = table[table["series"].eq("cpu_by_role")].groupby("label")["value"].mean()
    assert parts.to_dict() == pytest.approx({"client": 0.5})


def test_the_window_is_the_last_firing_with_a_margin(fired: Run, telemetry: Telemetry) -> None:
    start, end = map(datetime.fromisoformat, (telemetry.start, telemetry.end))
    assert start == IDLE[0] - MINUTE - series.MARGIN
    assert end == IDLE[1] + MINUTE + series.MARGIN
    times = fired.load_table(series.TABLE).query("series == 'pending'")["time"]
    assert start <= times.min() and times.max() <= end
    assert times.diff().dropna().dt.total_seconds().eq(INTERVAL_S).all()


def test_utilisation_is_that_under_load_without_the_pause(telemetry: Telemetry) -> None:
    assert telemetry.gpu_utilisation_pct == pytest.approx(70)
    assert telemetry.cpu_utilisation_pct == pytest.approx(75)
    assert telemetry.gpu_absent == ""


def test_an_absent_series_says_why(fired: Run, telemetry: Telemetry) -> None:
    facts = {series.name: series for series in telemetry.series}
    assert list(facts) == [series.name for series in catalogue.LOAD_SERIES]
    assert fired.load(Telemetry) == telemetry
    assert facts["gpu_memory"].absent == history.NO_GPU
    for name, fact in facts.items():
        assert bool(fact.samples) is not bool(fact.absent), name
    shown = series.frame(telemetry).set_index("Series")
    assert shown.loc["GPU memory used", "Absent because"] == history.NO_GPU
    assert shown.loc["GPU utilisation", "Mean under load"] == "70.0"


@pytest.mark.parametrize(("namespace", "is_answered"), [("triton", True), ("nowhere", False)])
def test_the_dashboards_variables_select(past: History, namespace: str, is_answered: bool) -> None:
    # of load and GPU, and of both joined by pod
    for name in ("gpu_utilisation", "latency_p95", "requests_per_gpu"):
        wanted = catalogue.SERIES[name]
        chosen = replace(wanted, promql=wanted.promql.replace("$namespace", namespace))
        window = series.Window(IDLE[0], IDLE[1], INTERVAL_S)
        assert series.read(past.server, window, [chosen]).empty is not is_answered


def test_every_query_of_the_catalogue_is_shown_as_it_is_asked(telemetry: Telemetry) -> None:
    shown = series.catalogue_frame()["PromQL"]
    assert shown.str.contains("[5s]", regex=False).sum() == 8
    asked = [facts.query for facts in telemetry.series]
    assert list(shown.str.replace("[5s]", f"[{5 * INTERVAL_S}s]", regex=False)) == asked
    assert not shown.str.contains("WINDOW").any()


def test_a_window_does_not_reach_into_the_future(run: Run) -> None:
    for kind in ("load-start", "load-stop"):
        run.event(kind, "05", scenario="smoke")
    stopped = datetime.fromisoformat(run.events("load-stop")[-1]["at"])
    assert stopped <= series.load_window(run).end < stopped + series.MARGIN


def test_without_a_finished_load_there_is_nothing_to_collect(run: Run) -> None:
    run.event("load-start", stage="05", scenario="smoke")
    run.event("load-stop", stage="05", scenario="soak")
    run.event("load-stop", stage="05", scenario="smoke", outcome="interrupted")
    with pytest.raises(Problem, match=r"no finished load\. Run the load of stage 05 first"):
        series.collect(run, Prometheus("http://127.0.0.1:9"))


def test_a_load_that_prometheus_did_not_see_is_absent_and_said(past: History, run: Run) -> None:
    for at, kind in (("00:00", "load-start"), ("01:00", "load-stop")):
        run.event(kind, "05", scenario="smoke", at=f"2020-01-01T00:{at}Z")
    telemetry = series.collect(run, past.server)
    assert telemetry.cpu_utilisation_pct is telemetry.gpu_utilisation_pct is None
    assert telemetry.gpu_absent == "no sampler reports on GPUs"
    assert all(facts.samples == 0 and facts.absent for facts in telemetry.series)
    assert list(run.load_table(series.TABLE).columns) == series.COLUMNS
