"""What an answer means does not depend on whether it looks like the one before, or how it comes."""

import asyncio
import random
from math import nan
from typing import cast
from unittest.mock import Mock

import pytest

from helpers.load import http2
from helpers.load import http2_frames as frames
from helpers.load.grpc_client import GrpcClient
from helpers.load.http2_frames import DATA, frame
from helpers.load.request import Request

from .scripted import OUTCOMES, VIOLATIONS, Answer, answer, replies

ANSWERS = 40


def window(size: int) -> bytes:
    return frame(frames.WINDOW_UPDATE, 0, 0, frames.NUMBER.pack(size))


def numbered(stream: int) -> bytes:
    return replies(stream.to_bytes(8))(stream)


# each makes an answer on a stream that is, or is nearly, like the one before
KINDS: list[Answer] = [
    *(answer for answer, _ in OUTCOMES),
    numbered,
    lambda stream: numbered(stream) + window(7),
    lambda stream: numbered(stream) + frame(DATA, 0, stream + 2, b"12345678"),  # of the next
    lambda stream: answer(stream + 1000),  # nobody asked
]
BROKEN = [*VIOLATIONS, replies(bytes(frames.DEFAULT_FRAME + 1))]


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


@pytest.mark.parametrize("seed", range(8))
def test_an_answer_means_the_same_however_it_is_read(seed: int) -> None:
    dice = random.Random(seed)
    kinds = KINDS + (BROKEN if seed % 4 == 0 else [])
    answers = [dice.choice([answer, dice.choice(kinds)])(2 * n + 1) for n in range(ANSWERS)]
    data = b"".join(answers)
    frame_by_frame = taken(data, [20] * (len(data) // 20 + 1))  # never whole at once
    assert len(frame_by_frame[0]) > 3
    pieces = dice.choices((9, 60, 400, 2500), k=len(data) // 9 + 1)
    for sizes in ([len(data)], [len(sent) for sent in answers], pieces):
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
    data = b"".join(replies(body)(2 * n + 1) + window(1) for n, body in enumerate(bodies))
    seen, _ = taken(data, [len(data)])
    assert read == [1]
    assert [stream[2] for stream in seen if isinstance(stream, tuple)] == bodies
