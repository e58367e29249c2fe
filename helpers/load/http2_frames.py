"""HTTP/2 on the byte level (RFC 9113): frames, header blocks, flow control of bodies."""

import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from hpack import Decoder, Encoder, HPACKError

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD = struct.Struct(">HBBBL")  # of a frame: length in 24 bits, type, flags, stream
SETTING = struct.Struct(">HL")
NUMBER = struct.Struct(">L")
DATA, HEADERS, _, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
KIND_AT, STREAM_AT = 3, 5  # offsets of type and stream in a frame's head
EXACT = {RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}  # payload size of frames of this type
END_STREAM = ACK = 0x01
END_HEADERS, PADDED, PRIORITISED = 0x04, 0x08, 0x20
USUAL = ([HEADERS, END_HEADERS], [DATA, 0], [HEADERS, END_HEADERS | END_STREAM])  # type and flags
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME = range(1, 6)
NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR = 0, 1, 3, 6
CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 8, 9, 11

LARGEST = 2**31 - 1  # number of a stream, and size of a window
DEFAULT_WINDOW = 65_535
DEFAULT_FRAME = 16_384
BLOCK_LIMIT = 64 << 10

Fields = Mapping[bytes, bytes]


class Violation(Exception):
    """The server violates HTTP/2; the argument is the error code to send to it."""


def head(kind: int, flags: int, stream: int, size: int) -> bytes:
    """The head of a frame whose payload has `size` bytes."""
    return HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return head(kind, flags, stream, len(payload)) + payload


def unpadded(flags: int, payload: bytes) -> bytes:
    """The payload of a DATA or HEADERS frame without its padding."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Violation(PROTOCOL_ERROR)
    return payload[1 : len(payload) - payload[0]]


def encode(fields: Iterable[tuple[str, str]]) -> bytes:
    """A header block without dynamic table, so that it can be reused on any stream."""
    encoder = Encoder()
    encoder.header_table_size = 0
    return encoder.encode(fields, huffman=False)


@lru_cache(maxsize=512)  # a server's blocks hardly differ, so decoding is nearly always a look-up
def decode(block: bytes) -> Fields:
    """Read a header block that uses no dynamic table; one that does is an `HPACKError`."""
    decoder = Decoder()
    decoder.header_table_size = decoder.max_allowed_table_size = 0
    return dict(decoder.decode(block, raw=True))


def is_interim(fields: Fields) -> bool:
    """Whether another header block with the answer's status will follow."""
    return fields.get(b":status", b"").startswith(b"1")


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """An answer in three frames; those after it differ only in their stream and their body."""

    fields: Fields  # what its first frame says
    trailers: Fields  # what its last frame says
    size: int  # bytes of all three
    parts: tuple[bytes, bytes, bytes, bytes]  # around the stream numbers, without the body

    def body(self, data: bytes, at: int) -> bytes | None:
        """The body of an answer like this one at this offset; None if there is none."""
        number = data[at + STREAM_AT : at + HEAD.size]
        first, second, third, last = self.parts
        start, end = b"".join((first, number, second, number)), b"".join((third, number, last))
        stop = at + self.size - len(end)
        if data.startswith(start, at) and data.startswith(end, stop):
            return data[at + len(start) : stop]
        return None


def whole_answer(data: bytes, at: int) -> WholeAnswer | None:
    """The answer at this offset, if it is complete and has the usual three frames."""
    frames: list[bytes] = []
    for usual in USUAL:
        if len(data) - at < HEAD.size:
            return None
        high, low, *kind, _ = HEAD.unpack_from(data, at)
        end = at + HEAD.size + (high << 8 | low)
        if kind != usual or end > len(data):
            return None
        frames.append(data[at:end])
        at = end
    try:
        fields, trailers = (decode(frames[number][HEAD.size :]) for number in (0, 2))
    except HPACKError:
        return None
    if len({frame[STREAM_AT : HEAD.size] for frame in frames}) > 1 or is_interim(fields):
        return None
    heads = [frame[:STREAM_AT] for frame in frames]
    block, _, last = [frame[HEAD.size :] for frame in frames]
    parts = (heads[0], block + heads[1], heads[2], last)
    return WholeAnswer(fields, trailers, sum(map(len, frames)), parts)


@dataclass(slots=True)
class Unsent:
    """What is left of a body, and how many bytes its stream may send."""

    rest: memoryview
    window: int


class Outbox:
    """Sends bodies as far as the server's windows and the system allow."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.frame_limit = DEFAULT_FRAME  # most bytes of a body in one frame
        self.paused = False  # the system has enough to send
        self._write = write
        self._window = self._initial_window = DEFAULT_WINDOW
        # unlike a dict, it finds its first entry quickly after many were removed before it
        self.unsent: OrderedDict[int, Unsent] = OrderedDict()

    def takes(self, size: int) -> bool:
        """Whether a body may be sent now in one frame; if so, it is counted as sent."""
        limit = min(self._window, self._initial_window, self.frame_limit)
        if size > limit or self.unsent or self.paused:
            return False
        self._window -= size
        return True

    def add(self, stream: int, body: bytes) -> None:
        """Send what is allowed now, and the rest later."""
        self.unsent[stream] = Unsent(memoryview(body), self._initial_window)
        self.pump()

    def remove(self, stream: int) -> bool:
        """Drop the rest of a body; returns whether there was any."""
        return self.unsent.pop(stream, None) is not None

    def widen(self, stream: int, size: int) -> None:
        """The server accepts more bytes on a stream, or on all streams together (stream 0)."""
        if stream == 0:
            self._window += size
        elif stream in self.unsent:
            self.unsent[stream].window += size
        if self.unsent:
            self.pump()

    def resize(self, window: int) -> None:
        """The server changes the initial window of streams, also of open ones."""
        for unsent in self.unsent.values():
            unsent.window += window - self._initial_window
        self._initial_window = window

    def pump(self) -> None:
        """Send what is allowed, the oldest first."""
        done = []
        for stream, unsent in self.unsent.items():
            if self._window <= 0 or self.paused:
                break
            self._feed(stream, unsent)
            if not unsent.rest:
                done.append(stream)
        for stream in done:
            del self.unsent[stream]

    def _feed(self, stream: int, unsent: Unsent) -> None:
        room = min(self._window, unsent.window, len(unsent.rest))
        parts: list[bytes | memoryview] = []
        while room > 0:
            size = min(room, self.frame_limit)
            part, unsent.rest = unsent.rest[:size], unsent.rest[size:]
            parts += head(DATA, 0 if unsent.rest else END_STREAM, stream, size), part
            room -= size
            unsent.window -= size
            self._window -= size
        if parts:
            self._write(b"".join(parts))
