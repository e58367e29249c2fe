"""A gRPC client that sends ready-made bytes: one unary call per request on grpc.aio."""

import asyncio
from pathlib import Path
from time import monotonic
from typing import Any

import grpc
from grpc import aio
from tritonclient.grpc import service_pb2

from helpers.load.client import (
    BAD_OUTPUT,
    DISCONNECTED,
    OK,
    REFUSED,
    TIMEOUT,
    TLS,
    Answered,
    Request,
)

METHOD = "/inference.GRPCInferenceService/ModelInfer"
CHANNELS = 4
OPTIONS = [
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),  # or all channels would share one connection
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]
# gRPC gives one status to all of these; only its words tell them apart
NOT_CONNECTED = ("failed to connect", "connection refused", "dns resolution")
NOT_SECURED = ("ssl", "tls", "certificate", "handshake")
CUT_OFF = ("socket closed", "goaway", "connection reset", "broken pipe", "endpoint closing")


def judge(answer: bytes, output_bytes: int) -> str:
    """The outcome of an answer whose status is OK."""
    parts = service_pb2.ModelInferResponse.FromString(answer).raw_output_contents
    return OK if len(parts) == 1 and len(parts[0]) == output_bytes else BAD_OUTPUT


def error_class(code: grpc.StatusCode, details: str) -> str:
    """The outcome of a call that failed."""
    words = details.lower()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TIMEOUT
    if code is grpc.StatusCode.UNAVAILABLE:
        if any(part in words for part in NOT_SECURED):
            return TLS
        if any(part in words for part in NOT_CONNECTED):
            return REFUSED
        if any(part in words for part in CUT_OFF):
            return DISCONNECTED
    return f"grpc-{code.name.lower().replace('_', '-')}"


class GrpcClient:
    """A few channels in turn; gRPC itself puts many calls on one connection.

    Args:
        target: `host:port` of the server.
        messages: Serialised requests, one for each input.
        output_bytes: Bytes of the output tensor of a good answer.
        timeout_s: Deadline of a call from its intended send time, seconds.
        answered: Told the outcome of each request.
        secure: Whether to speak TLS.
        certificate: PEM file to verify the server against; empty for the system's.
    """

    def __init__(
        self,
        target: str,
        messages: list[bytes],
        *,
        output_bytes: int,
        timeout_s: float,
        answered: Answered,
        secure: bool = False,
        certificate: str = "",
    ) -> None:
        trust = Path(certificate).read_bytes() if certificate else None
        credentials = grpc.ssl_channel_credentials(trust) if secure else None
        self._channels = [
            aio.secure_channel(target, credentials, OPTIONS)
            if credentials
            else aio.insecure_channel(target, OPTIONS)
            for _ in range(CHANNELS)
        ]
        self._calls = [channel.unary_unary(METHOD) for channel in self._channels]
        self._messages = messages
        self._output_bytes = output_bytes
        self._timeout_s = timeout_s
        self._answered = answered
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = 0

    async def open(self, connections: int) -> None:
        """Connect the channels; where that fails, the requests will report it."""
        ready = [channel.channel_ready() for channel in self._channels]
        waits = asyncio.gather(*ready, return_exceptions=True)
        try:
            await asyncio.wait_for(waits, min(self._timeout_s, 5.0))
        except TimeoutError:
            return

    def send(self, request: Request) -> None:
        """Send now."""
        task = asyncio.get_running_loop().create_task(self._carry(request))
        request.carrier = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def drop(self, request: Request) -> None:
        """Cancel the call."""
        request.carrier.cancel()

    async def close(self) -> None:
        """Cancel every call and end every channel."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for channel in self._channels:
            await channel.close()

    async def _carry(self, request: Request) -> None:
        self._turn += 1
        call: Any = self._calls[self._turn % len(self._calls)]
        request.sent = monotonic()
        left = self._timeout_s - (request.sent - request.intended)
        size = 0
        try:
            answer = await call(self._messages[request.input], timeout=max(left, 0.001))
        except aio.AioRpcError as error:
            outcome = error_class(error.code(), error.details() or "")
            if outcome.startswith("grpc-"):
                request.done = monotonic()
        else:
            request.done = monotonic()
            outcome, size = judge(answer, self._output_bytes), len(answer)
        self._answered(request, outcome, size)
