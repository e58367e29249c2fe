"""What the client adds to latency: the engine is fired at a server with a known delay.

The server is a process, `python -m helpers.load.calibration MS http|grpc`. It prints where it
listens, and, once standard input ends, how long its answers really took, both as JSON. It speaks
as much of KServe v2 as a load needs.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, cast

import numpy as np

from helpers.errors import Problem
from helpers.load.http_client import HEAD_END
from helpers.load.records import Calibration
from helpers.paths import ROOT
from helpers.scenario import Scenario
from helpers.serving.endpoint import Endpoint

DELAY_MS = 5.0
RATE, SECONDS, WARMUP_S = 400.0, 2.0, 0.5  # samples enough for a P99
END_S = 5.0
MODEL, FLOATS = "delay", 16
TENSOR = {"datatype": "FP32", "shape": [-1, FLOATS]}
METADATA = {
    f"/v2/models/{MODEL}/ready": {},
    f"/v2/models/{MODEL}/config": {"max_batch_size": 1},
    f"/v2/models/{MODEL}": {
        "inputs": [{"name": "in", **TENSOR}],
        "outputs": [{"name": "out", **TENSOR}],
    },
}
OUTPUT_BYTES = bytes(FLOATS * 4)
OUTPUT = {"name": "out", "datatype": "FP32", "shape": [1, FLOATS],
          "parameters": {"binary_data_size": len(OUTPUT_BYTES)}}  # fmt: skip


async def measure(wire: str) -> Calibration:
    """Fire at a server on this machine that answers after 5 ms, over `http` or `grpc`.

    Raises:
        Problem: The server did not start, or a request to it failed.
    """
    from helpers.load import engine  # slow to import, and the server does not need it

    steady = {"arrivals": "poisson", "rate": RATE}
    scenario = Scenario.model_validate(
        {
            "name": f"calibration-{wire}",
            "model": MODEL, "protocol": wire, "inputs": 1,
            "phases": [
                {"name": "warm-up", **steady, "duration_s": WARMUP_S, "warmup": True},
                {"name": "steady", **steady, "duration_s": SECONDS},
            ],
        }
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, _delay_server(wire) as (endpoint, server):
        result = await engine.run(
            scenario, endpoint, folder=Path(folder), on_event=lambda kind, what: None
        )
        output, _ = server.communicate(timeout=END_S)
        truth: dict[str, float] = json.loads(output)
    measured = result.report.measured
    if measured.errors or "p99" not in measured.latency:
        raise Problem(f"The load engine could not be calibrated: {measured.errors or 'too slow'}.")
    return Calibration(
        wire=wire,
        delay_ms=DELAY_MS,
        rate=RATE,
        requests=measured.ok,
        added_p50_ms=measured.latency["p50"].ms - truth["p50_ms"],
        added_p99_ms=measured.latency["p99"].ms - truth["p99_ms"],
        send_error_p99_ms=measured.send_error_p99_ms,
    )


@contextmanager
def _delay_server(wire: str) -> Iterator[tuple[Endpoint, "subprocess.Popen[str]"]]:
    server = subprocess.Popen(
        [sys.executable, "-m", "helpers.load.calibration", f"{DELAY_MS}", wire],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        if not line:
            raise Problem("The server for the calibration did not start.")
        ports = json.loads(line)
        url = f"http://127.0.0.1:{ports['http']}"
        yield Endpoint(
            http=url,
            grpc=f"127.0.0.1:{ports.get('grpc', 0)}",
            metrics=f"{url}/metrics",
            server="known delay",
        ), server  # fmt: skip
    finally:
        server.kill()
        server.communicate()


class DelayConnection(asyncio.Protocol):
    """One HTTP connection to the server; how long each answer really took goes to `took_s`."""

    def __init__(self, delay_s: float, took_s: list[float]) -> None:
        self._delay_s = delay_s
        self._took_s = took_s
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer once a request is whole."""
        self._received += data
        end = self._received.find(HEAD_END)
        if end < 0:
            return
        first, *fields = self._received[:end].decode("latin-1").split("\r\n")
        lengths = [line[15:] for line in fields if line.lower().startswith("content-length:")]
        if len(self._received) < end + len(HEAD_END) + int(lengths[0] if lengths else 0):
            return
        self._received.clear()
        method, path, _ = first.split(" ")
        if method == "POST":
            asyncio.get_running_loop().call_later(self._delay_s, self._infer, monotonic())
        else:
            status = "200 OK" if path in METADATA else "404 Not Found"
            self._answer(status, json.dumps(METADATA.get(path, {})).encode())

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


async def listen_grpc(delay_s: float, took_s: list[float]) -> tuple[Any, int]:
    """The same over gRPC: the server, which ends when it is garbage collected, and its port."""
    from grpc import aio  # slow to import, and HTTP does not need it
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
        async def ModelReady(self, request: Any, context: Any) -> Any:
            return service_pb2.ModelReadyResponse(ready=request.name == MODEL)

        async def ModelInfer(self, request: Any, context: Any) -> Any:
            received = monotonic()
            await asyncio.sleep(delay_s)
            answer = service_pb2.ModelInferResponse(model_name=MODEL)
            answer.outputs.add(name="out", datatype="FP32", shape=[1, FLOATS])
            answer.raw_output_contents.append(OUTPUT_BYTES)
            took_s.append(monotonic() - received)
            return answer

    server = aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(), server)
    port: int = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, port


async def serve(delay_s: float, wire: str) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    took_s: list[float] = []
    connection = partial(DelayConnection, delay_s, took_s)
    server = await loop.create_server(connection, "127.0.0.1", 0, backlog=256)
    ports = {"http": server.sockets[0].getsockname()[1]}
    if wire == "grpc":
        _grpc, ports["grpc"] = await listen_grpc(delay_s, took_s)
    print(json.dumps(ports), flush=True)
    parent = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(parent), sys.stdin)
    await parent.read()
    took_ms = np.array(took_s) * 1000
    truth = {f"p{q}_ms": float(np.percentile(took_ms, q)) for q in (50, 99)} if took_s else {}
    print(json.dumps(truth), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]) / 1000, sys.argv[2]))
