"""Annotations and snapshots reach Grafana, and its errors become clear sentences."""

import pytest

from helpers.errors import Problem
from helpers.run import Run
from helpers.telemetry.access import Access
from helpers.telemetry.grafana import TRIES, Grafana, add_annotations

from .grafana_server import TOKEN, GrafanaServer

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


@pytest.mark.parametrize("wanted", ["7", "3600"])
def test_transient_errors_are_retried(
    grafana: Grafana, server: GrafanaServer, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", pauses.append)
    server.faults, server.headers = [429, 500, 503], {"Retry-After": wanted}
    assert grafana.ask("POST", "/api/annotations", json=ANNOTATION)
    assert len(server.requests) == 4
    assert pauses == [min(int(wanted), 30)] * 3  # as the server requested, within reason


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
