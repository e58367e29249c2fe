"""An HTTP/1.1 client made for timing: callbacks, no tasks or futures per request."""

import asyncio
import json
from functools import lru_cache
from time import monotonic
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from helpers.load import request as requests
from helpers.load.request import BAD_HTTP, BAD_OUTPUT, DISCONNECTED, OK, Answered, Request, Target

HEAD_END = b"\r\n\r\n"
HEAD_LIMIT = 64 << 10


class AnswerHead(NamedTuple):
    """What the head of an answer says."""

    status: int  # 0 where the head is not one that this client can read
    length: int  # bytes of the body
    described: int  # bytes of the JSON in front of the tensors, as KServe v2 counts them
    close: bool  # whether the server ends the connection after this answer


UNREADABLE = AnswerHead(0, 0, 0, True)


def messages(shape: requests.Shape, inputs: requests.Tensors, url: str) -> list[bytes]:
    """Whole HTTP/1.1 requests to a base URL: KServe v2 with the binary tensor extension."""
    tensor = {
        "name": shape.input_name,
        "shape": shape.input,
        "datatype": shape.datatype,
        "parameters": {"binary_data_size": shape.input_bytes},
    }
    output = {"name": shape.output_name, "parameters": {"binary_data": True}}
    described = json.dumps({"inputs": [tensor], "outputs": [output]}).encode()
    target = urlsplit(url)
    head = (
        f"POST {target.path.rstrip('/')}/v2/models/{shape.model}/infer HTTP/1.1\r\n"
        f"Host: {target.netloc}\r\n"
        "Content-Type: application/octet-stream\r\n"
        f"Inference-Header-Content-Length: {len(described)}\r\n"
        f"Content-Length: {len(described) + shape.input_bytes}\r\n\r\n"
    )
    start = head.encode() + described
    return [start + values.tobytes() for values in inputs]


@lru_cache(maxsize=512)  # a server's heads hardly differ, so parsing is nearly always a look-up
def parse_head(raw: bytes) -> AnswerHead:
    """Read the head of an answer, without the empty line that ends it."""
    first, *lines = raw.decode("latin-1").split("\r\n")
    fields = {
        name.strip().lower(): value.strip()
        for name, colon, value in (line.partition(":") for line in lines)
    }
    try:
        version, status = first.split(" ")[:2]
        length = int(fields["content-length"])
        described = int(fields.get("inference-header-content-length", length))
        known = version in ("HTTP/1.0", "HTTP/1.1") and "transfer-encoding" not in fields
        if not known or length < 0 or not status.isdigit():
            return UNREADABLE
    except (ValueError, KeyError):
        return UNREADABLE
    wish = fields.get("connection", "" if version == "HTTP/1.1" else "close").lower()
    return AnswerHead(int(status), length, described, wish == "close")


@lru_cache(maxsize=512)
def declares(described: bytes, output_bytes: int) -> bool:
    """Whether the JSON of an answer declares exactly one binary output of that many bytes."""
    try:
        (output,) = json.loads(described)["outputs"]
        return bool(output["parameters"]["binary_data_size"] == output_bytes)
    except (ValueError, KeyError, TypeError):
        return False


def judge(head: AnswerHead, described: bytes, output_bytes: int) -> str:
    """The outcome of a whole answer, of which `described` is the JSON part."""
    if head.status != 200:
        return f"http-{head.status}"
    whole = head.length - head.described == output_bytes
    return OK if whole and declares(described, output_bytes) else BAD_OUTPUT


class GoodAnswer(NamedTuple):
    """What the last good answer was like; those after it hardly differ."""

    start: bytes  # its head and its JSON, which decide whether an answer is good
    length: int  # bytes of all of it
    size: int  # bytes of its body


class HttpConnection(asyncio.Protocol):
    """One keep-alive connection; carries one request at a time."""

    def __init__(self, client: "HttpClient") -> None:
        self.ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._client = client
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._head: AnswerHead | None = None
        self._body_at = 0
        self.request: Request | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not derived from it
        self.ready.set_result("")

    def send(self, request: Request, message: bytes) -> None:
        """Send a request on this connection, which must be free."""
        assert self._transport is not None
        self.request = request
        request.carrier = self
        request.sent = monotonic()
        self._transport.write(message)

    def data_received(self, data: bytes) -> None:
        """Collect an answer, in however many pieces it comes."""
        if self.request is None:
            self.abort()  # unexpected bytes: the next answer could not be trusted
            return
        good = self._client.good
        if len(data) == good.length and not self._received and data.startswith(good.start):
            self._end(OK, good.size, reusable=True)
            return
        self._received += data
        head = self._head = self._head or self._read_head()
        if head is None:
            return
        surplus = len(self._received) - self._body_at - head.length
        if not head.status:
            self._finish(BAD_HTTP, reusable=False)
        elif surplus >= 0:
            start = bytes(self._received[: self._body_at + head.described])
            outcome = judge(head, start[self._body_at :], self._client.output_bytes)
            reusable = not (surplus or head.close)
            if outcome == OK and reusable:
                self._client.good = GoodAnswer(start, len(self._received), head.length)
            self._finish(outcome, reusable=reusable)

    def _read_head(self) -> AnswerHead | None:
        end = self._received.find(HEAD_END)
        self._body_at = end + len(HEAD_END)
        if end >= 0:
            return parse_head(bytes(self._received[:end]))
        return UNREADABLE if len(self._received) > HEAD_LIMIT else None

    def _finish(self, outcome: str, *, reusable: bool) -> None:
        size = len(self._received) - self._body_at
        self._received, self._head = bytearray(), None
        self._end(outcome, size, reusable=reusable)

    def _end(self, outcome: str, size: int, *, reusable: bool) -> None:
        request, self.request = self.request, None
        assert request is not None
        request.done, request.carrier = monotonic(), None
        # free the connection first: a closed loop sends its next request from the callback
        if reusable:
            self._client.freed(self)
        else:
            self.abort()
        self._client.answered(request, outcome, size)

    def abort(self) -> None:
        """Close the connection; what still arrives on it is ignored."""
        self.request = None
        self._client.lost(self)
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection was lost; a request on it gets no answer."""
        request, self.request = self.request, None
        self._client.lost(self)
        if request is not None:
            request.carrier = None
            self._client.answered(request, DISCONNECTED, len(self._received))


class HttpClient(requests.Client):
    """A pool of connections; requests beyond its limit are queued."""

    def __init__(self, target: Target, answered: Answered) -> None:
        super().__init__(target, answered)
        self._limit = target.limit
        self._free: list[HttpConnection] = []
        self.good = GoodAnswer(b"", 0, 0)

    async def open(self, connections: int) -> None:
        """Open connections in advance; a failure is reported by the requests."""
        for _ in range(min(connections, self._limit)):
            self._open_one()
        while self._opening:
            await asyncio.wait(self._opening)

    def send(self, request: Request) -> None:
        """Send now, or queue for a connection."""
        if self._free:
            self._free.pop().send(request, self._messages[request.input])
        else:
            self._waiting.append(request)
            self._grow()

    def drop(self, request: Request) -> None:
        """Drop a request and close its connection: the answer could still arrive on it."""
        if isinstance(request.carrier, HttpConnection):
            request.carrier.abort()
        else:
            self._waiting.remove(request)

    def freed(self, connection: HttpConnection) -> None:
        """A connection can carry the next request."""
        if self._waiting:
            request = self._waiting.popleft()
            connection.send(request, self._messages[request.input])
        else:
            self._free.append(connection)

    def lost(self, connection: HttpConnection) -> None:
        """A connection was lost; queued requests may need another one."""
        if connection in self._alive:
            self._alive.remove(connection)
            if connection in self._free:
                self._free.remove(connection)
            self._grow()

    def _grow(self) -> None:
        room = self._limit - len(self._alive) - len(self._opening)
        for _ in range(min(room, len(self._waiting) - len(self._opening))):
            self._open_one()

    def _connection(self) -> HttpConnection:
        return HttpConnection(self)

    def _connected(self, connection: HttpConnection, outcome: str) -> None:
        if not outcome:
            self._alive.add(connection)
            self.freed(connection)
        elif self._waiting:
            self.answered(self._waiting.popleft(), outcome, 0)
            self._grow()
