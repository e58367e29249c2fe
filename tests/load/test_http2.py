"""What an answer means does not depend on whether it looks like the one before, or how it comes."""

import asyncio
import random
from collections.abc import Callable
from math import nan
from typing import cast
from unittest.mock import Mock

import pytest

from helpers.load import http2
from helpers.load import http2_frames as frames
from helpers.load.grpc_client import GrpcClient
from helpers.load.http2_frames import DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, encode, frame
from helpers.load.request import Request

ANSWERS = 60
HEAD = encode([(":status", "200"), ("content-type", "application/grpc")])
OTHER = encode([(":status", "503")])
INTERIM = encode([(":status", "103")])
GOOD, BAD = encode([("grpc-status", "0")]), encode([("grpc-status", "14")])
RESERVED = 1 << 31
NOT_HPACK = b"\xff" * 12


def usual(
    stream: int, body: bytes = b"12345678", head: bytes = HEAD, end: bytes = GOOD,
    data: bytes | None = None,
) -> bytes:  # fmt: skip
    return (
        frame(HEADERS, END_HEADERS, stream, head)
        + (frame(DATA, 0, stream, body) if data is None else data)
        + frame(HEADERS, END_HEADERS | END_STREAM, stream, end)
    )


def window(stream: int) -> bytes:
    return frame(frames.WINDOW_UPDATE, 0, 0, frames.NUMBER.pack(stream))


# each makes an answer on a stream that is, or is nearly, like the one before
KINDS: list[Callable[[int], bytes]] = [
    usual,
    lambda stream: usual(stream, stream.to_bytes(8)),
    lambda stream: usual(stream) + window(7),
    lambda stream: usual(stream, b"123"),
    lambda stream: usual(stream, end=BAD),
    lambda stream: usual(stream, head=OTHER),
    lambda stream: usual(stream | RESERVED),
    lambda stream: frame(HEADERS, END_HEADERS, stream, INTERIM) + usual(stream),
    lambda stream: usual(stream, head=INTERIM),
    lambda stream: frame(HEADERS, END_HEADERS, stream, OTHER) + usual(stream),
    lambda stream: frame(HEADERS, END_HEADERS | END_STREAM, stream, HEAD),
    lambda stream: usual(stream, data=frame(DATA, PADDED, stream, b"\x04" + b"123" + bytes(4))),
    lambda stream: usual(stream, data=frame(DATA, 0, stream, b"12345678") * 2),
    lambda stream: usual(stream, data=frame(DATA, 0, stream + 2, b"12345678")),  # of another
    lambda stream: usual(stream + 1000),  # nobody asked
    lambda stream: usual(stream) * 2,  # told twice
    lambda stream: frame(frames.RST_STREAM, 0, stream, frames.NUMBER.pack(frames.CANCEL)),
]
BROKEN: list[Callable[[int], bytes]] = [
    lambda stream: usual(stream, head=NOT_HPACK),
    lambda stream: usual(stream, end=NOT_HPACK),
    lambda stream: usual(stream, bytes(frames.DEFAULT_FRAME + 1)),
    lambda stream: frame(HEADERS, 0, stream, HEAD) + usual(stream)[len(HEAD) + 9 :],
]


class Owner:
    """Keeps what becomes of every stream."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def freed(self, connection: http2.Http2Connection) -> None:
        self.seen.append("freed")

    def retired(self, connection: http2.Http2Connection) -> None:
        self.seen.append("retired")

    def finished(self, stream: http2.Stream, at: float) -> None:
        fields, trailers = dict(stream.fields or {}), dict(stream.trailers or {})
        self.seen.append((stream.id, fields, stream.body, trailers, stream.reset))

    def broken(self, stream: http2.Stream, outcome: str) -> None:
        self.seen.append((stream.id, outcome))


def taken(data: bytes, sizes: list[int], *, stateless: bool = True) -> tuple[list[object], object]:
    """What a client makes of a server's bytes that come in pieces of these sizes, and answers."""

    async def receive() -> tuple[list[object], object]:
        owner, transport = Owner(), Mock(spec=asyncio.Transport)
        transport.get_extra_info.return_value = None
        connection = http2.Http2Connection(cast(GrpcClient, owner), b"")
        connection.connection_made(transport)
        connection.data_received(frame(frames.SETTINGS, 0, 0))
        if stateless:
            connection.data_received(frame(frames.SETTINGS, frames.ACK, 0))
        for _ in range(ANSWERS):
            connection.send(Request(0, nan, 0, nan), b"")
        at = 0
        for size in sizes:
            if not transport.abort.called:
                connection.data_received(data[at : at + size])
            at += size
        return owner.seen, transport.write.call_args_list

    return asyncio.run(receive())


@pytest.mark.parametrize("seed", range(12))
def test_an_answer_means_the_same_however_it_is_read(seed: int) -> None:
    dice = random.Random(seed)
    kinds = KINDS + (BROKEN if seed % 4 == 0 else [])
    answers = [dice.choice([usual, dice.choice(kinds)])(2 * n + 1) for n in range(ANSWERS)]
    data = b"".join(answers)
    frame_by_frame = taken(data, [1] * len(data))  # never whole at once
    assert len(frame_by_frame[0]) > 3
    pieces = dice.choices((1, 9, 30, 60, 400), k=len(data))
    for sizes in ([len(data)], [len(answer) for answer in answers], pieces):
        assert taken(data, sizes) == frame_by_frame
    if seed % 4:
        assert taken(data, [len(data)], stateless=False) == frame_by_frame


def test_answers_alike_are_taken_without_reading_their_frames(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[int] = []
    on_data = http2.Http2Connection._on_data

    def counting(self: http2.Http2Connection, flags: int, number: int, payload: bytes) -> None:
        read.append(number)
        on_data(self, flags, number, payload)

    monkeypatch.setattr(http2.Http2Connection, "_on_data", counting)
    bodies = [n.to_bytes(8) for n in range(ANSWERS)]
    data = b"".join(usual(2 * n + 1, body) + window(1) for n, body in enumerate(bodies))
    seen, _ = taken(data, [len(data)])
    assert read == [1]
    assert [stream[2] for stream in seen if isinstance(stream, tuple)] == bodies
