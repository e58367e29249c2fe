"""A load is read back from the real Prometheus with the rates that were really there."""

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import psutil
import pytest

from helpers.errors import Problem
from helpers.run import Run
from helpers.telemetry import catalogue, series
from helpers.telemetry.prometheus_api import Prometheus
from helpers.telemetry.records import Telemetry

from .imitation import GPU_BUSY, GPU_IDLE, TRUTH, Watched


class Fired(NamedTuple):
    """A fabricated load of two scenarios with a gap, and what this test itself measured."""

    telemetry: Telemetry
    first_start: datetime
    last_stop: datetime
    collected: datetime
    cpu_pct: float


@pytest.fixture(scope="module")
def fired(watched: Watched) -> Fired:
    run, gpu = watched.run, watched.triton
    long_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    for kind in ("load-start", "load-stop"):  # an earlier firing of the same scenario
        run.event(kind, stage="05", scenario="smoke", at=long_ago)
    used = total = 0.0
    for scenario in ("smoke", "spike"):
        gpu.gpu = GPU_BUSY
        before = seconds_used()
        run.event("load-start", stage="05", scenario=scenario)
        burn(3.0)
        run.event("load-stop", stage="05", scenario=scenario, outcome="finished")
        after = seconds_used()
        used, total = used + after[0] - before[0], total + after[1] - before[1]
        time.sleep(0.5)  # a scrape that began under load may still be reading
        gpu.gpu = GPU_IDLE
        time.sleep(1)
    run.event("load-start", stage="05", scenario="soak")  # killed before it stopped
    with (run.folder / "events.jsonl").open("a") as log:
        log.write('{"at": "2026-11-23T08:')
    telemetry = series.collect(run, watched.server)
    starts, stops = run.events("load-start"), run.events("load-stop")
    return Fired(
        telemetry,
        datetime.fromisoformat(starts[1]["at"]),
        datetime.fromisoformat(stops[-1]["at"]),
        datetime.now(UTC),
        100 * used / total,
    )


def burn(seconds: float) -> None:
    """Keep one core busy."""
    code = "import sys, time\nwhile time.monotonic() < float(sys.argv[1]): pass"
    until = time.monotonic() + seconds
    subprocess.run([sys.executable, "-c", code, str(until)], check=True, timeout=60)


def seconds_used() -> tuple[float, float]:
    """CPU seconds of this machine so far: busy ones, and all."""
    times = psutil.cpu_times()._asdict()
    total = sum(spent for mode, spent in times.items() if not mode.startswith("guest"))
    return total - times["idle"] - times.get("iowait", 0.0), total


def test_known_rates_come_back(watched: Watched, fired: Fired) -> None:
    table = watched.run.load_table(series.TABLE)
    assert list(table.columns) == ["time", "series", "label", "value"]
    busy = table[table["label"].eq("busy")].groupby("series")["value"]
    assert busy.median().to_dict() == pytest.approx(TRUTH, rel=0.05)
    assert busy.size().min() >= 15


def test_a_model_without_requests_has_a_rate_and_no_time_per_request(
    watched: Watched, fired: Fired
) -> None:
    table = watched.run.load_table(series.TABLE)
    idle = table[table["label"].eq("idle")]
    assert set(idle["series"]) == {"requests", "failures", "inferences"}
    assert idle["value"].eq(0).all()


def test_the_window_is_the_last_firing_with_a_margin(watched: Watched, fired: Fired) -> None:
    start = datetime.fromisoformat(fired.telemetry.start)
    end = datetime.fromisoformat(fired.telemetry.end)
    assert start == fired.first_start - series.MARGIN
    # five seconds after the load were not over yet: nothing is read of the future
    assert fired.last_stop < end <= fired.collected < fired.last_stop + series.MARGIN
    times = watched.run.load_table(series.TABLE)["time"]
    assert start <= times.min() and times.max() <= end
    # half a second is the scrape interval; a scrape on a busy machine may fail
    per_line = watched.run.load_table(series.TABLE).query("series == 'pending'")["time"]
    gaps = per_line.diff().dropna().dt.total_seconds()
    assert (gaps % 0.5).eq(0).all() and gaps.median() == 0.5


def test_utilisation_is_that_under_load_without_the_gaps(fired: Fired) -> None:
    telemetry = fired.telemetry
    assert telemetry.gpu_utilisation_pct == pytest.approx(GPU_BUSY)
    assert telemetry.gpu_absent == ""
    assert telemetry.cpu_utilisation_pct == pytest.approx(fired.cpu_pct, abs=10)


def test_parts_of_the_run_use_cpu_and_memory_is_plausible(watched: Watched, fired: Fired) -> None:
    table = watched.run.load_table(series.TABLE)
    parts = table[table["series"].eq("cpu_by_role")].groupby("label")["value"].mean()
    assert set(parts.index) == {"prometheus", "sampler"}
    assert parts.between(0, psutil.cpu_count() or 1).all() and parts.max() > 0
    memory = table.loc[table["series"].eq("memory_used"), "value"]
    assert memory.between(0.05, psutil.virtual_memory().total / 2**30).all()


def test_an_absent_series_says_why(watched: Watched, fired: Fired) -> None:
    facts = {series.name: series for series in fired.telemetry.series}
    assert list(facts) == [series.name for series in catalogue.LOAD_SERIES]
    assert watched.run.load(Telemetry) == fired.telemetry
    assert facts["gpu_memory"].samples == 0
    assert facts["gpu_memory"].absent.startswith("no NVIDIA GPU on this machine (")
    assert {name for name, series in facts.items() if series.absent} == {"gpu_memory"}
    assert {name for name, series in facts.items() if not series.samples} == {"gpu_memory"}
    shown = series.frame(fired.telemetry).set_index("Series")
    assert shown.loc["GPU memory used", "Absent because"] == facts["gpu_memory"].absent
    assert shown.loc["GPU utilisation", "Mean under load"] == "80.0"


def test_every_query_of_the_catalogue_is_shown_as_it_is_asked(fired: Fired) -> None:
    shown = series.catalogue_frame()["PromQL"]
    assert shown.str.contains("[5s]", regex=False).sum() == 8
    asked = [facts.query for facts in fired.telemetry.series]  # every half second
    assert list(shown.str.replace("[5s]", "[2500ms]", regex=False)) == asked
    assert not shown.str.contains("WINDOW").any()


def test_without_a_finished_load_there_is_nothing_to_collect(run: Run) -> None:
    run.event("load-start", stage="05", scenario="smoke")
    run.event("load-stop", stage="05", scenario="soak")
    run.event("load-stop", stage="05", scenario="smoke", outcome="interrupted")
    with pytest.raises(Problem, match=r"no finished load\. Run the load of stage 05 first"):
        series.collect(run, Prometheus("http://127.0.0.1:9"))


def test_a_load_that_prometheus_did_not_see_is_absent_and_said(watched: Watched, run: Run) -> None:
    for at, kind in (("00:00", "load-start"), ("01:00", "load-stop")):
        run.event(kind, "05", scenario="smoke", at=f"2020-01-01T00:{at}Z")
    telemetry = series.collect(run, watched.server)
    assert telemetry.cpu_utilisation_pct is telemetry.gpu_utilisation_pct is None
    assert telemetry.gpu_absent == "no sampler reports on GPUs"
    assert all(facts.samples == 0 and facts.absent for facts in telemetry.series)
    assert list(run.load_table(series.TABLE).columns) == series.COLUMNS
