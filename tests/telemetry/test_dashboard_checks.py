"""Committed dashboards are what the code writes, and a real Prometheus answers their queries."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import NamedTuple

import pytest

from helpers.profile import Profile
from helpers.run import Run
from helpers.serving import models, triton
from helpers.telemetry import catalogue, dashboard_checks, dashboards, prometheus, rules
from helpers.telemetry.access import Access
from helpers.telemetry.catalogue import NO_GPU
from helpers.telemetry.dashboards import Limit
from helpers.telemetry.monitoring import DASHBOARDS
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


VALUES = DASHBOARDS.parent / "values"
CONTENTS = {path.stem: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}


@pytest.mark.parametrize("name", CONTENTS)
def test_every_dashboard_has_variables_the_runs_events_and_described_panels(name: str) -> None:
    content = CONTENTS[name]
    variables = {variable["name"]: variable for variable in content["templating"]["list"]}
    assert set(variables) == {"datasource", "model", "namespace", "pod"}
    for variable in catalogue.VARIABLES:
        assert variables[variable]["includeAll"] and variables[variable]["allValue"] == ".*"
    (events,) = content["annotations"]["list"]
    assert events["target"]["tags"] == ["gpu-e2e"]
    for number, panel in enumerate(content["panels"], 1):
        assert panel["id"] == number and panel["title"] and len(panel["description"]) > 20
        assert panel["targets"] and all(target["expr"] for target in panel["targets"])


def test_each_query_is_once_in_the_catalogue_and_is_shown() -> None:
    known = {series.grafana_query for series in catalogue.SERIES.values()}
    shown = {target["expr"] for content in CONTENTS.values() for panel in content["panels"]
             for target in panel["targets"]}  # fmt: skip
    assert shown == known
    assert len(known) == len(catalogue.SERIES)


def test_the_exporter_in_the_cluster_exports_every_metric_that_is_asked_for() -> None:
    asked = {name for series in catalogue.SERIES.values()
             for name in re.findall(r"DCGM_\w+", series.promql)}  # fmt: skip
    exported = re.findall(r"^  (DCGM_\w+),", (VALUES / "dcgm-exporter.yaml").read_text(), re.M)
    assert asked and asked <= set(exported)


def test_limits_are_the_targets_of_the_profile() -> None:
    kpis = Profile.load_named("aws").kpis.model_copy(update={"p95_ms": 123.0, "cost_usd": 9.0})
    built = dashboards.build(kpis)
    limits = {panel.title: panel.limit for board in built for panel in board.panels}
    assert limits["P95 latency in Triton"] == Limit(123.0)
    assert limits["Spent so far"] == Limit(9.0)
    assert limits["GPU utilisation"] == Limit(kpis.gpu_utilisation_pct, at_least=True)
    assert limits["GPU temperature"] == Limit(rules.limits()["gpu_temperature_celsius"])
    steps = CONTENTS["latency"]["panels"][1]["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [step["value"] for step in steps] == [None, Profile.load_named("aws").kpis.p95_ms]
    assert [step["color"] for step in steps] == ["green", "red"]
