"""The same requests through Triton's own client: slow, and only there to check the engine against.

One task per request, on `tritonclient.http.aio` and `tritonclient.grpc.aio`. Its counts, outcomes
and inputs must be those of the engine; its times are not measured against anything.
"""

import asyncio
import ssl
from collections.abc import Sequence
from time import monotonic
from typing import Any, Literal

import aiohttp
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import aio as triton_grpc
from tritonclient.http import aio as triton_http
from tritonclient.utils import InferenceServerException

from helpers.load.request import (
    BAD_HTTP,
    BAD_OUTPUT,
    DISCONNECTED,
    OK,
    REFUSED,
    TIMEOUT,
    TLS,
    Answered,
    Request,
    Shape,
)
from helpers.serving.endpoint import Endpoint

CHANNEL = [
    ("grpc.enable_http_proxy", 0),  # the engine does not go through a proxy either
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]
# gRPC gives one status to all of these; only its words tell them apart
UNAVAILABLE = {
    TLS: ("ssl", "tls", "certificate", "handshake"),
    REFUSED: ("failed to connect", "connection refused", "dns resolution"),
    DISCONNECTED: (
        "socket closed",
        "goaway",
        "connection reset",
        "broken pipe",
        "endpoint closing",
    ),
}


def error_class(error: Exception) -> str:
    """The outcome of an inference that raised this.

    Raises:
        Exception: The error itself, where it is none that a server can cause.
    """
    match error:
        case InferenceServerException():
            return status_class(error.status() or "", error.message() or "")
        case aiohttp.ClientConnectorSSLError() | aiohttp.ClientConnectorCertificateError():
            return TLS
        case aiohttp.ClientConnectorError():
            return REFUSED
        case aiohttp.ClientOSError() | aiohttp.ClientPayloadError():
            return DISCONNECTED
        case aiohttp.ServerDisconnectedError():
            return DISCONNECTED
        case aiohttp.ClientError():
            return BAD_HTTP
        case TimeoutError():
            return TIMEOUT
        case ValueError() | KeyError() | TypeError():
            return BAD_OUTPUT
    raise error


def status_class(status: str, words: str) -> str:
    """The outcome behind a status as Triton's client has it: `503`, `StatusCode.UNAVAILABLE`."""
    if status.isdigit():
        return f"http-{status}"
    name, words = status.removeprefix("StatusCode.").lower().replace("_", "-"), words.lower()
    if name == "deadline-exceeded":
        return TIMEOUT
    if name == "unavailable":
        for outcome, parts in UNAVAILABLE.items():
            if any(part in words for part in parts):
                return outcome
    return f"grpc-{name}" if name else BAD_OUTPUT


class ReferenceClient:
    """Carries requests as an ordinary user of `tritonclient` would.

    Args:
        endpoint: The server.
        protocol: Over which of its APIs.
        shape: Names of model and tensors, and the size of a good answer.
        inputs: The input of each request, in turn.
        timeout_s: How long a request may take from its intended send time, seconds.
        answered: Told the outcome of each request.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        protocol: Literal["http", "grpc"],
        shape: Shape,
        inputs: Sequence[npt.NDArray[np.float32]],
        *,
        timeout_s: float,
        answered: Answered,
    ) -> None:
        self._endpoint = endpoint
        self._protocol = protocol
        self._shape = shape
        self._api: Any = triton_http if protocol == "http" else triton_grpc
        self._inputs = [self._tensor(one) for one in inputs]
        self._outputs = [self._api.InferRequestedOutput(shape.output_name)]
        self._timeout_s = timeout_s
        self._answered = answered
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: Any = None

    async def open(self, connections: int) -> None:
        """Make the client; it connects when the first request needs it."""
        secure, certificate = self._endpoint.http.startswith("https:"), self._endpoint.certificate
        if self._protocol == "http":
            trust = ssl.create_default_context(cafile=certificate or None) if secure else None
            self._client = triton_http.InferenceServerClient(
                self._endpoint.http.partition("://")[2],
                conn_limit=connections,
                ssl=secure,
                ssl_context=trust,
            )
        else:
            self._client = triton_grpc.InferenceServerClient(
                self._endpoint.grpc,
                ssl=secure,
                root_certificates=certificate or None,
                channel_args=CHANNEL,
            )

    def send(self, request: Request) -> None:
        """Send now."""
        request.carrier = asyncio.get_running_loop().create_task(self._carry(request))
        self._tasks.add(request.carrier)
        request.carrier.add_done_callback(self._tasks.discard)

    def drop(self, request: Request) -> None:
        """Cancel the inference."""
        request.carrier.cancel()

    async def close(self) -> None:
        """Cancel every inference and end every connection."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()

    def _tensor(self, values: npt.NDArray[np.float32]) -> Any:
        tensor = self._api.InferInput(self._shape.input_name, list(values.shape), "FP32")
        tensor.set_data_from_numpy(values)
        return tensor

    async def _carry(self, request: Request) -> None:
        request.sent = monotonic()
        size = 0
        try:
            async with asyncio.timeout(request.intended + self._timeout_s - request.sent):
                answer = await self._client.infer(
                    self._shape.model, [self._inputs[request.input]], outputs=self._outputs
                )
            size = answer.as_numpy(self._shape.output_name).nbytes
            outcome = OK if size == self._shape.output_bytes else BAD_OUTPUT
        except Exception as error:
            outcome = error_class(error)
        if outcome not in (TIMEOUT, TLS, REFUSED, DISCONNECTED):
            request.done = monotonic()
        self._answered(request, outcome, size)
