"""A real gRPC server, on grpc.aio, in a thread of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

import grpc
from grpc import aio

from helpers.load.grpc import METHOD

from .scripted import message

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


@contextmanager
def serving(handler: Handler) -> Iterator[AioServer]:
    """A gRPC server in a thread."""
    real, ready, loop, over = AioServer(), Event(), asyncio.new_event_loop(), asyncio.Event()

    async def handle(request: bytes, context: Any) -> bytes:
        real.requests.append(request)
        return await handler(request, context)

    async def work() -> None:
        server = aio.server()
        service, _, method = METHOD[1:].partition("/")
        unary = grpc.unary_unary_rpc_method_handler(handle)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: unary}),)
        )
        real.port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        ready.set()
        await over.wait()
        await server.stop(0)

    thread = Thread(target=lambda: loop.run_until_complete(work()))
    thread.start()
    assert ready.wait(5)
    try:
        yield real
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(5)
