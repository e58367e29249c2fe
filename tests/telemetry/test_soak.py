"""Loads are read back from a real Prometheus, kept and drawn; what happened becomes an event."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pandas as pd
import pytest
from kubernetes import client

from helpers.errors import Problem
from helpers.evidence import html_export
from helpers.run import Run
from helpers.telemetry import catalogue, dashboards, events, grafana, series, snapshots
from helpers.telemetry.access import Access
from helpers.telemetry.annotations import run_annotations
from helpers.telemetry.grafana import Grafana
from helpers.telemetry.prometheus_api import Prometheus
from helpers.telemetry.records import EventSources, Snapshots, Telemetry

from . import history
from .grafana_server import TOKEN, GrafanaServer
from .history import ALERT, END, IDLE, INTERVAL_S, START, THROTTLED, History

MIB = 2**20


@pytest.fixture(scope="module")
def soaked(past: History, new_run: Callable[[str], Run]) -> Run:
    """A run whose load filled the six hours; everybody who could be asked has been."""
    run = new_run(f"telemetry.scrape_interval_s={history.INTERVAL_S}")
    run.event("load-start", "05", scenario="soak", at=START.isoformat())
    run.event("phase-start", "05", scenario="soak", phase="steady", at=START.isoformat())
    for kind in ("phase-stop", "load-stop"):
        details = {"phase": "steady"} if kind == "phase-stop" else {"outcome": "finished"}
        run.event(kind, "05", scenario="soak", at=END.isoformat(), **details)
    requests = pd.DataFrame({"intended_s": [i / 10 for i in range(3000)], "outcome": "ok"})
    requests.loc[requests["intended_s"].between(60, 62, inclusive="left"), "outcome"] = "timeout"
    requests.loc[[5, 2000], "outcome"] = "refused"  # one failure is no burst
    run.save_table("requests-soak", requests)
    events.gather(run, past.window, Access(past.server))
    return run


@pytest.fixture(scope="module")
def telemetry(past: History, soaked: Run) -> Telemetry:
    return series.collect(soaked, past.server)


@pytest.fixture(scope="module")
def taken(soaked: Run, telemetry: Telemetry) -> Snapshots:
    build = dashboards.build
    with pytest.MonkeyPatch.context() as patch:  # each takes seconds to draw
        patch.setattr(dashboards, "build", lambda kpis: build(kpis)[2::-2])
        return snapshots.take(soaked, telemetry)


def test_every_series_of_six_hours_fits_in_memory_and_keeps_its_rate(
    past: History, soaked: Run, telemetry: Telemetry
) -> None:
    scrapes = past.server.query("count_over_time(nv_inference_count[6h])", END)["value"].iloc[0]
    assert scrapes > series.MOST_POINTS
    table = soaked.load_table(series.TABLE)
    lines = table.groupby(["series", "label"]).size()
    assert lines.max() == pytest.approx(series.MOST_POINTS, abs=3)
    assert table.memory_usage(deep=True).sum() < 30 * MIB
    rates = table[table["label"].eq("m")].groupby("series")["value"].median()
    assert rates.to_dict() == pytest.approx(history.TRUTH, rel=1e-3)
    assert telemetry.gpu_utilisation_pct == pytest.approx(70, abs=0.5)


def test_a_snapshot_page_opens_without_anything_else(soaked: Run, taken: Snapshots) -> None:
    assert taken.has_data and len(taken.boards) == 2
    assert soaked.load(Snapshots) == taken
    for board in taken.boards:
        page = (soaked.folder / board.page).read_text()
        assert html_export.external_requests(page) == []
        assert "REHEARSAL" in page and "data:image/png;base64," in page


def test_the_values_stand_inside_the_page_and_inside_grafanas_snapshot(
    past: History, soaked: Run, taken: Snapshots
) -> None:
    text = (soaked.folder / "snapshots" / "throughput.html").read_text()
    raw = text.partition('id="data">')[2].partition("</script>")[0]
    requests = json.loads(raw)["Requests answered"]
    assert list(requests) == ["m"]  # no request was for the model "idle"
    times, values = requests["m"]
    assert values[len(values) // 2] == pytest.approx(100)
    content = json.loads((soaked.folder / "snapshots" / "throughput.grafana.json").read_text())
    panel = next(panel for panel in content["panels"] if panel["title"] == "Requests answered")
    (frame,) = panel["snapshotData"]
    assert [field["values"] for field in frame["fields"]] == [times, values]
    assert panel["targets"] == [] and content["templating"]["list"] == []
    assert min(times) >= round(START.timestamp() * 1000)


def test_grafana_takes_the_snapshots_and_the_events(
    soaked: Run, taken: Snapshots, server: GrafanaServer
) -> None:
    client = Grafana(server.url, TOKEN)
    kept = grafana.publish_snapshots(soaked, taken, client)
    assert {board.url for board in kept.boards} == {
        f"{server.url}/dashboard/snapshot/{key}" for key in server.snapshots
    }
    assert "2 in Grafana" in kept.summary
    tick = grafana.publish_annotations(soaked, client)
    assert str(tick.status) == "RAN"
    kinds = {tag for stored in server.annotations.values() for tag in stored["tags"]}
    assert {"load-start", "load-stop", "alert", "throttling", "error-burst"} <= kinds
    run_again = grafana.publish_annotations(soaked, None)
    assert str(run_again.status) == "NOT RUN" and "no Grafana" in run_again.note


def test_without_prometheus_series_and_snapshots_say_so(run: Run) -> None:
    for kind in ("load-start", "load-stop"):
        run.event(kind, "05", scenario="soak")
    telemetry = series.collect(run, None)
    assert {facts.absent for facts in telemetry.series} == {series.NO_PROMETHEUS}
    assert telemetry.cpu_utilisation_pct is None and telemetry.gpu_absent == series.NO_PROMETHEUS
    assert run.load_table(series.TABLE).empty
    nothing = snapshots.take(run, telemetry)
    assert nothing.absent == series.NO_PROMETHEUS and not nothing.has_data


def test_alerts_throttling_and_errors_become_events_with_their_source(soaked: Run) -> None:
    (alert,) = soaked.events("alert")
    assert (alert["source"], alert["subject"]) == ("Prometheus", "GpuHot 0")
    assert datetime.fromisoformat(alert["at"]) == ALERT[0]
    assert abs(datetime.fromisoformat(alert["until"]) - ALERT[1]) < timedelta(seconds=20)
    held = [datetime.fromisoformat(event["at"]) for event in soaked.events("throttling")]
    assert held == [start for start, _ in THROTTLED]
    (burst,) = soaked.events("error-burst")
    assert (burst["source"], burst["text"]) == ("load engine", "20 requests failed")
    assert datetime.fromisoformat(burst["at"]) == START + timedelta(seconds=60)
    assert datetime.fromisoformat(burst["until"]) == START + timedelta(seconds=62)


def test_gathering_twice_adds_nothing_twice(past: History, soaked: Run) -> None:
    before = len(soaked.events())
    sources = events.gather(soaked, past.window, Access(past.server))
    assert len(soaked.events()) == before
    assert soaked.load(EventSources) == sources
    absent = {source.name: source.absent for source in sources.sources if source.absent}
    assert absent == {
        "Kubernetes": events.NO_CLUSTER, "Auto Scaling group": events.NO_GROUP,
    }  # fmt: skip
    assert list(events.frame(sources)["New events"]) == [0, 0, 0, "–", "–"]
    # a source that does not answer does not stop the others
    sources = events.gather(soaked, past.window, Access(Prometheus("http://127.0.0.1:9")))
    absent = {source.name: source.absent for source in sources.sources}
    assert absent["load engine"] == ""
    assert "cannot be reached" in absent["Prometheus alerts"]


def test_events_are_lines_in_every_picture(soaked: Run, past: History, taken: Snapshots) -> None:
    shown = run_annotations(soaked, past.window.start, past.window.end)
    assert taken.events == len(shown) == 7
    assert [event.kind for event in shown][:2] == ["load-start", "phase-start"]
    for board in taken.boards:
        svg = (soaked.folder / board.picture).with_suffix(".svg").read_text()
        assert "Load Test Start soak" in svg and "alert GpuHot 0" in svg
        assert (soaked.folder / board.page).read_text().count("Load Test Stop soak") == 1


def as_read(raw: dict[str, Any], kind: str) -> Any:
    """An object as the official client reads it from the API's JSON."""
    return client.ApiClient().deserialize(json.dumps(raw), kind, "application/json")


@pytest.mark.parametrize(
    ("reason", "message", "kind"),
    [
        ("ScalingReplicaSet", "Scaled down replica set triton-7 to 1 from 2", "scale-down"),
        ("SuccessfulRescale", "New size: 2; reason: external metric above target", "scale-up"),
        ("SuccessfulRescale", "New size: 1; reason: All metrics below target", "scale-down"),
        ("RegisteredNode", "Node ip-x event: Registered Node ip-x in Controller", "node-added"),
        ("RemovingNode", "Node ip-x event: Removing Node ip-x from Controller", "node-removed"),
        ("SpotInterruption", "Spot ITN received: instance will end", "spot-interruption"),
        ("BackOff", "Back-off restarting failed container triton in pod x", "pod-restart"),
        ("Killing", "Container triton failed liveness probe, will be restarted", "pod-restart"),
        ("Killing", "Stopping container triton", ""),
    ],
)
def test_kubernetes_events_have_a_kind_of_the_run(reason: str, message: str, kind: str) -> None:
    raw = {
        "metadata": {"name": "e", "namespace": "triton"},
        "involvedObject": {"kind": "Pod", "name": "x"},
        "reason": reason, "message": message, "lastTimestamp": START.isoformat(),
    }  # fmt: skip
    event = as_read(raw, "CoreV1Event")
    observed = list(events.kubernetes_events([event], START))
    assert [(event.kind, event.source, event.at) for event in observed] == (
        [(kind, "Kubernetes", START)] if kind else []
    )
    assert list(events.kubernetes_events([event], END)) == []  # from before the load


def test_a_crash_that_left_no_event_is_seen_in_the_pods_status() -> None:
    ended = {"exitCode": 137, "reason": "OOMKilled", "finishedAt": START.isoformat()}
    status = {
        "name": "triton", "restartCount": 1, "ready": True, "image": "x", "imageID": "x",
        "lastState": {"terminated": ended},
    }  # fmt: skip
    raw = {"metadata": {"name": "triton-0"}, "status": {"containerStatuses": [status]}}
    pod = as_read(raw, "V1Pod")
    (restart,) = events.restart_events([pod], START)
    assert (restart.kind, restart.subject) == ("pod-restart", "Pod triton-0")
    assert "OOMKilled, exit status 137" in restart.text
    assert list(events.restart_events([pod], END)) == []


def test_activities_of_the_group_are_nodes_and_spot_notices() -> None:
    base = {"AutoScalingGroupName": "gpu", "StatusCode": "Successful", "StartTime": START}
    described = [
        ("Launching a new EC2 instance: i-1", "a user request"),
        ("Terminating EC2 instance: i-1", "an instance was taken out of service in response to "
         "an EC2 Spot Instance interruption notice"),
        ("Terminating EC2 instance: i-2", "a user request"),
    ]  # fmt: skip
    activities = [
        {**base, "ActivityId": str(n), "Description": what, "Cause": f"At 2026 {why}."}
        for n, (what, why) in enumerate(described)
    ]
    old = {**activities[0], "ActivityId": "9", "StartTime": START - timedelta(days=1)}
    account = Mock()
    pages = account.client().get_paginator().paginate
    pages.return_value = [{"Activities": activities}, {"Activities": [old]}]
    observed = list(events.scaling_events(account, "gpu", START))
    assert [event.kind for event in observed] == ["node-added", "spot-interruption", "node-removed"]
    assert {event.source for event in observed} == {"Auto Scaling group"}


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
def collected(fired: Run, past: History) -> Telemetry:
    return series.collect(fired, past.server)


def test_an_idle_model_has_rates_and_no_time_per_request(fired: Run, collected: Telemetry) -> None:
    table = fired.load_table(series.TABLE)
    assert list(table.columns) == series.COLUMNS
    idle = table[table["label"].eq("idle")]
    assert set(idle["series"]) == {"requests", "failures", "inferences"}
    assert idle["value"].eq(0).all()
    parts = table[table["series"].eq("cpu_by_role")].groupby("label")["value"].mean()
    assert parts.to_dict() == pytest.approx({"client": 0.5})


def test_the_window_is_the_last_firing_with_a_margin(fired: Run, collected: Telemetry) -> None:
    start, end = map(datetime.fromisoformat, (collected.start, collected.end))
    assert start == IDLE[0] - MINUTE - series.MARGIN
    assert end == IDLE[1] + MINUTE + series.MARGIN
    times = fired.load_table(series.TABLE).query("series == 'pending'")["time"]
    assert start <= times.min() and times.max() <= end
    assert times.diff().dropna().dt.total_seconds().eq(INTERVAL_S).all()


def test_utilisation_is_that_under_load_without_the_pause(collected: Telemetry) -> None:
    assert collected.gpu_utilisation_pct == pytest.approx(70)
    assert collected.cpu_utilisation_pct == pytest.approx(75)
    assert collected.gpu_absent == ""


def test_an_absent_series_says_why(fired: Run, collected: Telemetry) -> None:
    facts = {series.name: series for series in collected.series}
    assert list(facts) == [series.name for series in catalogue.LOAD_SERIES]
    assert fired.load(Telemetry) == collected
    assert facts["gpu_memory"].absent == history.NO_GPU
    for name, fact in facts.items():
        assert bool(fact.samples) is not bool(fact.absent), name
    shown = series.frame(collected).set_index("Series")
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


def test_every_query_of_the_catalogue_is_shown_as_it_is_asked(collected: Telemetry) -> None:
    shown = series.catalogue_frame()["PromQL"]
    assert shown.str.contains("[5s]", regex=False).sum() == 8
    asked = [facts.query for facts in collected.series]
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
