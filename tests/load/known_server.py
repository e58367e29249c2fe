"""A server of known behaviour on 127.0.0.1, in a thread of its own."""

import asyncio
import json
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from helpers.load.request import Shape
from helpers.serving.endpoint import Endpoint

from .threads import in_thread

MODEL = "mobilenetv2"
SHAPE = Shape(MODEL, 1, (3, 64, 64), 1000, "input", "logits")
DESCRIBED: dict[str, object] = {
    "/ready": {},
    "/config": {"max_batch_size": 8},
    "": {
        "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, *SHAPE.dims]}],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, SHAPE.outputs]}],
    },
}
TENSOR = b"\0" * SHAPE.output_bytes


def answer(
    tensor: bytes = TENSOR,
    *,
    status: int = 200,
    declared: int | None = None,
    extra: str = "",
    length: bool = True,
) -> bytes:
    """A whole answer as Triton gives it; arguments make it a wrong one."""
    size = len(tensor) if declared is None else declared
    output = {
        "name": "logits",
        "datatype": "FP32",
        "shape": [1, 1000],
        "parameters": {"binary_data_size": size},
    }
    described = json.dumps({"model_name": MODEL, "outputs": [output]}).encode()
    body = described + tensor
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{extra}"
    head += f"Inference-Header-Content-Length: {len(described)}\r\n"
    head += f"Content-Length: {len(body)}\r\n" if length else ""
    return f"{head}\r\n".encode() + body


Behaviour = Callable[["KnownServer", int, asyncio.StreamWriter], Awaitable[bool]]


async def good(server: "KnownServer", number: int, writer: asyncio.StreamWriter) -> bool:
    """Answer well after the known delay."""
    await asyncio.sleep(server.delay_s)
    writer.write(answer())
    server.successes += 1
    return True


@dataclass
class KnownServer:
    """Speaks as much of KServe v2 as the load needs, in a thread of its own.

    Attributes:
        behaviour: What it does about an inference; False ends the connection.
        delay_s: How long `good` takes.
        successes: What it tells as Triton's counter.
    """

    behaviour: Behaviour = good
    delay_s: float = 0.002
    successes: int = 0
    inferences: int = 0
    connections: int = 0
    most_connections: int = 0
    port: int = 0
    bodies: set[int] = field(default_factory=set)
    loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(
            http=self.url, grpc="127.0.0.1:9", metrics=f"{self.url}/metrics", server="known"
        )

    @contextmanager
    def secured(self, context: ssl.SSLContext) -> Iterator[int]:
        """Listen with TLS as well; the port."""

        async def listen() -> asyncio.Server:
            return await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=context)

        assert self.loop is not None
        server = asyncio.run_coroutine_threadsafe(listen(), self.loop).result(5)
        yield server.sockets[0].getsockname()[1]
        self.loop.call_soon_threadsafe(server.close)

    async def serve(self, started: threading.Event) -> None:
        self.loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await asyncio.Event().wait()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.most_connections = max(self.most_connections, self.connections)
        try:
            while await self._answer(reader, writer):
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.connections -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if head.startswith("GET /metrics"):
            counter = f'nv_inference_request_success{{model="{MODEL}",version="1"}}'
            text = f"# TYPE nv_inference_request_success counter\n{counter} {self.successes}\n"
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
            return True
        if head.startswith("GET"):
            path = head.split(" ")[1].removeprefix(f"/v2/models/{MODEL}")
            status = "200 OK" if path in DESCRIBED else "400 Bad Request"
            told = json.dumps(DESCRIBED.get(path, {}))
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(told)}\r\n\r\n{told}".encode())
            return True
        length = next(x for x in head.split("\r\n") if x.startswith("Content-Length: "))
        body = await reader.readexactly(int(length.split()[1]))
        self.bodies.add(hash(body))
        self.inferences += 1
        return await self.behaviour(self, self.inferences, writer)


@contextmanager
def known_server() -> Iterator[KnownServer]:
    """Serve in a thread until the end of the context."""
    known = KnownServer()
    with in_thread(known.serve):
        yield known
