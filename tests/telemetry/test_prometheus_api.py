"""Answers become tables; whatever answers instead of Prometheus becomes one clear sentence."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest
import requests
from responses import RequestsMock

from helpers import processes
from helpers.errors import Problem
from helpers.telemetry.prometheus_api import Prometheus

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


def test_a_scalar_and_nothing_are_tables_too(answers: RequestsMock) -> None:
    answers.get(f"{API}/query", json=result("scalar", [1.0, "42"]))
    assert SERVER.query("42")["value"].tolist() == [42.0]
    answers.get(f"{API}/query", json=result("vector", []))
    empty = SERVER.query("nothing", NOON)
    assert empty.empty and {"time", "value"} <= set(empty.columns)


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


def test_no_answer_is_one_sentence() -> None:
    url = f"http://127.0.0.1:{processes.free_port()}"
    with pytest.raises(Problem, match=f"Prometheus at {url} cannot be reached"):
        Prometheus(url).targets()
