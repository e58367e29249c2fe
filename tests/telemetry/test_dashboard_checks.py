"""A real Prometheus that scrapes the real Triton answers every query, or has no data for it."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import NamedTuple

import pytest

from helpers.run import Run
from helpers.serving import models, triton
from helpers.telemetry import dashboard_checks, dashboards, prometheus
from helpers.telemetry.access import Access
from helpers.telemetry.catalogue import NO_GPU
from helpers.telemetry.prometheus_api import Prometheus
from helpers.telemetry.records import CHECKED, Dashboards
from helpers.telemetry.series import Window

from .history import END, INTERVAL_S, History


class Checked(NamedTuple):
    """A run of which every dashboard was checked."""

    run: Run
    server: Prometheus
    record: Dashboards


@pytest.fixture(scope="module")
def checked(new_run: Callable[[str], Run]) -> Iterator[Checked]:
    run = new_run("telemetry.scrape_interval_s=0.5")
    models.prepare(run)
    endpoint = triton.serve(run)
    server = prometheus.serve(run, endpoint)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dashboard_checks, "LOAD_S", 4.0)
        # as on a machine without a GPU
        patch.setattr(dashboard_checks, "gpu_absence", lambda _: "no GPU")
        yield Checked(run, server, dashboard_checks.check(run, endpoint, Access(server)))


def test_every_query_has_an_answer_or_is_only_checked(checked: Checked) -> None:
    record, boards = checked.record, {board.name: board for board in checked.record.boards}
    assert record.all_answered and checked.run.load(Dashboards) == record
    assert boards["latency"].absent == boards["throughput"].absent == {}
    assert boards["gpu"].answered == 0 and len(boards["gpu"].absent) == boards["gpu"].queries == 9
    assert set(boards["gpu"].absent.values()) == {f"{CHECKED}: {NO_GPU}"}
    assert boards["cost"].answered == 2  # of GPU hours and nodes; there is no plan
    assert NO_GPU in record.summary
    assert boards["latency"].values >= 2 * boards["latency"].queries
    shown = dashboard_checks.frame(record).set_index("Dashboard")["Without a value"]
    assert CHECKED in shown["gpu-e2e · GPU"] and shown["gpu-e2e · Latency"] == ""
    counted = checked.server.query("sum(nv_inference_request_success)")
    assert record.requests > 20
    assert counted["value"].iloc[0] == pytest.approx(record.requests, rel=0.3)


def test_a_dashboard_is_a_picture_if_it_has_data(checked: Checked) -> None:
    folder = checked.run.folder / dashboard_checks.PICTURES
    drawn = {path.stem for path in folder.glob("*.png")}
    assert drawn == {"overview", "latency", "throughput", "cost"}


def test_a_query_without_an_answer_fails_where_it_must_have_one(
    run: Run, past: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = dashboards.build
    monkeypatch.setattr(dashboards, "build", lambda kpis: build(kpis)[3:4])  # of the GPU
    window = Window(END - timedelta(minutes=1), END, INTERVAL_S)
    record = dashboard_checks.evaluate(run, past.server, window, set(), 0)
    assert record.boards[0].absent["GPU power (A)"] == NO_GPU
    assert "GPU utilisation (A)" not in record.boards[0].absent
    assert not record.all_answered
