"""Over gRPC: the same outcomes, from a real server and a scripted one, however the bytes come."""

import asyncio
import random
import ssl
import time
from collections.abc import Callable, Iterator
from math import nan
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from helpers.load import http2, worker
from helpers.load import http2_frames as h2
from helpers.load.grpc_client import METHOD, GrpcClient, is_good
from helpers.load.http2_frames import DATA, END_HEADERS, END_STREAM, HEADERS, frame
from helpers.load.request import Request, Target
from helpers.load.statistics import percentile

from . import scripted as wire
from .conftest import MakeRun, play, scenario
from .known_server import SHAPE
from .scripted import Answer, Behaviour, Peer, Scripted, answer, replies, scripted

STEADY = {"arrivals": "constant", "rate": 40, "duration_s": 0.5}
BURST = {"arrivals": "burst", "count": 16, "duration_s": 0.05}
CLOSED = {"arrivals": "closed", "concurrency": 1, "duration_s": 0.3}
MESSAGES = [b"request %d" % number for number in range(4)]
Fire = Callable[..., pd.DataFrame]
BODIES = [
    np.random.default_rng(seed).bytes(size) for seed, size in enumerate((9, 5_000, 90_000, 300_000))
]


@pytest.fixture
def server() -> Iterator[Scripted]:
    """Answers well, until a test gives it another behaviour."""
    with scripted() as server:
        yield server


@pytest.fixture
def fire(make_run: MakeRun, server: Scripted, monkeypatch: pytest.MonkeyPatch) -> Fire:
    """Plays a phase, at the scripted server unless a URL is given; returns the table."""
    monkeypatch.setattr(worker, "HEAD_START_S", 0.02)  # many short loads in a row

    def play_phase(
        phase: Any, messages: Any = MESSAGES, url: str = "", timeout_s: float = 5, trust: str = ""
    ) -> pd.DataFrame:
        url = url or f"grpc://127.0.0.1:{server.port}"
        target = Target(url, messages, SHAPE.output_bytes, timeout_s, certificate=trust)
        run = make_run(scenario(phase, protocol="grpc", timeout_s=timeout_s))
        return play(run, lambda answered: GrpcClient(target, answered))

    return play_phase


def counts(table: pd.DataFrame) -> dict[str, int]:
    return {str(outcome): int(n) for outcome, n in table["outcome"].value_counts().items()}


def answers_with(*pieces: Callable[[int], bytes]) -> Behaviour:
    """Answer with these pieces, each in a TCP segment of its own."""

    async def behave(peer: Peer, stream: int) -> None:
        for piece in pieces:
            peer.reply(stream, piece(stream))
            await asyncio.sleep(0.001)

    return behave


def later(delay_s: float) -> Behaviour:
    async def behave(peer: Peer, stream: int) -> None:
        asyncio.get_running_loop().call_later(delay_s, peer.reply, stream)

    return behave


def indexed(peer: Peer, stream: int) -> bytes:
    """An answer whose headers are in Huffman code and in the connection's dynamic table."""
    head = peer.encoder.encode((*wire.HEAD, ("server", "scripted")))
    tail = peer.encoder.encode((*wire.GOOD, ("x-took", "a few ms")))
    return wire.made(
        (HEADERS, END_HEADERS, head),
        (h2.DATA, 0, wire.BODY),
        (HEADERS, END_HEADERS | END_STREAM, tail),
    )(stream)


async def with_a_dynamic_table(peer: Peer, stream: int) -> None:
    peer.reply(stream, indexed(peer, stream))
    if peer.requests == 2:  # only now it takes notice of the client's settings
        peer.say(frame(h2.SETTINGS, h2.ACK, 0))
        peer.encoder.header_table_size = 0


PIECES = [lambda stream, at=at: wire.answer(stream)[at : at + 99] for at in range(0, 4200, 99)]


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        *((answers_with(answer), outcome) for answer, outcome in wire.OUTCOMES),
        *((answers_with(answer), "bad-http") for answer in wire.VIOLATIONS),
        (answers_with(*PIECES), "ok"),
        (with_a_dynamic_table, "ok"),
    ],
)
def test_outcomes(fire: Fire, server: Scripted, behaviour: Behaviour, outcome: str) -> None:
    server.behaviour = behaviour
    server.acknowledges = behaviour is not with_a_dynamic_table
    table = fire(BURST)
    assert counts(table) == {outcome: 16}
    if outcome != "bad-http":  # where the connection is at fault, no answer has ended
        assert table["done_s"].isna().all() == (outcome == "timeout")
    assert table["sent_s"].notna().all()
    if outcome == "ok":
        assert sorted(server.received_bodies) == sorted(map(wire.prefixed, MESSAGES * 4))
        assert server.connections == 4


def test_a_request_is_what_grpc_asks_for_and_a_ping_is_answered(
    fire: Fire, server: Scripted
) -> None:
    async def ping(peer: Peer, stream: int) -> None:
        peer.say(frame(h2.PING, 0, 0, b"12345678"))
        await later(0.05)(peer, stream)

    server.behaviour = ping
    fire(BURST, timeout_s=2.5)
    assert [peer.frames.count((h2.PING, h2.ACK)) for peer in server.peers] == [4] * 4
    assert server.asked[0] == server.asked[-1]
    assert server.asked[0] == {
        ":method": "POST", ":scheme": "http", ":path": METHOD, "te": "trailers",
        ":authority": f"127.0.0.1:{server.port}", "content-type": "application/grpc",
        "grpc-timeout": "2500m",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("hello", "url", "timeout_s", "outcomes"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "", 10, {"bad-http"}),
        (b"", "", 0.3, {"refused", "timeout"}),
        (b"", "grpc://127.0.0.1:9", 10, {"refused"}),
    ],
)
def test_what_is_not_http2_or_says_nothing_is_no_server(
    fire: Fire, server: Scripted, hello: bytes, url: str, timeout_s: float, outcomes: set[str]
) -> None:
    server.hello = hello
    table = fire(BURST, timeout_s=timeout_s, url=url)
    assert set(counts(table)) <= outcomes
    assert table["sent_s"].isna().all()


def goaway(last: int, code: int = 0) -> bytes:
    return frame(h2.GOAWAY, 0, 0, wire.number(last) + wire.number(code) + b"bye")


def test_after_a_goaway_running_calls_finish_and_new_ones_go_elsewhere(
    fire: Fire, server: Scripted
) -> None:
    async def leave_after_three(peer: Peer, stream: int) -> None:
        if peer.requests == 3:
            peer.say(goaway(2**31 - 1) + goaway(stream))
        await later(0.005)(peer, stream)

    server.behaviour = leave_after_three
    table = fire(CLOSED)
    assert counts(table) == {"ok": server.calls}
    assert server.calls > 12
    assert server.connections >= server.calls // 3


def test_calls_that_a_goaway_excludes_are_disconnected(fire: Fire, server: Scripted) -> None:
    async def take_two_of_four(peer: Peer, stream: int) -> None:
        if peer.requests == 4:
            peer.say(goaway(3, code=2))
            for number in (1, 3, 5):  # 5 although it has said that it would not
                peer.reply(number)

    server.behaviour = take_two_of_four
    table = fire(BURST)
    assert counts(table) == {"ok": 8, "disconnected": 8}
    assert table.loc[table["outcome"] == "disconnected", "done_s"].isna().all()


@pytest.mark.parametrize(("missing", "outcome"), [(0, "ok"), (30, "disconnected")])
def test_a_connection_closed_while_idle_costs_no_call_and_within_an_answer_one(
    fire: Fire, server: Scripted, missing: int, outcome: str
) -> None:
    async def close(peer: Peer, stream: int) -> None:
        whole = wire.answer(stream)
        peer.reply(stream, whole[: len(whole) - missing])
        peer.writer.close()

    server.behaviour = close
    table = fire({**STEADY, "rate": 20})
    assert counts(table) == {outcome: 10}
    assert server.connections >= 10


def test_every_call_is_accounted_for_when_the_server_is_killed(
    fire: Fire, server: Scripted
) -> None:
    async def die_at_fifty(peer: Peer, stream: int) -> None:
        if server.calls <= 40:
            peer.reply(stream)
        elif server.calls == 50:
            server.die()

    server.behaviour = die_at_fifty
    table = fire({**STEADY, "rate": 100, "duration_s": 1})
    sent = int(table["sent_s"].notna().sum())
    assert counts(table) == {"ok": 40, "disconnected": sent - 40, "refused": 100 - sent}
    assert 50 <= sent < 60
    assert table.loc[table["outcome"] == "refused", "sent_s"].isna().all()


def test_a_connection_without_numbers_left_is_replaced(
    fire: Fire, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2, "LAST_STREAM", 9)
    table = fire({**STEADY, "rate": 100})
    assert counts(table) == {"ok": 50}
    assert server.connections >= 10


def wishes(**values: int) -> bytes:
    numbers = {"streams": h2.MAX_STREAMS, "window": h2.INITIAL_WINDOW, "frame": h2.MAX_FRAME}
    pairs = [h2.SETTING.pack(numbers[name], value) for name, value in values.items()]
    return frame(h2.SETTINGS, 0, 0, b"".join(pairs))


@pytest.mark.parametrize(
    ("hello", "later"),
    [
        (wishes(), b""),
        (wishes(window=2**31 - 1), b""),
        (wishes(window=1_000, streams=3), b""),
        (wishes(window=0, streams=0), wishes(window=70_000, streams=9, frame=20_000)),
        (wishes(window=70_000), wishes(window=100) + wishes(window=800)),
    ],
)
def test_bodies_arrive_whole_whatever_the_windows(
    fire: Fire, server: Scripted, hello: bytes, later: bytes
) -> None:
    server.hello, server.later = hello, later
    table = fire(BURST, BODIES)
    assert counts(table) == {"ok": 16}
    assert sorted(server.received_bodies) == sorted(map(wire.prefixed, BODIES * 4))


def test_only_so_many_streams_as_the_server_allows(fire: Fire, server: Scripted) -> None:
    server.behaviour, server.hello = later(0.02), wishes(streams=1)
    table = fire(BURST)
    assert counts(table) == {"ok": 16}
    assert server.most_streams == 1
    assert table["intended_s"].eq(0).all()
    assert (table["sent_s"] > 0.02).sum() == 12
    assert table["latency_ms"].max() >= 4 * 20 - 1


def test_an_early_answer_ends_a_body_that_is_still_unsent(fire: Fire, server: Scripted) -> None:
    def refuse(peer: Peer, stream: int, size: int) -> None:
        peer.reply(stream, wire.status(8)(stream))

    server.received = refuse
    table = fire({**BURST, "count": 4}, BODIES[3:] * 4)
    assert counts(table) == {"grpc-resource-exhausted": 4}
    assert server.calls == 0


def test_answers_are_granted_windows_again(
    fire: Fire, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2, "RECEIVE_WINDOW", 70_000)
    table = fire({**BURST, "count": 80})
    assert counts(table) == {"ok": 80}
    at_first = 4 * (70_000 - 65_535)
    assert 4 * 35_000 < server.granted - at_first <= 80 * len(wire.prefixed(wire.message()))


@pytest.mark.timing
def test_no_answer_is_a_time_out_and_a_late_one_is_credited_to_nothing(
    fire: Fire, server: Scripted
) -> None:
    async def late_every_other(peer: Peer, stream: int) -> None:
        delay = 0.5 if server.calls % 2 else 0.0
        loop = asyncio.get_running_loop()
        loop.call_later(delay, lambda: peer.reply(stream, indexed(peer, stream)))

    server.behaviour, server.acknowledges = late_every_other, False
    phase = {"arrivals": "constant", "rate": 20, "duration_s": 1}
    table = fire(phase, timeout_s=0.3)
    assert counts(table) == {"timeout": 10, "ok": 10}
    assert table.loc[table["outcome"] == "timeout", "latency_ms"].isna().all()
    assert table.loc[table["outcome"] == "ok", "latency_ms"].max() < 300
    assert server.resets[:9] == [8] * 9
    assert server.connections == 4


@pytest.mark.timing
def test_a_frozen_server_shows_in_the_latency(fire: Fire, server: Scripted) -> None:
    frozen: list[float] = []

    async def freeze_once(peer: Peer, stream: int) -> None:
        if server.calls == 300:
            begin = time.monotonic()
            time.sleep(0.5)  # the whole server, on purpose
            frozen.append(time.monotonic() - begin)
        peer.reply(stream)

    server.behaviour = freeze_once
    table = fire({**STEADY, "rate": 500, "duration_s": 2})
    assert counts(table) == {"ok": 1000}
    truth = 1000 * (frozen[0] - 10 / 500)  # of 1,000 requests 10 were meant to leave before
    assert percentile(np.sort(table["latency_ms"]), 0.99) == pytest.approx(truth, rel=0.05)


@pytest.mark.parametrize(
    ("protocols", "trusted", "outcome"),
    [
        (["h2", "http/1.1"], True, "ok"),
        (["h2"], False, "tls"),
        (["http/1.1"], True, "tls"),
        ([], True, "tls"),
        (None, True, "tls"),  # no TLS at all
    ],
)
def test_tls_is_verified_and_must_agree_on_http2(
    fire: Fire,
    certificate: tuple[Path, ssl.SSLContext],
    protocols: list[str] | None,
    trusted: bool,
    outcome: str,
) -> None:
    pem, context = certificate
    context.set_alpn_protocols(protocols or [])
    trust = str(pem) if trusted else ""
    with scripted(None if protocols is None else context) as server:
        table = fire(BURST, url=f"grpcs://localhost:{server.port}", trust=trust)
    assert counts(table) == {outcome: 16}
    assert table["sent_s"].notna().all() == (outcome == "ok")
    if outcome == "ok":
        assert server.asked[0][":scheme"] == "https"


@given(
    tensors=st.lists(st.binary(max_size=40) | st.just(bytes(16)), max_size=3),
    name=st.text(max_size=5),
    extra=st.binary(max_size=6),
    cut=st.integers(0, 3),
    flag=st.sampled_from([0, 0, 0, 1]),
)
@settings(max_examples=200, deadline=None)
def test_an_answer_is_good_when_the_real_parser_says_so(
    tensors: list[bytes], name: str, extra: bytes, cut: int, flag: int
) -> None:
    response = service_pb2.ModelInferResponse(model_name=name, raw_output_contents=tensors)
    whole = response.SerializeToString() + extra
    content = whole[: len(whole) - cut]
    try:
        parsed = service_pb2.ModelInferResponse.FromString(content).raw_output_contents
        good = [len(output) for output in parsed] == [16] and not flag
    except Exception:
        good = False
    assert is_good(wire.prefixed(content, compressed=flag), 16) == good
    assert not is_good(wire.prefixed(content, length=len(content) + 1), 16)


ANSWERS = 40


def window(size: int) -> bytes:
    return frame(h2.WINDOW_UPDATE, 0, 0, h2.NUMBER.pack(size))


def numbered(stream: int) -> bytes:
    return replies(stream.to_bytes(8))(stream)


# each makes an answer on a stream that is, or is nearly, like the one before
KINDS: list[Answer] = [
    *(answer for answer, _ in wire.OUTCOMES),
    numbered,
    lambda stream: numbered(stream) + window(7),
    lambda stream: numbered(stream) + frame(DATA, 0, stream + 2, b"12345678"),  # of the next
    lambda stream: answer(stream + 1000),  # nobody asked
]
BROKEN = [*wire.VIOLATIONS, replies(bytes(h2.DEFAULT_FRAME + 1))]


def taken(data: bytes, sizes: list[int], *, stateless: bool = True) -> tuple[list[object], object]:
    """What a client makes of a server's bytes that come in pieces of these sizes, and answers."""

    async def receive() -> tuple[list[object], object]:
        seen: list[object] = []
        owner, transport = Mock(), Mock(spec=asyncio.Transport)
        owner.freed = lambda _: seen.append("freed")
        owner.retired = lambda _: seen.append("retired")
        owner.broken = lambda stream, outcome: seen.append((stream.id, outcome))
        owner.finished = lambda stream, at: seen.append(
            (stream.id, stream.fields, bytes(stream.body), stream.trailers, stream.reset)
        )
        transport.get_extra_info.return_value = None
        connection = http2.Http2Connection(owner, b"")
        connection.connection_made(transport)
        connection.data_received(frame(h2.SETTINGS, 0, 0))
        if stateless:
            connection.data_received(frame(h2.SETTINGS, h2.ACK, 0))
        for _ in range(ANSWERS):
            connection.send(Request(0, nan, 0, nan), b"")
        at = 0
        for size in sizes:
            if not transport.abort.called:
                connection.data_received(data[at : at + size])
            at += size
        return seen, transport.write.call_args_list

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
