"""The engine and Triton's own client, fired at the same servers, agree on all but the times."""

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pytest
from tritonclient.grpc import service_pb2

from helpers import processes
from helpers.load import request, server_check, worker
from helpers.load.arrivals import WHOLE
from helpers.load.request import Answered, Client, Shape
from helpers.load.worker import WorkerJob, connect
from helpers.profile import Profile
from helpers.run import Run
from helpers.scenario import Scenario
from helpers.serving import models, triton
from helpers.serving.endpoint import Endpoint

from .aio_server import OUTCOMES, Handler, serving
from .conftest import MakeRun, play, scenario
from .known_server import SHAPE, TENSOR, Behaviour, KnownServer, answer
from .known_server import good as answers_well
from .reference import ReferenceClient, status_class

BURST = {"arrivals": "burst", "count": 12, "duration_s": 0.05}
Protocol = Literal["http", "grpc"]
Tables = tuple[pd.DataFrame, pd.DataFrame]


@pytest.fixture(autouse=True)
def begin_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many short loads in a row."""
    monkeypatch.setattr(worker, "HEAD_START_S", 0.02)


def engine(endpoint: Endpoint, shape: Shape, chosen: Scenario, answered: Answered) -> Client:
    work = WorkerJob(
        folder=Path(), scenario=chosen, shard=WHOLE, endpoint=endpoint, shape=shape,
        max_connections=64,
    )  # fmt: skip
    return connect(work, answered)


def reference(endpoint: Endpoint, shape: Shape, chosen: Scenario, answered: Answered) -> Client:
    protocol: Protocol = "http" if chosen.protocol == "http" else "grpc"
    inputs = request.tensors(shape, chosen)
    return ReferenceClient(
        endpoint, protocol, shape, inputs, timeout_s=chosen.timeout_s, answered=answered
    )


def play_both(run: Run, endpoint: Endpoint, shape: Shape = SHAPE) -> Tables:
    """The engine's table and the reference's, one after the other."""
    chosen = run.profile.load.scenarios[0]
    return (
        play(run, partial(engine, endpoint, shape, chosen)),
        play(run, partial(reference, endpoint, shape, chosen)),
    )


def assert_agreement(tables: Tables, outcome: str) -> None:
    ours, theirs = tables
    assert list(ours["outcome"]) == list(theirs["outcome"]) == [outcome] * 12
    for column in ("sent_s", "done_s"):
        assert list(ours[column].isna()) == list(theirs[column].isna())


def reads(server: KnownServer, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The tensors that a server is sent from now on, without what describes them."""
    tensors: list[bytes] = []

    class Tap:
        def __init__(self, reader: asyncio.StreamReader) -> None:
            self.reader = reader
            self.head = b""

        async def readuntil(self, separator: bytes) -> bytes:
            self.head = await self.reader.readuntil(separator)
            return self.head

        async def readexactly(self, size: int) -> bytes:
            body = await self.reader.readexactly(size)
            described = self.head.partition(b"Inference-Header-Content-Length: ")[2]
            tensors.append(body[int(described.partition(b"\r")[0]) :])
            return body

    whole: Any = server._answer

    async def tapped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        answered: bool = await whole(Tap(reader), writer)
        return answered

    monkeypatch.setattr(server, "_answer", tapped)
    return tensors


def says(data: bytes, *, stay: bool = True, delay_s: float = 0.0) -> Behaviour:
    async def behave(server: KnownServer, number: int, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(delay_s)
        writer.write(data)
        return stay

    return behave


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        (answers_well, "ok"),
        (says(answer(), delay_s=1), "timeout"),
        (says(answer(status=503)), "http-503"),
        (says(answer(b"", status=400)), "http-400"),
        (says(answer(b"")), "bad-output"),
        (says(answer(TENSOR[:-4])), "bad-output"),
        (says(answer(TENSOR[:-4], declared=len(TENSOR))), "bad-output"),
        (says(answer()[:2000], stay=False), "disconnected"),
        (says(b"", stay=False), "disconnected"),
        (says(b"SSH-2.0-OpenSSH\r\n\r\n", stay=False), "bad-http"),
    ],
)
def test_over_http(
    make_run: MakeRun,
    server: KnownServer,
    monkeypatch: pytest.MonkeyPatch,
    behaviour: Behaviour,
    outcome: str,
) -> None:
    server.behaviour = behaviour
    tensors = reads(server, monkeypatch)
    timeout_s = 0.4 if outcome == "timeout" else 5
    run = make_run(scenario(BURST, timeout_s=timeout_s))
    assert_agreement(play_both(run, server.endpoint), outcome)
    assert sorted(tensors[:12]) == sorted(tensors[12:])
    assert len(set(tensors)) == 4


@pytest.mark.parametrize(("handler", "outcome"), OUTCOMES)
def test_over_grpc(make_run: MakeRun, handler: Handler, outcome: str) -> None:
    timeout_s = 0.4 if outcome == "timeout" else 5
    run = make_run(scenario(BURST, protocol="grpc", timeout_s=timeout_s))
    with serving(handler) as real:
        assert_agreement(play_both(run, at(f"127.0.0.1:{real.port}")), outcome)
    sent = [described(one) for one in real.requests]
    assert sorted(sent[:12]) == sorted(sent[12:])
    assert len(set(sent)) == 4


def at(address: str) -> Endpoint:
    return Endpoint(http=f"http://{address}", grpc=address, metrics="", server="")


def described(request: bytes) -> tuple[object, ...]:
    """What a request says, however it is serialised."""
    message = service_pb2.ModelInferRequest.FromString(request)
    (tensor,), (wanted,) = message.inputs, message.outputs
    named = (message.model_name, tensor.name, tensor.datatype, *tensor.shape, wanted.name)
    return (*named, *message.raw_input_contents)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_with_nobody_there(make_run: MakeRun, protocol: Protocol) -> None:
    run = make_run(scenario(BURST, protocol=protocol, timeout_s=2))
    ours, theirs = play_both(run, at("127.0.0.1:9"))
    assert list(ours["outcome"]) == list(theirs["outcome"]) == ["refused"] * 12


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, profile: Profile) -> Iterator[Endpoint]:
    """A real Triton that serves the networks of the quick profile."""
    run = Run.create(profile, tmp_path_factory.mktemp("serving"))
    models.prepare(run)
    yield triton.serve(run)
    processes.down(run)


WRONG_SIZE = Shape(SHAPE.model, 1, (3, 32, 32), SHAPE.outputs, "input", "logits")
WRONG_NAME = Shape("nobody", 1, SHAPE.dims, SHAPE.outputs, "input", "logits")


@pytest.mark.parametrize(
    ("protocol", "shape", "outcome"),
    [
        ("http", SHAPE, "ok"),
        ("grpc", SHAPE, "ok"),
        ("http", WRONG_SIZE, "http-400"),
        ("grpc", WRONG_SIZE, "grpc-invalid-argument"),
        ("http", WRONG_NAME, "http-404"),
        ("grpc", WRONG_NAME, "grpc-not-found"),
    ],
)
def test_at_a_real_triton(
    make_run: MakeRun, real: Endpoint, protocol: Protocol, shape: Shape, outcome: str
) -> None:
    expected = successes(real) + (24 if outcome == "ok" else 0)
    run = make_run(scenario(BURST, protocol=protocol))
    assert_agreement(play_both(run, real, shape), outcome)
    deadline = time.monotonic() + 5  # Triton counts a request a little after it has answered it
    while successes(real) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    assert successes(real) == expected


def successes(endpoint: Endpoint) -> float:
    read = server_check.read_counters(endpoint.metrics, SHAPE.model)
    assert read is not None
    return read["nv_inference_request_success"]


@pytest.mark.parametrize(
    ("status", "words", "outcome"),
    [
        ("503", "", "http-503"),
        ("StatusCode.UNAVAILABLE", "failed to connect to all addresses; last error", "refused"),
        ("StatusCode.UNAVAILABLE", "Socket closed", "disconnected"),
        ("StatusCode.UNAVAILABLE", "recvmsg:Connection reset by peer", "disconnected"),
        ("StatusCode.UNAVAILABLE", "Ssl handshake failed: CERTIFICATE_VERIFY_FAILED", "tls"),
        ("StatusCode.UNAVAILABLE", "Exceeds maximum queue size", "grpc-unavailable"),
        ("StatusCode.DEADLINE_EXCEEDED", "Deadline Exceeded", "timeout"),
        ("StatusCode.RESOURCE_EXHAUSTED", "", "grpc-resource-exhausted"),
    ],
)
def test_statuses(status: str, words: str, outcome: str) -> None:
    assert status_class(status, words) == outcome
