"""Answers become tables; whatever answers instead of Prometheus becomes one clear sentence."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest

from helpers import processes
from helpers.errors import Problem
from helpers.telemetry.prometheus_api import Prometheus
from tests.listening import listening

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Stub(ThreadingHTTPServer):
    """Gives one prepared answer, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.body, self.delay_s = 200, b"", 0.0
        self.asked: list[tuple[str, dict[str, list[str]]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def says(self, kind: str, result: object) -> None:
        data = {"resultType": kind, "result": result}
        self.body = json.dumps({"status": "success", "data": data}).encode()


class Handler(BaseHTTPRequestHandler):
    server: Stub

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.server.asked.append((parts.path, parse_qs(parts.query)))
        time.sleep(self.server.delay_s)
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):  # who asked has stopped waiting
            self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def stub() -> Iterator[Stub]:
    with listening(Stub()) as server:
        yield server


def test_a_matrix_becomes_a_table(stub: Stub) -> None:
    stub.says(
        "matrix",
        [
            {"metric": {"model": "a"}, "values": [[1.5, "1"], [2.5, "2"]]},
            {"metric": {"role": "b"}, "values": [[1.5, "NaN"]]},
        ],
    )
    found = Prometheus(stub.url).query_range("x", NOON, NOON, 0.5)
    assert found["value"].tolist()[:2] == [1.0, 2.0]
    assert found["value"].isna().tolist() == [False, False, True]
    assert found["model"].tolist()[:2] == ["a", "a"] and pd.isna(found["model"][2])
    assert str(found["time"][0]) == "1970-01-01 00:00:01.500000+00:00"
    noon = str(NOON.timestamp())
    expected = {"query": ["x"], "start": [noon], "end": [noon], "step": ["0.5"]}
    assert stub.asked == [("/api/v1/query_range", expected)]


def test_a_scalar_and_nothing_are_tables_too(stub: Stub) -> None:
    stub.says("scalar", [1.0, "42"])
    assert Prometheus(stub.url).query("42")["value"].tolist() == [42.0]
    stub.says("vector", [])
    empty = Prometheus(stub.url).query("nothing", NOON)
    assert empty.empty and {"time", "value"} <= set(empty.columns)
    assert stub.asked[-1][1]["time"] == [str(NOON.timestamp())]


def test_a_proxy_is_not_asked_for_this_machine(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{processes.free_port()}")
    monkeypatch.setenv("NO_PROXY", "")
    stub.says("vector", [])
    assert Prometheus(stub.url).query("up").empty


def refuses_query(stub: Stub) -> str:
    stub.status = 400
    error = {"status": "error", "errorType": "bad_data", "error": "parse error " + "x" * 999}
    stub.body = json.dumps(error).encode()
    return r"Prometheus rejects 'up': bad_data: parse error x{100,300}\. Correct the query"


def is_something_else(stub: Stub) -> str:
    stub.status, stub.body = 404, b"<html>nginx</html>"
    return r"is not Prometheus \(HTTP 404\)"


def is_other_json(stub: Stub) -> str:
    stub.body = b"[1, 2]"
    return "is not Prometheus"


def gives_text(stub: Stub) -> str:
    stub.says("string", [1.0, "text"])
    return "returns a string, not numbers"


def is_slow(stub: Stub) -> str:
    stub.delay_s = 1.0
    return r"did not answer within 0\.5 s"


@pytest.mark.parametrize(
    "prepare", [refuses_query, is_something_else, is_other_json, gives_text, is_slow]
)
def test_a_bad_answer_is_one_sentence(stub: Stub, prepare: Callable[[Stub], str]) -> None:
    sentence = prepare(stub)
    with pytest.raises(Problem, match=sentence):
        Prometheus(stub.url, timeout_s=0.5).query("up")


def test_no_answer_is_one_sentence() -> None:
    url = f"http://127.0.0.1:{processes.free_port()}"
    with pytest.raises(Problem, match=f"Prometheus at {url} cannot be reached"):
        Prometheus(url).targets()
