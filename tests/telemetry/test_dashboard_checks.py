"""Every query of every dashboard is answered by a real Prometheus that scrapes the real Triton."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pandas as pd
import pytest

from helpers import processes
from helpers.run import Run
from helpers.serving import models, triton
from helpers.telemetry import catalogue, dashboard_checks, dashboards, series
from helpers.telemetry.catalogue import SERIES, Series
from helpers.telemetry.prometheus_api import Prometheus
from helpers.telemetry.records import Dashboards
from helpers.telemetry.series import Window
from helpers.telemetry.snapshots import DashboardData


@dataclass(frozen=True)
class Busy:
    """A real Triton that answered requests, and the Prometheus that scraped it."""

    run: Run
    server: Prometheus
    window: Window
    requests: int

    def read(self, wanted: Series) -> pd.DataFrame:
        return series.read(self.server, self.window, [wanted])


@pytest.fixture(scope="module")
def busy(new_run: Callable[[str], Run]) -> Iterator[Busy]:
    run = new_run("telemetry.scrape_interval_s=0.5")
    models.prepare(run)
    endpoint = triton.serve(run)
    with (
        dashboard_checks.second_prometheus(run, endpoint) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(dashboard_checks, "LOAD_S", 4.0)
        yield Busy(run, server, *dashboard_checks.load_window(run, endpoint))


@pytest.fixture(scope="module")
def checked(busy: Busy) -> Dashboards:
    return dashboard_checks.evaluate(
        busy.run, busy.server, busy.window, note=dashboard_checks.NOT_MEASURED,
        requests=busy.requests,
    )  # fmt: skip


def test_every_query_of_every_dashboard_is_answered(busy: Busy, checked: Dashboards) -> None:
    names = [board.name for board in dashboards.build(busy.run.profile.kpis)]
    assert {board.name: board.absent for board in checked.boards} == {name: {} for name in names}
    assert checked.all_answered
    assert all(board.values >= 2 * board.queries for board in checked.boards)
    assert busy.run.load(Dashboards) == checked
    assert set(dashboard_checks.frame(checked)["Without a value"]) == {""}
    counted = busy.server.query("sum(nv_inference_request_success)", busy.window.end)
    assert checked.requests == busy.requests > 20
    assert counted["value"].iloc[0] == pytest.approx(busy.requests, rel=0.3)


def test_each_dashboard_is_a_picture_that_says_what_was_not_measured(
    busy: Busy, checked: Dashboards
) -> None:
    folder = busy.run.folder / dashboard_checks.PICTURES
    for board in checked.boards:
        assert (folder / f"{board.name}.png").read_bytes().startswith(b"\x89PNG")
        for ending in ("svg", "txt"):
            text = (folder / f"{board.name}.{ending}").read_text()
            assert dashboard_checks.NOT_MEASURED in text


def test_a_query_without_an_answer_is_reported(busy: Busy) -> None:
    wanted = SERIES["gpu_temperature"]
    broken = replace(wanted, promql=wanted.promql.replace("GPU_TEMP", "TEMP"))
    values = pd.concat([busy.read(broken), busy.read(SERIES["gpu_power"])])
    board = next(b for b in dashboards.build(busy.run.profile.kpis) if b.name == "gpu")
    absent = DashboardData(board, busy.window, values).absent()
    assert absent["GPU temperature (A)"] == catalogue.NO_GPU
    assert "GPU power (A)" not in absent


@pytest.mark.parametrize(("namespace", "answered"), [("triton", True), ("nowhere", False)])
def test_the_variables_select(busy: Busy, namespace: str, answered: bool) -> None:
    # of load and GPU, and of both joined by pod
    for name in ("gpu_utilisation", "latency_p50", "requests_per_gpu"):
        wanted = SERIES[name]
        chosen = replace(wanted, promql=wanted.promql.replace("$namespace", namespace))
        assert (not busy.read(chosen).empty) is answered


def test_sample_data_never_reaches_the_prometheus_that_measures(busy: Busy) -> None:
    assert processes.find(busy.run, "prometheus") is None
    assert processes.find(busy.run, dashboard_checks.SERVICE) is not None
    # and the second one drops the GPU series of this machine, should it have a GPU
    jobs = set(busy.server.query("gpu_e2e_gpu_info")["job"])
    assert jobs == {dashboard_checks.EXPORTER}
    assert dashboard_checks.SAMPLE_DATA.read_text().startswith("# Documented exposition, not")
