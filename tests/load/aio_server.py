"""A real gRPC server, on grpc.aio, in a thread of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import grpc
from grpc import aio

from helpers.load.grpc_client import METHOD

from .scripted import message
from .threads import in_thread

Handler = Callable[[bytes, Any], Awaitable[bytes]]


@dataclass
class AioServer:
    """What it has seen, and where it listens."""

    port: int = 0
    requests: list[bytes] = field(default_factory=list)


async def good(request: bytes, context: Any) -> bytes:
    return message()


async def empty(request: bytes, context: Any) -> bytes:
    return message(b"")


async def slow(request: bytes, context: Any) -> bytes:
    await asyncio.sleep(3)
    return message()


def aborts(code: grpc.StatusCode) -> Handler:
    async def handle(request: bytes, context: Any) -> bytes:
        await context.abort(code, "Exceeds maximum queue size, 100 %, naïve")
        return b""

    return handle


OUTCOMES = [
    (good, "ok"),
    (empty, "bad-output"),
    (slow, "timeout"),
    (aborts(grpc.StatusCode.UNAVAILABLE), "grpc-unavailable"),
    (aborts(grpc.StatusCode.INVALID_ARGUMENT), "grpc-invalid-argument"),
    (aborts(grpc.StatusCode.RESOURCE_EXHAUSTED), "grpc-resource-exhausted"),
]


@contextmanager
def serving(handler: Handler) -> Iterator[AioServer]:
    """A gRPC server in a thread."""
    real = AioServer()

    async def handle(request: bytes, context: Any) -> bytes:
        real.requests.append(request)
        return await handler(request, context)

    async def serve(ready: Event) -> None:
        server = aio.server()
        service, _, method = METHOD[1:].partition("/")
        unary = grpc.unary_unary_rpc_method_handler(handle)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: unary}),)
        )
        real.port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        ready.set()
        try:
            await asyncio.Event().wait()
        finally:
            await server.stop(0)

    with in_thread(serve):
        yield real
