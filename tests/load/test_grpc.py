"""Over gRPC: the same outcomes, against a real gRPC server."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import grpc
import pandas as pd
import pytest
from grpc import aio
from tritonclient.grpc import service_pb2

from helpers.load import payload
from helpers.load.client import Answered, Client
from helpers.load.grpc import METHOD, GrpcClient, error_class
from helpers.run import Run

from .conftest import MakeRun, play, scenario
from .known_server import SHAPE, TENSOR

STEADY = {"arrivals": "constant", "rate": 40, "duration_s": 0.5}
Handler = Callable[[bytes, Any], Awaitable[bytes]]


def answer(tensor: bytes = TENSOR) -> bytes:
    message = service_pb2.ModelInferResponse(model_name="mobilenetv2")
    message.outputs.add(name="logits", datatype="FP32", shape=[1, 1000])
    message.raw_output_contents.append(tensor)
    whole: bytes = message.SerializeToString()
    return whole


async def good(request: bytes, context: Any) -> bytes:
    return answer()


async def empty(request: bytes, context: Any) -> bytes:
    return answer(b"")


async def slow(request: bytes, context: Any) -> bytes:
    await asyncio.sleep(3)
    return answer()


async def full(request: bytes, context: Any) -> bytes:
    await context.abort(grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size")
    return b""


async def wrong(request: bytes, context: Any) -> bytes:
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "unexpected shape")
    return b""


@contextmanager
def serving(handler: Handler) -> Iterator[int]:
    """A gRPC server in a thread; its port."""
    ready, ports, loop, over = Event(), list[int](), asyncio.new_event_loop(), asyncio.Event()

    async def work() -> None:
        server = aio.server()
        service, _, method = METHOD[1:].partition("/")
        unary = grpc.unary_unary_rpc_method_handler(handler)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: unary}),)
        )
        ports.append(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        ready.set()
        await over.wait()
        await server.stop(0)

    thread = Thread(target=lambda: loop.run_until_complete(work()))
    thread.start()
    assert ready.wait(5)
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(5)


def play_grpc(run: Run, port: int) -> pd.DataFrame:
    chosen = run.profile.load.scenarios[0]
    messages = payload.grpc_messages(SHAPE, chosen.inputs, chosen.seed)

    def connect(answered: Answered) -> Client:
        return GrpcClient(
            f"127.0.0.1:{port}",
            messages,
            output_bytes=SHAPE.output_bytes,
            timeout_s=chosen.timeout_s,
            answered=answered,
        )

    return play(run, connect)


@pytest.mark.parametrize(
    ("handler", "outcome"),
    [
        (good, "ok"),
        (empty, "bad-output"),
        (slow, "timeout"),
        (full, "grpc-unavailable"),
        (wrong, "grpc-invalid-argument"),
    ],
)
def test_outcomes(make_run: MakeRun, handler: Handler, outcome: str) -> None:
    run = make_run(scenario(STEADY, protocol="grpc", timeout_s=0.5 if handler is slow else 5))
    with serving(handler) as port:
        table = play_grpc(run, port)
    assert list(table["outcome"]) == [outcome] * 20
    assert table["done_s"].isna().all() == (outcome == "timeout")
    assert table["sent_s"].notna().all()


def test_nobody_there_is_refused(make_run: MakeRun) -> None:
    table = play_grpc(make_run(scenario(STEADY, protocol="grpc", timeout_s=2)), 9)
    assert set(table["outcome"]) == {"refused"}
    assert len(table) == 20


@pytest.mark.parametrize(
    ("code", "details", "outcome"),
    [
        ("UNAVAILABLE", "failed to connect to all addresses; last error: ...", "refused"),
        ("UNAVAILABLE", "Socket closed", "disconnected"),
        ("UNAVAILABLE", "recvmsg:Connection reset by peer", "disconnected"),
        ("UNAVAILABLE", "Ssl handshake failed: CERTIFICATE_VERIFY_FAILED", "tls"),
        ("UNAVAILABLE", "Exceeds maximum queue size", "grpc-unavailable"),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", "timeout"),
        ("RESOURCE_EXHAUSTED", "", "grpc-resource-exhausted"),
    ],
)
def test_error_classes(code: str, details: str, outcome: str) -> None:
    assert error_class(getattr(grpc.StatusCode, code), details) == outcome
