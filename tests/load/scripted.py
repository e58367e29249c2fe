"""A gRPC server made of raw HTTP/2 frames, which does to a client whatever a test says."""

import asyncio
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache

from hpack import Decoder, Encoder
from tritonclient.grpc import service_pb2

from helpers.load.http2_frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    NUMBER,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    encode,
    frame,
)  # fmt: skip

from .known_server import TENSOR, in_thread

Fields = tuple[tuple[str, str], ...]
HEAD: Fields = ((":status", "200"), ("content-type", "application/grpc"))
GOOD: Fields = (("grpc-status", "0"),)
plain = cache(encode)
number = NUMBER.pack


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


def answer(
    stream: int, body: bytes | None = None, head: Fields = HEAD, trailers: Fields = GOOD
) -> bytes:
    """A whole answer; arguments make it a wrong one."""
    content = prefixed(message()) if body is None else body
    return (
        frame(HEADERS, END_HEADERS, stream, plain(head))
        + frame(DATA, 0, stream, content)
        + frame(HEADERS, END_HEADERS | END_STREAM, stream, plain(trailers))
    )


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
        if await self.reader.readexactly(len(PREFACE)) != PREFACE:
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
        if kind == SETTINGS and not flags & ACK and server.acknowledges:
            self.say(frame(SETTINGS, ACK, 0))
        elif kind == HEADERS:
            self.bodies[stream] = b""
            fields = self.decoder.decode(payload)
            server.asked.append({str(name): str(value) for name, value in fields})
            server.most_streams = max(server.most_streams, len(self.bodies))
        elif kind == WINDOW_UPDATE and stream == 0:
            server.granted += int.from_bytes(payload)
        elif kind == RST_STREAM:
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
        """Answer a call, well unless told otherwise."""
        self.bodies.pop(stream, None)
        self.say(answer(stream) if data is None else data)


Behaviour = Callable[[Peer, int], Awaitable[None]]


async def good(peer: Peer, stream: int) -> None:
    peer.reply(stream)


def grant(peer: Peer, stream: int, size: int) -> None:
    """Let the client send so much more, on the stream and in all."""
    for number_of in (stream, 0):
        peer.say(frame(WINDOW_UPDATE, 0, number_of, number(size)))


@dataclass
class Scripted:
    """What the server does, and what it has seen."""

    behaviour: Behaviour = good  # about a call that has come in whole
    received: Callable[[Peer, int, int], None] = grant  # about a piece of a body
    hello: bytes = frame(SETTINGS, 0, 0)  # said first
    later: bytes = b""  # said 0.2 s after that
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

    async def serve(ready: threading.Event) -> None:
        server.listener = await asyncio.start_server(
            server.connected, "127.0.0.1", 0, ssl=tls, backlog=1024
        )
        server.port = server.listener.sockets[0].getsockname()[1]
        ready.set()
        await asyncio.Event().wait()

    with in_thread(serve):
        yield server
