"""A gRPC server made of raw HTTP/2 frames, which does to a client whatever a test says."""

import asyncio
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

from hpack import Decoder, Encoder
from tritonclient.grpc import service_pb2

from .known_server import TENSOR
from .threads import in_thread

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    0, 1, 3, 4, 6, 7, 8, 9,
)  # fmt: skip
END_STREAM = ACK = 1
END_HEADERS, PADDED, PRIORITY = 4, 8, 32
MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME = 3, 4, 5
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
Fields = tuple[tuple[str, str], ...]
HEAD: Fields = ((":status", "200"), ("content-type", "application/grpc"))
GOOD: Fields = (("grpc-status", "0"),)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def number(value: int) -> bytes:
    return struct.pack(">I", value)


def padded(payload: bytes, size: int) -> bytes:
    return bytes([size]) + payload + bytes(size)


@cache
def message(tensor: bytes = TENSOR) -> bytes:
    """A `ModelInferResponse` as Triton gives it."""
    whole = service_pb2.ModelInferResponse(model_name="mobilenetv2", model_version="1")
    whole.outputs.add(name="logits", datatype="FP32", shape=[1, 1000])
    whole.raw_output_contents.append(tensor)
    serialised: bytes = whole.SerializeToString()
    return serialised


def prefixed(content: bytes, *, compressed: int = 0, length: int | None = None) -> bytes:
    """A message as gRPC puts it on a stream."""
    return bytes([compressed]) + number(len(content) if length is None else length) + content


@cache
def plain(fields: Fields) -> bytes:
    """A header block without Huffman code and dynamic table."""
    encoder = Encoder()
    encoder.header_table_size = 0
    return encoder.encode(fields, huffman=False)


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
    """One connection, seen from the server.

    Attributes:
        requests: Calls on this connection, this one included.
        acknowledged: Whether the client has taken notice of the settings.
        bodies: What has come of the requests that are not whole.
        frames: Type, flags and stream of each frame that came.
    """

    server: "Scripted"
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: int = 0
    acknowledged: int = 0
    encoder: Encoder = field(default_factory=Encoder)
    decoder: Decoder = field(default_factory=Decoder)
    bodies: dict[int, bytes] = field(default_factory=dict)
    frames: list[tuple[int, int, int]] = field(default_factory=list)

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    def grant(self, stream: int, size: int) -> None:
        """Let the client send so much more, on the stream and in all."""
        self.say(frame(WINDOW_UPDATE, 0, stream, number(size)))
        self.say(frame(WINDOW_UPDATE, 0, 0, number(size)))

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
            self.frames.append((kind, flags, stream))
            await self._take(kind, flags, stream, payload)
            await asyncio.sleep(0)  # to each connection its turn

    async def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK and self.server.acknowledges:
            self.say(frame(SETTINGS, ACK, 0))
        elif kind == SETTINGS and flags & ACK:
            self.acknowledged += 1
        elif kind == HEADERS:
            self.bodies[stream] = b""
            fields = self.decoder.decode(payload)
            self.server.asked.append({str(one[0]): str(one[1]) for one in fields})
            self.server.most_streams = max(self.server.most_streams, len(self.bodies))
        elif kind == WINDOW_UPDATE and stream == 0:
            self.server.granted += int.from_bytes(payload)
        elif kind == RST_STREAM:
            self.bodies.pop(stream, None)
            self.server.resets.append(int.from_bytes(payload))
        elif kind == DATA and stream in self.bodies:
            self.bodies[stream] += payload
            if payload:
                self.server.received(self, stream, len(payload))
            if flags & END_STREAM:
                await self._called(stream, self.bodies[stream])

    async def _called(self, stream: int, body: bytes) -> None:
        self.requests += 1
        self.server.calls += 1
        self.server.received_bodies.append(body)
        await self.server.behaviour(self, stream)

    def reply(self, stream: int, data: bytes | None = None) -> None:
        """Answer a call, well unless told otherwise."""
        self.bodies.pop(stream, None)
        self.say(answer(stream) if data is None else data)


async def good(peer: Peer, stream: int) -> None:
    peer.reply(stream)


def grant_all(peer: Peer, stream: int, size: int) -> None:
    peer.grant(stream, size)


@dataclass
class Scripted:
    """What the server does, and what it has seen.

    Attributes:
        behaviour: What it does about a call that has come in whole.
        received: What it does about a piece of a body; grants as much again.
        hello: What it says first.
        later: What it says 0.2 s after that.
        acknowledges: Whether it confirms the client's settings.
    """

    behaviour: Callable[[Peer, int], Awaitable[None]] = good
    received: Callable[[Peer, int, int], None] = grant_all
    hello: bytes = frame(SETTINGS, 0, 0)
    later: bytes = b""
    acknowledges: bool = True
    calls: int = 0
    connections: int = 0
    most_streams: int = 0
    peers: list[Peer] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    received_bodies: list[bytes] = field(default_factory=list)
    resets: list[int] = field(default_factory=list)
    granted: int = 0
    port: int = 0
    listener: asyncio.Server | None = None

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        peer = Peer(self, reader, writer)
        self.peers.append(peer)
        try:
            await peer.listen()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.peers.remove(peer)
            writer.close()

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
