"""An HTTP/2 client connection made for timing: many streams, no task or future per stream."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, cast

from hpack import Decoder, HPACKError

from helpers.load import http2_frames as frames
from helpers.load.request import BAD_HTTP, DISCONNECTED, REFUSED, TLS, Request

if TYPE_CHECKING:
    from helpers.load.grpc_client import GrpcClient

# used for every request, so they are looked up in this module
END_STREAM, HEAD, KIND_AT, LARGEST = frames.END_STREAM, frames.HEAD, frames.KIND_AT, frames.LARGEST
NUMBER, SETTING, STREAM_AT = frames.NUMBER, frames.SETTING, frames.STREAM_AT
frame, head, decode = frames.frame, frames.head, frames.decode
LAST_STREAM = LARGEST
RECEIVE_WINDOW = 1 << 30
WRITE_AHEAD = 1 << 20  # bytes handed to the system before bodies are queued


@dataclass(slots=True, eq=False)
class Stream:
    """One request and what has been received of its answer."""

    id: int
    connection: "Http2Connection"
    request: Request
    fields: frames.Fields | None = None  # the first header block
    trailers: frames.Fields | None = None  # the header block that ended the answer
    body: bytes = b""
    reset: int | None = None  # the error code with which the server reset it


class Http2Connection(asyncio.Protocol):
    """A client's end of a connection; `block` is the header block of every request."""

    def __init__(self, owner: "GrpcClient", block: bytes) -> None:
        # "" once the server has sent its settings, else the outcome of requests that waited for it
        self.ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._owner = owner
        self._block = block
        self._transport: asyncio.Transport | None = None
        self._handlers = {
            frames.DATA: self._on_data,
            frames.HEADERS: self._on_headers,
            frames.RST_STREAM: self._on_reset,
            frames.SETTINGS: self._on_settings,
            frames.PING: self._on_ping,
            frames.GOAWAY: self._on_goaway,
            frames.WINDOW_UPDATE: self._on_window_update,
            frames.CONTINUATION: self._on_continuation,
        }
        self._expected: int | None = frames.SETTINGS  # the only type that may come next
        self._rest = b""
        self._arrived = 0.0
        self._received = 0
        # whether the server has acknowledged that it must not use a dynamic table; until then its
        # header blocks depend on each other, so none may be skipped or cached
        self._stateless = False
        self._decoder = Decoder()
        self._begun = 0, 0, b""  # a header block that is not complete: flags, stream, so far
        self._usual: frames.WholeAnswer | None = None
        self._outbox: frames.Outbox
        self._write: Callable[[bytes], None]
        self._streams: dict[int, Stream] = {}
        self._limit = LARGEST
        self._next = 1
        self._retired = False

    @property
    def has_room(self) -> bool:
        """Whether the server allows one more stream."""
        return len(self._streams) < self._limit

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send preface and settings, with receive windows that no answer fills."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not derived from it
        self._write = self._transport.write
        self._outbox = frames.Outbox(self._write)
        secured = transport.get_extra_info("ssl_object")
        if secured is not None and secured.selected_alpn_protocol() != "h2":
            self._break(TLS, unopened=TLS)
            return
        self._transport.set_write_buffer_limits(WRITE_AHEAD)
        wishes = {frames.HEADER_TABLE_SIZE: 0, frames.ENABLE_PUSH: 0,
                  frames.INITIAL_WINDOW: RECEIVE_WINDOW}  # fmt: skip
        payload = b"".join(SETTING.pack(*wish) for wish in wishes.items())
        self._write(frames.PREFACE + frame(frames.SETTINGS, 0, 0, payload))
        self._widen(RECEIVE_WINDOW - frames.DEFAULT_WINDOW)

    def send(self, request: Request, body: bytes) -> None:
        """Start a stream; there must be room. What flow control holds back is sent later."""
        number, size, block = self._next, len(body), self._block
        self._next += 2
        request.carrier = self._streams[number] = Stream(number, self, request)
        request.sent = monotonic()
        begin = head(frames.HEADERS, frames.END_HEADERS, number, len(block)) + block
        if self._outbox.takes(size):
            self._write(b"".join((begin, head(frames.DATA, END_STREAM, number, size), body)))
        else:
            self._write(begin)
            self._outbox.add(number, body)
        if self._next > LAST_STREAM:
            self._retire()

    def cancel(self, stream: Stream) -> None:
        """Cancel a stream: an answer that still arrives is ignored."""
        self._forget(stream)
        self._write(frame(frames.RST_STREAM, 0, stream.id, NUMBER.pack(frames.CANCEL)))
        self._close_if_done()

    def abort(self) -> None:
        """Close the connection at once, without notifying anyone."""
        if self._transport is not None:
            self._streams.clear()
            self._outbox.unsent.clear()
            self._transport.abort()

    def pause_writing(self) -> None:
        """The system's send buffer is full."""
        self._outbox.paused = True

    def resume_writing(self) -> None:
        """The system's send buffer has room again."""
        self._outbox.paused = False
        self._outbox.pump()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection was lost, and with it every open stream."""
        self._break(DISCONNECTED, unopened=REFUSED)

    def data_received(self, data: bytes) -> None:
        """Process complete frames and keep the rest for the next call."""
        self._arrived = monotonic()
        try:
            self._rest = self._read(self._rest + data if self._rest else data)
        except frames.Violation as violation:
            # no stream of the server was processed
            self._write(frame(frames.GOAWAY, 0, 0, NUMBER.pack(0) + NUMBER.pack(*violation.args)))
            self._break(BAD_HTTP, unopened=BAD_HTTP)

    def _read(self, data: bytes) -> bytes:
        at, end = 0, len(data)
        while end - at >= HEAD.size:
            if data[at + KIND_AT] == frames.HEADERS and (taken := self._take_usual(data, at)):
                at += taken
                continue
            high, low, kind, flags, stream = HEAD.unpack_from(data, at)
            size = high << 8 | low
            if size > frames.DEFAULT_FRAME or size != frames.EXACT.get(kind, size):
                raise frames.Violation(frames.FRAME_SIZE_ERROR)
            # the settings disabled push
            if kind == frames.PUSH or self._expected not in (None, kind):
                raise frames.Violation(frames.PROTOCOL_ERROR)
            begin = at + HEAD.size
            if end - begin < size:
                break
            at = begin + size
            handler = self._handlers.get(kind)
            if handler is not None:  # priorities and unknown types are ignored
                handler(flags, stream & LARGEST, data[begin:at])
        return data[at:]

    def _take_usual(self, data: bytes, at: int) -> int:
        """Accept an answer like an earlier one without parsing it; returns its size, or 0."""
        if self._expected is not None or not self._stateless:
            return 0
        usual = self._usual
        body = usual.body(data, at) if usual else None
        if usual is None or body is None:
            self._usual = frames.whole_answer(data, at) or usual
            return 0
        stream = self._streams.get(NUMBER.unpack_from(data, at + STREAM_AT)[0])
        if stream is None or stream.fields is not None or stream.body:
            return 0
        self._count(len(body))
        stream.fields, stream.body, stream.trailers = usual.fields, body, usual.trailers
        self._end(stream)
        return usual.size

    def _count(self, size: int) -> None:
        """Count received body bytes, and widen the receive window in time."""
        self._received += size
        if self._received > RECEIVE_WINDOW // 2:
            self._widen(self._received)
            self._received = 0

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        self._count(len(payload))
        stream = self._streams.get(number)
        if stream is None:
            return
        stream.body += frames.unpadded(flags, payload)
        if flags & END_STREAM:
            self._end(stream)

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        block = frames.unpadded(flags, payload)
        self._begun = flags, number, block[5:] if flags & frames.PRIORITISED else block
        self._on_block(flags)

    def _on_continuation(self, flags: int, number: int, payload: bytes) -> None:
        first_flags, begun, block = self._begun
        if self._expected is None or number != begun:
            raise frames.Violation(frames.PROTOCOL_ERROR)
        if len(block) + len(payload) > frames.BLOCK_LIMIT:
            raise frames.Violation(frames.ENHANCE_YOUR_CALM)
        self._begun = first_flags, number, block + payload
        self._on_block(flags)

    def _on_block(self, latest_flags: int) -> None:
        """Take the header block begun, if the latest frame completed it."""
        self._expected = None if latest_flags & frames.END_HEADERS else frames.CONTINUATION
        if self._expected is not None:
            return
        flags, number, block = self._begun
        try:  # a repeated name keeps its last value
            fields = decode(block) if self._stateless else dict(self._decoder.decode(block, True))
        except HPACKError as error:
            raise frames.Violation(frames.COMPRESSION_ERROR) from error
        stream = self._streams.get(number)
        if stream is None:
            return
        if stream.fields is None or frames.is_interim(stream.fields):
            stream.fields = fields
        if flags & END_STREAM:
            stream.trailers = fields
            self._end(stream)

    def _on_reset(self, flags: int, number: int, payload: bytes) -> None:
        stream = self._streams.get(number)
        if stream is not None:
            (stream.reset,) = NUMBER.unpack(payload)
            self._end(stream)

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        if flags & frames.ACK:
            self._stateless = True
            return
        if len(payload) % SETTING.size:
            raise frames.Violation(frames.FRAME_SIZE_ERROR)
        for name, value in SETTING.iter_unpack(payload):
            if name == frames.MAX_STREAMS:
                self._limit = value
            elif name == frames.MAX_FRAME:
                if not frames.DEFAULT_FRAME <= value < 1 << 24:
                    raise frames.Violation(frames.PROTOCOL_ERROR)
                self._outbox.frame_limit = value
            elif name == frames.INITIAL_WINDOW:
                if value > LARGEST:
                    raise frames.Violation(frames.FLOW_CONTROL_ERROR)
                self._outbox.resize(value)
        self._write(frame(frames.SETTINGS, frames.ACK, 0))
        self._outbox.pump()
        self._expected = None
        if not self.ready.done():
            self.ready.set_result("")
        if not self._retired:
            self._owner.freed(self)

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        if not flags & frames.ACK:
            self._write(frame(frames.PING, frames.ACK, 0, payload))

    def _on_goaway(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) < 2 * NUMBER.size:
            raise frames.Violation(frames.FRAME_SIZE_ERROR)
        last = NUMBER.unpack_from(payload)[0] & LARGEST
        self._retire()
        for stream in [stream for stream in self._streams.values() if stream.id > last]:
            self._forget(stream)
            self._owner.broken(stream, DISCONNECTED)
        self._close_if_done()

    def _on_window_update(self, flags: int, number: int, payload: bytes) -> None:
        self._outbox.widen(number, NUMBER.unpack(payload)[0] & LARGEST)

    def _end(self, stream: Stream) -> None:
        was_unsent = self._forget(stream)
        if was_unsent and stream.reset is None:  # answered before the request was sent completely
            self._write(frame(frames.RST_STREAM, 0, stream.id, NUMBER.pack(frames.NO_ERROR)))
        self._owner.finished(stream, self._arrived)
        if self._retired:
            self._close_if_done()

    def _forget(self, stream: Stream) -> bool:
        """Remove a stream; returns whether a part of its request was still unsent."""
        del self._streams[stream.id]
        return self._outbox.remove(stream.id)

    def _retire(self) -> None:
        self._retired = True
        self._owner.retired(self)

    def _close_if_done(self) -> None:
        if self._retired and not self._streams and self._transport is not None:
            self._transport.close()

    def _break(self, outcome: str, *, unopened: str) -> None:
        if not self.ready.done():
            self.ready.set_result(unopened)
        self._retire()
        streams = list(self._streams.values())
        self.abort()
        for stream in streams:
            self._owner.broken(stream, outcome)

    def _widen(self, size: int) -> None:
        self._write(frame(frames.WINDOW_UPDATE, 0, 0, NUMBER.pack(size)))
