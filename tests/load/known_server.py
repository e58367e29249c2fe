"""A server of known behaviour on 127.0.0.1, in a thread of its own."""

import asyncio
import json
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus

from helpers.load.request import Shape
from helpers.serving.records import Endpoint

MODEL = "mobilenetv2"
SHAPE = Shape(MODEL, 1, (64, 64, 3), 1000, "input", "logits", datatype="UINT8")
DESCRIBED: dict[str, object] = {
    "/ready": {},
    "/config": {"max_batch_size": 8},
    "": {
        "inputs": [{"name": "input", "datatype": SHAPE.datatype, "shape": [-1, *SHAPE.dims]}],
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
    output = {"name": "logits", "datatype": "FP32", "shape": [1, 1000],
              "parameters": {"binary_data_size": size}}  # fmt: skip
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
    """Speaks as much of KServe v2 as the load needs, in a thread of its own."""

    behaviour: Behaviour = good  # about an inference; False ends the connection
    delay_s: float = 0.002  # how long `good` takes
    successes: int = 0  # reported as Triton's counter
    inferences: int = 0
    connections: int = 0
    most_connections: int = 0
    port: int = 0
    bodies: set[int] = field(default_factory=set)
    tls: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}" if self.tls else f"http://127.0.0.1:{self.port}"

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(
            http=self.url, grpc="127.0.0.1:9", metrics=f"{self.url}/metrics", server="known"
        )

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.most_connections = max(self.most_connections, self.connections)
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._answer(reader, writer):
                await writer.drain()
        self.connections -= 1

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if head.startswith("GET"):
            path = head.split(" ")[1].removeprefix(f"/v2/models/{MODEL}")
            status, text = "200 OK", json.dumps(DESCRIBED.get(path, {}))
            if path == "/metrics":
                counter = "nv_inference_request_success"
                labels = f'{{model="{MODEL}",version="1"}}'
                text = f"# TYPE {counter} counter\n{counter}{labels} {self.successes}\n"
            elif path not in DESCRIBED:
                status = "400 Bad Request"
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
            return True
        length = head.partition("\r\nContent-Length: ")[2].split("\r\n")[0]
        body = await reader.readexactly(int(length))
        self.bodies.add(hash(body))
        self.inferences += 1
        return await self.behaviour(self, self.inferences, writer)


@contextmanager
def listening(
    connected: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    tls: ssl.SSLContext | None = None,
) -> Iterator[tuple[asyncio.Server, int]]:
    """Serve in a thread of its own until the end of the context; gives the port too."""
    ready: Future[tuple[asyncio.Server, Callable[[], object]]] = Future()

    async def serve() -> None:
        over = asyncio.Event()
        server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls, backlog=1024)
        end = partial(asyncio.get_running_loop().call_soon_threadsafe, over.set)
        ready.set_result((server, end))
        await over.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    server, end = ready.result(5)
    try:
        yield server, server.sockets[0].getsockname()[1]
    finally:
        end()
        thread.join(5)


@contextmanager
def known_server(tls: ssl.SSLContext | None = None) -> Iterator[KnownServer]:
    """Serve in a thread until the end of the context."""
    known = KnownServer(tls=tls)
    with listening(known.connected, tls) as (_, known.port):
        yield known
