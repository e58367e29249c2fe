"""A gRPC server made of raw HTTP/2 frames, which does to a client whatever a test says."""

import asyncio
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache

from hpack import Decoder, Encoder
from tritonclient.grpc import service_pb2

from helpers.load import http2_frames as h2
from helpers.load.http2_frames import DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, encode, frame

from .known_server import TENSOR, listening

Fields = tuple[tuple[str, str], ...]
Answer = Callable[[int], bytes]  # stream → bytes
HEAD: Fields = ((":status", "200"), ("content-type", "application/grpc"))
GOOD: Fields = (("grpc-status", "0"),)
HTML: Fields = ((":status", "200"), ("content-type", "text/html"))
PRIORITY, UNKNOWN = 2, 0xAA
number = h2.NUMBER.pack


def padded(payload: bytes, size: int) -> bytes:
    return bytes([size]) + payload + bytes(size)


@cache
def message(tensor: bytes = TENSOR) -> bytes:
    """A `ModelInferResponse` as Triton gives it."""
    response = service_pb2.ModelInferResponse(model_name="mobilenetv2", model_version="1")
    response.outputs.add(name="logits", datatype="FP32", shape=[1, 1000])
    response.raw_output_contents.append(tensor)
    serialised: bytes = response.SerializeToString()
    return serialised


def prefixed(content: bytes, *, compressed: int = 0, length: int | None = None) -> bytes:
    """A message as gRPC puts it on a stream."""
    return bytes([compressed]) + number(len(content) if length is None else length) + content


def made(*frames: tuple[int, int, bytes]) -> Answer:
    """An answer of frames that are given by type, flags and payload."""

    def answer(stream: int) -> bytes:
        return b"".join(
            frame(kind, flags, 0 if kind == h2.SETTINGS else stream, payload)
            for kind, flags, payload in frames
        )

    return answer


def replies(body: bytes | None = None, head: Fields = HEAD, trailers: Fields = GOOD) -> Answer:
    """A whole answer; arguments make it a wrong one."""
    return made(
        (HEADERS, END_HEADERS, encode(head)),
        (DATA, 0, prefixed(message()) if body is None else body),
        (HEADERS, END_HEADERS | END_STREAM, encode(trailers)),
    )


def only_headers(*fields: tuple[str, str]) -> Answer:
    return made((HEADERS, END_HEADERS | END_STREAM, encode(fields)))


def status(code: int) -> Answer:
    return only_headers(*HEAD, ("grpc-status", str(code)), ("grpc-message", "no%20room"))


answer = replies()
TWO = service_pb2.ModelInferResponse(raw_output_contents=[TENSOR, TENSOR]).SerializeToString()
ODD = service_pb2.ModelInferResponse(raw_output_contents=[TENSOR]).SerializeToString()
BLOCK, BODY, TRAILERS = encode(HEAD), prefixed(message()), encode(GOOD)
padded_and_continued = made(
    (HEADERS, PADDED | h2.PRIORITISED, padded(number(0) + b"\x0f" + BLOCK[:3], 7)),
    (h2.CONTINUATION, 0, BLOCK[3:9]),
    (h2.CONTINUATION, END_HEADERS, BLOCK[9:]),
    (DATA, PADDED, padded(BODY[:1000], 255)),
    (DATA, PADDED, padded(b"", 0)),
    (DATA, 0, BODY[1000:]),
    (HEADERS, PADDED | END_STREAM, padded(TRAILERS[:1], 30)),
    (h2.CONTINUATION, END_HEADERS, TRAILERS[1:]),
)
before = made(
    (HEADERS, END_HEADERS, encode(((":status", "103"), ("link", "</style.css>")))),
    (PRIORITY, 0, b"12345"),
    (UNKNOWN, 0xFF, b"a type that nobody knows"),
)
after = made((h2.RST_STREAM, 0, number(0)), (h2.WINDOW_UPDATE, 0, number(1)))
OUTCOMES: list[tuple[Answer, str]] = [
    (answer, "ok"),
    (padded_and_continued, "ok"),
    (lambda stream: before(stream) + answer(stream) + after(stream) + answer(stream), "ok"),
    (lambda stream: answer(stream | 1 << 31), "ok"),  # the reserved bit
    (replies(prefixed(ODD + b"\x0a\x01m")), "ok"),  # fields in another order
    (replies(prefixed(message(TENSOR[:-4]))), "bad-output"),
    (replies(prefixed(message())[:-7]), "bad-output"),
    (replies(prefixed(TWO)), "bad-output"),
    (replies(b""), "bad-output"),
    (only_headers(*HEAD, *GOOD), "bad-output"),
    (status(14), "grpc-unavailable"),
    (status(99), "grpc-unknown"),
    (status(4), "timeout"),
    (replies(trailers=(("grpc-status", "13"),)), "grpc-internal"),
    (replies(b"<html>", ((":status", "503"), ("content-type", "text/html"))), "http-503"),
    (replies(head=((":status", "502"), *HEAD[1:])), "http-502"),
    (only_headers((":status", "464")), "http-464"),
    (replies(head=HTML), "bad-http"),
    (replies(head=((":status", "103"),)), "bad-http"),
    (replies(trailers=(("x", "y"),)), "bad-http"),
    (made((DATA, END_STREAM, b"x")), "bad-http"),
    (made((h2.RST_STREAM, 0, number(2))), "grpc-internal"),
    (made((h2.RST_STREAM, 0, number(7))), "grpc-unavailable"),
]
VIOLATIONS: list[Answer] = [
    lambda _: b"\xff\xff\xff" + bytes(6),
    lambda stream: frame(HEADERS, 0, stream) + answer(stream),
    made((h2.CONTINUATION, END_HEADERS, BLOCK)),
    made((HEADERS, END_HEADERS | END_STREAM, b"\xbe")),  # entry 62 of the table
    made((DATA, PADDED, b"\x02x")),
    made((h2.PUSH, END_HEADERS, number(2))),
    made((h2.SETTINGS, 0, b"12345")),
    made((h2.WINDOW_UPDATE, 0, b"12345")),
]


@dataclass
class Peer:
    """One connection, seen from the server."""

    server: "Scripted"
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: int = 0  # calls on this connection, the present one included
    encoder: Encoder = field(default_factory=Encoder)
    decoder: Decoder = field(default_factory=Decoder)
    bodies: dict[int, bytes] = field(default_factory=dict)  # of requests that are not answered
    frames: list[tuple[int, int]] = field(default_factory=list)  # type and flags of each received

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def listen(self) -> None:
        self.say(self.server.hello)
        if await self.reader.readexactly(len(h2.PREFACE)) != h2.PREFACE:
            return
        if self.server.later:
            asyncio.get_running_loop().call_later(0.2, self.say, self.server.later)
        while True:
            head = await self.reader.readexactly(9)
            kind, flags, stream = struct.unpack(">BBI", head[3:])
            payload = await self.reader.readexactly(int.from_bytes(head[:3]))
            self.frames.append((kind, flags))
            await self._take(kind, flags, stream, payload)
            await asyncio.sleep(0)  # to each connection its turn

    async def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        server = self.server
        if kind == h2.SETTINGS and not flags & h2.ACK and server.acknowledges:
            self.say(frame(h2.SETTINGS, h2.ACK, 0))
        elif kind == HEADERS:
            self.bodies[stream] = b""
            fields = self.decoder.decode(payload)
            server.asked.append({str(name): str(value) for name, value in fields})
            server.most_streams = max(server.most_streams, len(self.bodies))
        elif kind == h2.WINDOW_UPDATE and stream == 0:
            server.granted += int.from_bytes(payload)
        elif kind == h2.RST_STREAM:
            self.bodies.pop(stream, None)
            server.resets.append(int.from_bytes(payload))
        elif kind == DATA and stream in self.bodies:
            self.bodies[stream] += payload
            if payload:
                server.received(self, stream, len(payload))
            if flags & END_STREAM:
                self.requests += 1
                server.received_bodies.append(self.bodies[stream])
                await server.behaviour(self, stream)

    def reply(self, stream: int, data: bytes | None = None) -> None:
        """Answer a call, well unless bytes are given."""
        self.bodies.pop(stream, None)
        self.say(answer(stream) if data is None else data)


Behaviour = Callable[[Peer, int], Awaitable[None]]


async def good(peer: Peer, stream: int) -> None:
    peer.reply(stream)


def grant(peer: Peer, stream: int, size: int) -> None:
    """Let the client send so much more, on the stream and in all."""
    for number_of in (stream, 0):
        peer.say(frame(h2.WINDOW_UPDATE, 0, number_of, number(size)))


@dataclass
class Scripted:
    """What the server does, and what it has seen."""

    behaviour: Behaviour = good  # about a call that has come in whole
    received: Callable[[Peer, int, int], None] = grant  # about a piece of a body
    hello: bytes = frame(h2.SETTINGS, 0, 0)  # sent first
    later: bytes = b""  # sent 0.2 s after that
    acknowledges: bool = True  # confirms the client's settings
    connections: int = 0
    most_streams: int = 0
    peers: list[Peer] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    received_bodies: list[bytes] = field(default_factory=list)
    resets: list[int] = field(default_factory=list)
    granted: int = 0
    port: int = 0
    listener: asyncio.Server | None = None

    @property
    def calls(self) -> int:
        return len(self.received_bodies)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        peer = Peer(self, reader, writer)
        self.peers.append(peer)
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            await peer.listen()

    def die(self) -> None:
        """Listen no more, and cut every connection."""
        assert self.listener is not None
        self.listener.close()
        for peer in self.peers:
            peer.writer.transport.abort()


@contextmanager
def scripted(tls: ssl.SSLContext | None = None) -> Iterator[Scripted]:
    """Serve in a thread until the end of the context."""
    server = Scripted()
    with listening(server.connected, tls) as (server.listener, server.port):
        yield server
