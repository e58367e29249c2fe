"""A gRPC client made for timing: ready-made messages over its own HTTP/2, callbacks only."""

import asyncio
import math
from collections import deque
from functools import lru_cache
from time import monotonic
from urllib.parse import urlsplit
from weakref import WeakSet

from google.protobuf.message import DecodeError
from grpc import StatusCode
from tritonclient.grpc import service_pb2

from helpers.load import request as requests
from helpers.load.http2 import Http2Connection, Stream
from helpers.load.http2_frames import encode
from helpers.load.request import BAD_HTTP, BAD_OUTPUT, OK, TIMEOUT, Answered, Request, Target

METHOD = "/inference.GRPCInferenceService/ModelInfer"
CHANNELS = 4
PAUSE_S = 0.1  # between attempts to replace a connection while others carry the load
PREFIX = 5  # bytes before a message: whether it is compressed, and its length
# the `grpc-status` of a failure → its outcome
OUTCOMES = {
    b"%d" % number: f"grpc-{name.replace(' ', '-')}"
    for number, name in (status.value for status in StatusCode)
} | {b"4": TIMEOUT}
# gRPC over HTTP/2: the status that stands for a stream's error code; for all others, internal
RESETS = {7: "unavailable", 8: "cancelled", 11: "resource-exhausted", 12: "permission-denied"}


def messages(shape: requests.Shape, inputs: requests.Tensors) -> list[bytes]:
    """Serialised `ModelInferRequest` messages, one for each input."""
    serialised = []
    for values in inputs:
        message = service_pb2.ModelInferRequest(model_name=shape.model)
        message.inputs.add(name=shape.input_name, datatype=shape.datatype, shape=shape.input)
        message.outputs.add(name=shape.output_name)
        message.raw_input_contents.append(values.tobytes())
        serialised.append(message.SerializeToString())
    return serialised


def prefix(length: int) -> bytes:
    """The gRPC prefix of an uncompressed message of this length."""
    return b"\0" + length.to_bytes(4)


def judge(answer: Stream, output_bytes: int) -> str:
    """The outcome of an answer that has ended."""
    if answer.reset is not None:
        return f"grpc-{RESETS.get(answer.reset, 'internal')}"
    fields, trailers = answer.fields or {}, answer.trailers or {}
    http = fields.get(b":status", b"")
    if http != b"200":
        return f"http-{int(http)}" if http.isdigit() else BAD_HTTP
    status = trailers.get(b"grpc-status")
    if status is None or not fields.get(b"content-type", b"").startswith(b"application/grpc"):
        return BAD_HTTP
    if status != b"0":
        return OUTCOMES.get(status, "grpc-unknown")
    return OK if is_good(answer.body, output_bytes) else BAD_OUTPUT


def is_good(body: bytes, output_bytes: int) -> bool:
    """Whether it is one message with exactly one output of this size."""
    if announces(body[:-output_bytes], output_bytes):
        return True
    message = body[PREFIX:]
    return body.startswith(prefix(len(message))) and outputs(message) == [output_bytes]


@lru_cache(maxsize=512)  # a server's answers differ in their tensors only
def announces(start: bytes, output_bytes: int) -> bool:
    """Whether a body that starts like this has exactly one output, the bytes that follow."""
    tensor = bytes(output_bytes)
    alone = service_pb2.ModelInferResponse(raw_output_contents=[tensor]).SerializeToString()
    described = start[PREFIX:]
    if not start.startswith(prefix(len(described) + output_bytes)):
        return False
    tag = alone[:-output_bytes]
    return described.endswith(tag) and outputs(described.removesuffix(tag)) == []


def outputs(message: bytes) -> list[int] | None:
    """Bytes of each raw output of a `ModelInferResponse`; None where it is none."""
    try:
        parsed = service_pb2.ModelInferResponse.FromString(message)
    except DecodeError:
        return None
    return [len(output) for output in parsed.raw_output_contents]


class GrpcClient(requests.Client):
    """A few connections in turn, with many calls on each; calls beyond their limit are queued."""

    def __init__(self, target: Target, answered: Answered) -> None:
        super().__init__(target, answered)
        self._patience_s = min(target.timeout_s, self._patience_s)
        if self._tls:
            self._tls.set_alpn_protocols(["h2"])
        fields = {
            ":method": "POST",
            ":scheme": "https" if self._secure else "http",
            ":path": METHOD,
            ":authority": urlsplit(target.url).netloc,
            "te": "trailers",
            "content-type": "application/grpc",
            "grpc-timeout": f"{math.ceil(target.timeout_s * 1000)}m",
        }
        self._block = encode(fields.items())
        self._bodies = [prefix(len(message)) + message for message in target.messages]
        self._pool: deque[Http2Connection] = deque()
        self._alive = WeakSet()  # also connections that only finish their calls
        self._next_attempt = 0.0

    async def open(self, connections: int) -> None:
        """Open a few connections, which carry any number of calls; requests report a failure."""
        for _ in range(CHANNELS):
            self._open_one()
        await asyncio.wait(self._opening)

    def send(self, request: Request) -> None:
        """Send now, or queue for a connection with room."""
        connection = self._next_with_room()
        if connection is not None:
            connection.send(request, self._bodies[request.input])
        else:
            self._waiting.append(request)
        if len(self._pool) < CHANNELS:
            self._replace()

    def drop(self, request: Request) -> None:
        """Cancel a call, also at the server."""
        if isinstance(request.carrier, Stream):
            request.carrier.connection.cancel(request.carrier)
            request.carrier = None
            self._send_waiting()
        else:
            self._waiting.remove(request)

    def freed(self, connection: Http2Connection) -> None:
        """A connection can carry calls, or more than before."""
        if connection not in self._pool:
            self._pool.append(connection)
            self._alive.add(connection)
        self._send_waiting()

    def retired(self, connection: Http2Connection) -> None:
        """A connection takes no more calls; the next call opens another one."""
        if connection in self._pool:
            self._pool.remove(connection)
        if self._waiting:
            self._replace()

    def finished(self, stream: Stream, at: float) -> None:
        """Judge an answer and pass its outcome on."""
        outcome = judge(stream, self.output_bytes)
        if outcome != TIMEOUT:
            stream.request.done = at
        self.broken(stream, outcome)

    def broken(self, stream: Stream, outcome: str) -> None:
        """Report the outcome of a call, also one without an answer."""
        stream.request.carrier = None
        if self._waiting:
            self._send_waiting()
        self.answered(stream.request, outcome, max(len(stream.body) - PREFIX, 0))

    def _next_with_room(self) -> Http2Connection | None:
        for _ in range(len(self._pool)):
            self._pool.rotate()
            if self._pool[0].has_room:
                return self._pool[0]
        return None

    def _send_waiting(self) -> None:
        while self._waiting and (connection := self._next_with_room()) is not None:
            request = self._waiting.popleft()
            connection.send(request, self._bodies[request.input])

    def _replace(self) -> None:
        now = monotonic()
        if not self._opening and (not self._pool or now >= self._next_attempt):
            self._next_attempt = now + PAUSE_S
            self._open_one()

    def _connection(self) -> Http2Connection:
        return Http2Connection(self, self._block)

    def _connected(self, connection: Http2Connection, outcome: str) -> None:
        if outcome and not (self._pool or self._opening):  # nothing is open or opening
            waiting, self._waiting = self._waiting, deque()
            for request in waiting:
                self.answered(request, outcome, 0)
        elif not outcome and self._waiting:
            self._replace()
