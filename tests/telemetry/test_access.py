"""What a run can query, the cluster's monitoring, Grafana's token, and what reaches Grafana."""

import base64
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest

from helpers import programs
from helpers.cluster.client import Cluster
from helpers.cluster.records import Releases
from helpers.errors import Problem, Unavailable
from helpers.run import Run
from helpers.serving.records import Endpoint
from helpers.telemetry import access, monitoring
from helpers.telemetry.access import Access
from helpers.telemetry.grafana import TRIES, Grafana, add_annotations

from .conftest import Watched, endpoint_on
from .grafana_server import TOKEN, GrafanaServer


def releases(label: str, note: str) -> Releases:
    facts = {"chart": "x 1", "namespace": "monitoring", "digest": "", "label": label, "note": note}
    names = ("kube-prometheus-stack", "dcgm-exporter")
    return Releases.model_validate({"releases": [{"name": name, **facts} for name in names]})


@pytest.mark.parametrize(
    ("label", "status"),
    [("", "NOT RUN"), ("CHECKED", "CHECKED"), ("NOT RUN", "NOT RUN"),
     ("FAILED", "FAILED")],
)  # fmt: skip
def test_a_rehearsal_says_what_stage_02_saw_of_the_charts(
    run: Run, label: str, status: str
) -> None:
    if label:
        run.save(releases(label, "a note"))
    ticks = monitoring.check_components(run, Access(None))
    assert {promise: str(tick.status) for promise, tick in ticks.items()} == {
        "04.operator": status, "04.dcgm": status,
    }  # fmt: skip
    assert {tick.note for tick in ticks.values()} == {
        "a note" if label else monitoring.NOT_RENDERED
    }


@pytest.mark.parametrize(("rows", "status"), [(2, "VERIFIED"), (0, "FAILED")])
def test_a_cluster_is_believed_by_what_its_prometheus_answers(
    new_run: Callable[[str], Run], rows: int, status: str
) -> None:
    run = new_run("target=aws")
    run.write("records/04/targets.json", "{}")
    server = SimpleNamespace(query=lambda _: pd.DataFrame({"value": [1.0] * rows}))
    seen = Access(cast(Any, server), cluster=cast(Any, SimpleNamespace()))
    assert {str(tick.status) for tick in monitoring.check_components(run, seen).values()} == {
        status
    }


def test_a_rehearsal_asks_its_own_prometheus_and_no_grafana(watched: Watched) -> None:
    assert access.connect(watched.run, watched.endpoint) == Access(watched.server)


def test_without_prometheus_the_load_goes_on_and_stage_04_does_not(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(programs, "TOOLS", run.folder)
    monkeypatch.setenv("PATH", "")
    nobody: Endpoint = endpoint_on(1)
    with pytest.raises(Unavailable, match="no prometheus on this machine"):
        access.connect(run, nobody)
    assert access.connect_optional(run, nobody) == Access(None)
    assert "No series of server and machine: There is no prometheus" in capsys.readouterr().out


class Secrets:
    """A cluster that has secrets."""

    def __init__(self, **stored: dict[str, str]) -> None:
        self.stored = stored
        self.cluster = cast(Cluster, SimpleNamespace(core=self, get=self.get, list=self.list))

    def get(self, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        return {"data": self.stored[name]} if name in self.stored else None

    def list(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        return [{"data": data} for data in self.stored.values()]

    def create_namespaced_secret(self, namespace: str, body: Any) -> None:
        self.stored[body.metadata.name] = encoded(**body.string_data)


def encoded(**values: str) -> dict[str, str]:
    return {key.replace("_", "-"): base64.b64encode(value.encode()).decode()
            for key, value in values.items()}  # fmt: skip


def test_where_there_is_none_it_is_made_once_and_kept(server: GrafanaServer) -> None:
    server.admin = base64.b64encode(b"admin:pass").decode()
    cluster = Secrets(grafana=encoded(admin_user="admin", admin_password="pass")).cluster
    for _ in range(2):
        assert access.grafana_token(cluster, "monitoring", server.url) == TOKEN
    assert len(server.requests) == 2  # account and token, at the first time


def test_a_wrong_admin_or_none_is_one_sentence_without_the_password(server: GrafanaServer) -> None:
    cluster = Secrets(grafana=encoded(admin_user="admin", admin_password="s3cret-word")).cluster
    with pytest.raises(Problem, match=r"cannot create a service account \(HTTP 401\)") as caught:
        access.grafana_token(cluster, "monitoring", server.url)
    assert "s3cret-word" not in str(caught.value) and caught.value.__suppress_context__
    with pytest.raises(Problem, match=r"no secret with Grafana's admin"):
        access.grafana_token(Secrets().cluster, "monitoring", server.url)


ANNOTATION = {"time": 1, "text": "x", "tags": []}


@pytest.fixture
def grafana(server: GrafanaServer) -> Grafana:
    return Grafana(server.url, TOKEN, timeout_s=2.0, pause_s=0.01)


def test_a_runs_events_are_annotated_once(
    run: Run, grafana: Grafana, server: GrafanaServer
) -> None:
    run.event("load-start", "05", scenario="soak", at="2026-11-23T12:00:00.000Z")
    assert add_annotations(run, grafana) == 1
    assert add_annotations(run, grafana) == 0
    run.event("load-stop", "05", scenario="soak", at="2026-11-23T12:05:00.000Z")
    run.event("alert", "05", source="Prometheus", subject="GpuHot", at="2026-11-23T12:01:00.000Z")
    assert add_annotations(run, grafana) == 3  # the load has an end now
    assert add_annotations(run, grafana) == 0
    by_text = {stored["text"]: stored for stored in server.annotations.values()}
    assert set(by_text) == {"Load Test Start soak", "Load Test Stop soak", "alert GpuHot"}
    load = by_text["Load Test Start soak"]
    assert load["time"] == 1_795_435_200_000 and load["timeEnd"] - load["time"] == 300_000
    assert set(by_text["alert GpuHot"]["tags"]) == {
        "gpu-e2e", f"run:{run.run_id}", "alert", "source:Prometheus",
    }  # fmt: skip
    # one that does not exist is no error
    grafana.ask("DELETE", "/api/annotations/12345", accepted=404)


def test_a_server_that_cannot_be_reached_or_is_not_healthy_is_one_sentence(
    grafana: Grafana, server: GrafanaServer
) -> None:
    server.database = "failing"
    with pytest.raises(Problem, match="its database reports 'failing'"):
        grafana.version()
    with pytest.raises(Problem, match="cannot be reached") as caught:
        Grafana("http://127.0.0.1:9", TOKEN, pause_s=0.001).version()
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("faults", "role", "token", "sentence", "requests"),
    [
        ([500] * 9, "Editor", TOKEN, r"refuses POST .* \(HTTP 500\): ordered <token>\.", TRIES),
        ([], "Editor", "wrong", r"\(HTTP 401\).*token is not valid", 1),
        ([], "Viewer", TOKEN, r"\(HTTP 403\).*role Editor", 1),
        ([302], "Editor", TOKEN, r"\(HTTP 302\)", 1),
    ],
)
def test_a_refusal_says_what_to_do_and_hides_the_token(
    server: GrafanaServer, faults: list[int], role: str, token: str, sentence: str, requests: int
) -> None:
    server.role, server.faults = role, faults
    grafana = Grafana(server.url, token, pause_s=0.001)
    with pytest.raises(Problem, match=sentence) as caught:
        grafana.ask("POST", "/api/annotations", json=ANNOTATION)
    assert len(server.requests) == requests
    texts = [repr(grafana), str(caught.value), repr(Access(None, grafana))]
    assert not any(TOKEN in text for text in texts)
