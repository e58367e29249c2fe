"""What the client adds to latency: the engine is fired at a server with a known delay.

The server is a process, `python -m helpers.load.calibration MS http|grpc`. It prints its port, and,
once standard input ends, how long its answers really took, both as JSON. It answers inferences, and
nothing else.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, cast

import numpy as np

from helpers.errors import Problem
from helpers.load.http_client import HEAD_END
from helpers.load.records import Calibration
from helpers.load.request import Shape
from helpers.paths import ROOT
from helpers.scenario import Scenario
from helpers.serving.records import Endpoint

DELAY_MS = 5.0
RATE, SECONDS, WARMUP_S = 400.0, 2.0, 0.5  # samples enough for a P99
END_S = 5.0
SHAPE = Shape("delay", batch=1, dims=(16,), outputs=16, input_name="in", output_name="out")
OUTPUT_BYTES = bytes(SHAPE.output_bytes)
OUTPUT = {"name": "out", "datatype": "FP32", "shape": [1, SHAPE.outputs],
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
            "model": SHAPE.model, "protocol": wire, "inputs": 1,
            "phases": [
                {"name": "warm-up", **steady, "duration_s": WARMUP_S, "warmup": True},
                {"name": "steady", **steady, "duration_s": SECONDS},
            ],
        }
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, _delay_server(wire) as (address, server):
        endpoint = Endpoint(
            http=f"http://{address}", grpc=address, metrics="", server="known delay"
        )
        result = await engine.run(
            scenario, endpoint, shape=SHAPE, folder=Path(folder),
            on_event=lambda kind, what: None,
        )  # fmt: skip
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
def _delay_server(wire: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    command = [sys.executable, "-m", "helpers.load.calibration", f"{DELAY_MS}", wire]
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        if not line:
            raise Problem("The server for the calibration did not start.")
        yield f"127.0.0.1:{json.loads(line)}", server
    finally:
        server.kill()
        server.communicate()


@dataclass(eq=False)
class DelayConnection(asyncio.Protocol):
    """One HTTP connection to the server; how long each answer really took goes to `took_s`."""

    delay_s: float
    took_s: list[float]
    _received: bytearray = field(default_factory=bytearray)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer, after the delay, once a request is whole."""
        self._received += data
        head, found, body = self._received.partition(HEAD_END)
        if not found:
            return
        length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
        if len(body) < int(length):
            return
        self._received.clear()
        asyncio.get_running_loop().call_later(self.delay_s, self._answer, monotonic())

    def _answer(self, received: float) -> None:
        described = json.dumps({"model_name": SHAPE.model, "outputs": [OUTPUT]}).encode()
        self.took_s.append(monotonic() - received)
        head = (
            f"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: {len(described)}\r\n"
            f"Content-Length: {len(described) + len(OUTPUT_BYTES)}\r\n\r\n"
        )
        self._transport.write(head.encode() + described + OUTPUT_BYTES)


async def listen_grpc(delay_s: float, took_s: list[float]) -> tuple[Any, int]:
    """The same over gRPC: the server, which ends when it is garbage collected, and its port."""
    from grpc import aio  # slow to import, and HTTP does not need it
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
        async def ModelInfer(self, request: Any, context: Any) -> Any:
            received = monotonic()
            await asyncio.sleep(delay_s)
            answer = service_pb2.ModelInferResponse(model_name=SHAPE.model)
            answer.outputs.add(name="out", datatype="FP32", shape=[1, SHAPE.outputs])
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
    if wire == "grpc":
        server, port = await listen_grpc(delay_s, took_s)
    else:
        connection = partial(DelayConnection, delay_s, took_s)
        server = await loop.create_server(connection, "127.0.0.1", 0, backlog=256)
        port = server.sockets[0].getsockname()[1]
    print(port, flush=True)
    parent = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(parent), sys.stdin)
    await parent.read()
    took_ms = np.array(took_s) * 1000
    truth = {f"p{q}_ms": float(np.percentile(took_ms, q)) for q in (50, 99)} if took_s else {}
    print(json.dumps(truth), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]) / 1000, sys.argv[2]))
