"""The client speaks as Grafana's published description says, and its errors are sentences."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
import requests
from kubernetes.client.exceptions import ApiException

from helpers.cluster.client import Cluster
from helpers.errors import Problem, Unavailable
from helpers.run import Run
from helpers.telemetry import access, annotations
from helpers.telemetry.grafana import TRIES, Annotation, Grafana

from .grafana_server import PNG, TOKEN, GrafanaServer, serving

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)


@pytest.fixture
def server() -> Iterator[GrafanaServer]:
    with serving() as one:
        yield one


@pytest.fixture
def grafana(server: GrafanaServer) -> Grafana:
    return Grafana(server.url, TOKEN, timeout_s=2.0, pause_s=0.01)


def test_health_names_the_version(grafana: Grafana, server: GrafanaServer) -> None:
    assert grafana.health().version == "11.6.0"
    server.database = "failing"
    with pytest.raises(Problem, match="its database says 'failing'"):
        grafana.health()


def test_a_region_and_a_line_are_made_found_and_deleted(
    grafana: Grafana, server: GrafanaServer
) -> None:
    region = Annotation(NOON, "soak", ("gpu-e2e", "run:a"), LATER)
    number = grafana.annotate(region)
    grafana.annotate(Annotation(NOON, "alert", ("gpu-e2e", "run:b")))
    (found,) = grafana.annotations(["gpu-e2e", "run:a"])
    assert region.is_as(found)
    assert found["timeEnd"] - found["time"] == 5 * 60 * 1000
    assert found["time"] == 1_795_435_200_000
    grafana.delete_annotation(number)
    grafana.delete_annotation(number)  # what is gone already is no error
    assert [one["text"] for one in server.annotations.values()] == ["alert"]


def test_a_snapshot_is_kept_for_its_time(grafana: Grafana, server: GrafanaServer) -> None:
    address = grafana.snapshot({"title": "x"}, "soak", 3600)
    ((key, kept),) = server.snapshots.items()
    assert address == f"{server.url}/dashboard/snapshot/{key}"
    assert (kept["dashboard"], kept["name"], kept["expires"]) == ({"title": "x"}, "soak", 3600)
    assert kept["external"] is False


def test_grafana_renders_where_it_has_a_renderer(grafana: Grafana, server: GrafanaServer) -> None:
    server.dashboards.add("gpu-e2e-gpu")
    with pytest.raises(Unavailable, match="no image renderer"):
        grafana.render("gpu-e2e-gpu", NOON, LATER, (800, 600))
    server.renderer = True
    assert grafana.render("gpu-e2e-gpu", NOON, LATER, (800, 600)) == PNG
    with pytest.raises(Problem, match=r"does not know the dashboard none \(HTTP 404\)"):
        grafana.render("none", NOON, LATER, (800, 600))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(grafana: Grafana, server: GrafanaServer, status: int) -> None:
    server.faults = [status, status]
    assert grafana.annotations(["gpu-e2e"]) == []
    assert len(server.asked) == 3


def test_a_server_that_stays_broken_is_one_sentence(
    grafana: Grafana, server: GrafanaServer
) -> None:
    server.faults = [500] * 10
    with pytest.raises(Problem, match=r"refuses annotations \(HTTP 500\): ordered <token>\."):
        grafana.annotations(["gpu-e2e"])
    assert len(server.asked) == TRIES


def test_the_pause_that_the_server_asks_for_is_kept(
    grafana: Grafana, server: GrafanaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("helpers.telemetry.grafana.time.sleep", pauses.append)
    server.faults, server.headers = [429], {"Retry-After": "7"}
    grafana.annotations(["gpu-e2e"])
    assert pauses == [7.0]


@pytest.mark.parametrize(
    ("token", "role", "sentence"),
    [
        ("wrong", "Editor", r"does not accept the token \(HTTP 401\).*Make a new one"),
        (TOKEN, "Viewer", r"denies the token annotations \(HTTP 403\).*role Editor"),
    ],
)
def test_a_refusal_is_not_tried_again_and_says_what_to_do(
    server: GrafanaServer, token: str, role: str, sentence: str
) -> None:
    server.role = role
    with pytest.raises(Problem, match=sentence):
        Grafana(server.url, token, pause_s=0.01).annotate(Annotation(NOON, "x", ("gpu-e2e",)))
    assert len(server.asked) == 1


def test_a_slow_server_is_one_sentence(server: GrafanaServer) -> None:
    server.slow_s = 5.0
    with pytest.raises(Problem, match=rf"did not answer within 0\.1 s, {TRIES} times"):
        Grafana(server.url, TOKEN, timeout_s=0.1, pause_s=0.01).health()


def test_no_server_and_a_login_page_are_sentences(server: GrafanaServer) -> None:
    with pytest.raises(Problem, match="cannot be reached"):
        Grafana("http://127.0.0.1:9", TOKEN, pause_s=0.001).health()
    server.faults = [302]
    with pytest.raises(Problem, match=r"sends the request elsewhere \(HTTP 302\)"):
        Grafana(server.url, TOKEN).health()


def test_the_token_is_in_no_text(grafana: Grafana, server: GrafanaServer) -> None:
    server.faults = [500] * TRIES
    with pytest.raises(Problem) as caught:
        grafana.health()
    texts = [repr(grafana), str(grafana), str(caught.value), repr(access.Access(None, grafana))]
    assert not any(TOKEN in text for text in texts)
    assert caught.value.__cause__ is None


def test_the_stand_in_refuses_what_the_description_does_not_know(server: GrafanaServer) -> None:
    head = {"Authorization": f"Bearer {TOKEN}"}
    for body in (
        {"text": 1},
        {"time": 1},
        {"text": "x", "colour": "red"},
        {"text": "x", "time": "1"},
    ):
        assert (
            requests.post(f"{server.url}/api/annotations", json=body, headers=head).status_code
            == 400
        )


# ── the run's events ──────────────────────────────────────────────────────────────────────────


def test_a_runs_events_are_annotated_once(
    run: Run, grafana: Grafana, server: GrafanaServer
) -> None:
    run.event("load-start", "05", scenario="soak", at="2026-11-23T12:00:00.000Z")
    assert annotations.publish(run, grafana) == 1
    assert annotations.publish(run, grafana) == 0
    run.event("load-stop", "05", scenario="soak", at="2026-11-23T12:05:00.000Z")
    run.event("alert", "05", source="Prometheus", subject="GpuHot", at="2026-11-23T12:01:00.000Z")
    assert annotations.publish(run, grafana) == 3  # the load has become a region
    assert annotations.publish(run, grafana) == 0
    found = {one["text"]: one for one in server.annotations.values()}
    assert set(found) == {"Load Test Start soak", "Load Test Stop soak", "alert GpuHot"}
    load = found["Load Test Start soak"]
    assert load["timeEnd"] - load["time"] == 300_000
    assert set(found["alert GpuHot"]["tags"]) == {
        "gpu-e2e", f"run:{run.run_id}", "alert", "source:Prometheus",
    }  # fmt: skip


# ── the token ─────────────────────────────────────────────────────────────────────────────────


class Secrets:
    """The cluster's secrets, as the official client gives them."""

    def __init__(self, **stored: dict[str, str]) -> None:
        self.stored = stored

    def read_namespaced_secret(self, name: str, namespace: str) -> Any:
        if name not in self.stored:
            raise ApiException(status=404, reason="Not Found")
        return SimpleNamespace(data=self.stored[name])

    def list_namespaced_secret(self, namespace: str) -> Any:
        return SimpleNamespace(items=[SimpleNamespace(data=one) for one in self.stored.values()])

    def create_namespaced_secret(self, namespace: str, body: Any) -> None:
        self.stored[body.metadata.name] = {
            key: base64.b64encode(value.encode()).decode()
            for key, value in body.string_data.items()
        }


def cluster_of(stored: Secrets) -> Cluster:
    return cast(Cluster, SimpleNamespace(core=stored))


def encoded(**values: str) -> dict[str, str]:
    return {key.replace("_", "-"): base64.b64encode(one.encode()).decode()
            for key, one in values.items()}  # fmt: skip


def test_the_token_comes_from_the_clusters_secret(server: GrafanaServer) -> None:
    stored = Secrets(**{access.TOKEN_SECRET: encoded(token=TOKEN)})
    assert access.token(cluster_of(stored), "monitoring", server.url) == TOKEN
    assert server.asked == []


def test_where_there_is_none_it_is_made_once_and_kept(server: GrafanaServer) -> None:
    server.admin = base64.b64encode(b"admin:pass").decode()
    stored = Secrets(grafana=encoded(admin_user="admin", admin_password="pass"))
    for _ in range(2):
        assert access.token(cluster_of(stored), "monitoring", server.url) == TOKEN
    assert len(server.asked) == 2  # account and token, at the first time


def test_a_wrong_admin_is_one_sentence_without_the_password(server: GrafanaServer) -> None:
    stored = Secrets(grafana=encoded(admin_user="admin", admin_password="s3cret-word"))
    with pytest.raises(Problem, match=r"cannot make a service account \(HTTP 401\)") as caught:
        access.token(cluster_of(stored), "monitoring", server.url)
    assert "s3cret-word" not in str(caught.value) and caught.value.__suppress_context__


def test_without_any_secret_the_sentence_names_it() -> None:
    with pytest.raises(Problem, match=r"no secret with Grafana's admin"):
        access.token(cluster_of(Secrets()), "monitoring", "http://127.0.0.1:9")
