"""The real Prometheus is started, pointed and stopped; each wrong answer becomes one sentence."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest
import requests
from responses import RequestsMock

from helpers import processes
from helpers.errors import Problem
from helpers.telemetry import prometheus
from helpers.telemetry.prometheus_api import Prometheus
from helpers.telemetry.records import Targets

from .conftest import Watched, endpoint_on, imitate


def test_both_targets_are_up(watched: Watched) -> None:
    targets = prometheus.targets(watched.run, watched.server)
    assert targets == watched.run.load(Targets)
    assert targets.up == {"sampler": True, "triton": True}
    assert targets.all_up
    shown = prometheus.frame(targets).set_index("What")["Value"]
    assert (shown["Target triton"], shown["Scrape interval"]) == ("up", "0.5 s")
    assert shown["Retention"] == targets.retention == "1d"
    assert shown["Series"] == str(targets.series) and targets.series > 20
    assert targets.prometheus == shown["Prometheus"] != ""


def test_a_proxy_is_not_asked_for_this_machine(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{processes.free_port()}")
    monkeypatch.setenv("NO_PROXY", "")
    assert not watched.server.query("up").empty


def test_a_running_prometheus_follows_to_a_triton_that_moved(watched: Watched) -> None:
    before = processes.find(watched.run, "prometheus")
    assert prometheus.serve(watched.run, watched.endpoint) == watched.server
    with imitate() as moved:
        server = prometheus.serve(watched.run, moved)
        assert {target["scrapeUrl"] for target in server.targets()} >= {moved.metrics}
        assert server.query("up{job='triton'}")["instance"].tolist() == ["triton"]
        assert processes.find(watched.run, "prometheus") == before


def test_a_target_that_is_down_is_named(watched: Watched) -> None:
    gone = endpoint_on(processes.free_port())
    with pytest.raises(Problem, match=rf"cannot scrape triton at {gone.metrics} .*refused"):
        prometheus.serve(watched.run, gone, timeout_s=7)
    saved = watched.run.load(Targets)
    assert saved.up == {"sampler": True, "triton": False}
    assert not saved.all_up
    assert prometheus.frame(saved).set_index("What").loc["Target triton", "Value"] == "DOWN"


NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SERVER = Prometheus("http://127.0.0.1:9090", timeout_s=0.5)
API = f"{SERVER.url}/api/v1"


@pytest.fixture
def answers() -> Iterator[RequestsMock]:
    with RequestsMock() as mock:
        yield mock


def result(kind: str, content: object) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": content}}


def test_a_matrix_becomes_a_table(answers: RequestsMock) -> None:
    matrix = [
        {"metric": {"model": "a"}, "values": [[1.5, "1"], [2.5, "2"]]},
        {"metric": {"role": "b"}, "values": [[1.5, "NaN"]]},
    ]
    asked = answers.get(f"{API}/query_range", json=result("matrix", matrix))
    table = SERVER.query_range("x", NOON, NOON, 0.5)
    assert table["value"].tolist()[:2] == [1.0, 2.0]
    assert table["value"].isna().tolist() == [False, False, True]
    assert table["model"].tolist()[:2] == ["a", "a"] and pd.isna(table["model"][2])
    assert str(table["time"][0]) == "1970-01-01 00:00:01.500000+00:00"
    noon = str(NOON.timestamp())
    sent = {"query": "x", "start": noon, "end": noon, "step": "0.5"}
    assert asked.calls[0].request.params == sent


BAD_QUERY = {"status": "error", "errorType": "bad_data", "error": "parse error " + "x" * 999}
HTML = "<html>nginx</html>"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"status": 400, "json": BAD_QUERY},
         r"Prometheus rejects 'up': bad_data: parse error x{100,300}\. Correct the query"),
        ({"status": 404, "body": HTML}, r"is not Prometheus \(HTTP 404\)"),
        ({"json": [1, 2]}, "is not Prometheus"),
        ({"json": result("string", [1.0, "text"])}, "returns a string, not numbers"),
        ({"body": requests.Timeout()}, r"did not answer within 0\.5 s"),
    ],
)  # fmt: skip
def test_a_bad_answer_is_one_sentence(
    answers: RequestsMock, answer: dict[str, Any], sentence: str
) -> None:
    answers.get(f"{API}/query", **answer)
    with pytest.raises(Problem, match=sentence):
        SERVER.query("up")
