"""A server that answers after a known delay: `python -m helpers.load.delay_server MS http|grpc`.

It says on standard output where it listens, and, once standard input ends, how long its answers
really took, both as JSON. It speaks as much of KServe v2 as a load needs.
"""

import asyncio
import json
import sys
from functools import partial
from time import monotonic
from typing import cast

import numpy as np

from helpers.load.http import HEAD_END

MODEL, FLOATS, FLOAT_BYTES = "delay", 16, 4
TENSOR = {"datatype": "FP32", "shape": [-1, FLOATS]}
DESCRIBED = {
    f"/v2/models/{MODEL}/ready": {},
    f"/v2/models/{MODEL}/config": {"max_batch_size": 1},
    f"/v2/models/{MODEL}": {
        "inputs": [{"name": "in", **TENSOR}],
        "outputs": [{"name": "out", **TENSOR}],
    },
}
OUTPUT = {
    "name": "out",
    "datatype": "FP32",
    "shape": [1, FLOATS],
    "parameters": {"binary_data_size": FLOATS * FLOAT_BYTES},
}
OUTPUT_BYTES = bytes(FLOATS * FLOAT_BYTES)


class DelayServer(asyncio.Protocol):
    """One connection.

    Args:
        delay_s: From the last byte of a request to its answer.
        took_s: How long each answer really took is appended here.
    """

    def __init__(self, delay_s: float, took_s: list[float]) -> None:
        self._delay_s = delay_s
        self._took_s = took_s
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer once a request is whole."""
        self._received += data
        end = self._received.find(HEAD_END)
        if end < 0:
            return
        first, *fields = self._received[:end].decode("latin-1").split("\r\n")
        lengths = [one[15:] for one in fields if one.lower().startswith("content-length:")]
        if len(self._received) < end + len(HEAD_END) + int(lengths[0] if lengths else 0):
            return
        self._received.clear()
        method, path, _ = first.split(" ")
        if method == "POST":
            now = monotonic()
            asyncio.get_running_loop().call_later(self._delay_s, self._infer, now)
        else:
            found = path in DESCRIBED
            body = json.dumps(DESCRIBED.get(path, {})).encode()
            self._answer("200 OK" if found else "404 Not Found", body)

    def _infer(self, received: float) -> None:
        described = json.dumps({"model_name": MODEL, "outputs": [OUTPUT]}).encode()
        self._took_s.append(monotonic() - received)
        self._answer(
            "200 OK", described + OUTPUT_BYTES,
            f"Inference-Header-Content-Length: {len(described)}\r\n",
        )  # fmt: skip

    def _answer(self, status: str, body: bytes, field: str = "") -> None:
        head = f"HTTP/1.1 {status}\r\n{field}Content-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


async def serve(delay_s: float, wire: str) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    took_s: list[float] = []
    server = await loop.create_server(
        partial(DelayServer, delay_s, took_s), "127.0.0.1", 0, backlog=256
    )
    ports = {"http": server.sockets[0].getsockname()[1]}
    if wire == "grpc":
        from helpers.load.delay_grpc import listen  # slow to import, and HTTP does without

        _grpc, ports["grpc"] = await listen(delay_s, took_s)
    print(json.dumps(ports), flush=True)
    words = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(words), sys.stdin)
    await words.read()
    took_ms = np.array(took_s) * 1000
    told = {f"p{q}_ms": float(np.percentile(took_ms, q)) for q in (50, 99)} if took_s else {}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]) / 1000, sys.argv[2]))
