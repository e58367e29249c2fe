"""Over gRPC: the same outcomes, from a real gRPC server and from one that does what we say."""

import asyncio
import ssl
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from helpers.load import http2, worker
from helpers.load.grpc_client import METHOD, GrpcClient, is_good
from helpers.load.request import Answered, Client
from helpers.load.statistics import percentile
from helpers.run import Run

from . import scripted as h2
from .aio_server import OUTCOMES, Handler, aborts, good, serving, slow
from .conftest import MakeRun, play, scenario
from .known_server import SHAPE, TENSOR
from .scripted import GOOD, HEAD, Peer, Scripted, frame, plain, prefixed, scripted

STEADY = {"arrivals": "constant", "rate": 40, "duration_s": 0.5}
BURST = {"arrivals": "burst", "count": 16, "duration_s": 0.05}
CLOSED = {"arrivals": "closed", "concurrency": 1, "duration_s": 0.3}
MESSAGES = [b"request %d" % number for number in range(4)]
Behaviour = Callable[[Peer, int], Awaitable[None]]


@pytest.fixture(autouse=True)
def begin_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many short loads in a row."""
    monkeypatch.setattr(worker, "HEAD_START_S", 0.02)


@pytest.fixture
def server() -> Iterator[Scripted]:
    """Answers well, until a test gives it another behaviour."""
    with scripted() as one:
        yield one


def play_grpc(run: Run, port: int, messages: list[bytes] = MESSAGES, **more: Any) -> pd.DataFrame:
    chosen = run.profile.load.scenarios[0]

    def connect(answered: Answered) -> Client:
        return GrpcClient(
            f"127.0.0.1:{port}",
            messages,
            output_bytes=SHAPE.output_bytes,
            timeout_s=chosen.timeout_s,
            answered=answered,
            **more,
        )

    return play(run, connect)


def call(*phases: dict[str, Any], **more: Any) -> Any:
    return scenario(*phases, **{"protocol": "grpc", "timeout_s": 5, **more})


def counts(table: pd.DataFrame) -> dict[str, int]:
    return {str(outcome): int(n) for outcome, n in table["outcome"].value_counts().items()}


# --- a real gRPC server ---


@pytest.mark.parametrize(
    ("handler", "outcome"),
    [*OUTCOMES, (aborts(grpc.StatusCode.DEADLINE_EXCEEDED), "timeout")],
)
def test_outcomes_of_a_real_server(make_run: MakeRun, handler: Handler, outcome: str) -> None:
    run = make_run(call(BURST, timeout_s=0.5 if handler is slow else 5))
    with serving(handler) as real:
        table = play_grpc(run, real.port)
    assert counts(table) == {outcome: 16}
    assert table["done_s"].isna().all() == (outcome == "timeout")
    assert table["sent_s"].notna().all()
    if outcome == "ok":
        assert set(table["bytes"]) == {len(h2.message())}
        assert sorted(real.requests) == sorted(MESSAGES * 4)


def test_images_beyond_the_servers_window_arrive_whole(make_run: MakeRun) -> None:
    images = [np.random.default_rng(seed).bytes(602_112) for seed in range(4)]
    with serving(good) as real:
        table = play_grpc(make_run(call({**BURST, "count": 8})), real.port, images)
    assert counts(table) == {"ok": 8}
    assert sorted(real.requests) == sorted(images * 2)


def test_nobody_there_is_refused(make_run: MakeRun) -> None:
    table = play_grpc(make_run(call(STEADY, timeout_s=2)), 9)
    assert counts(table) == {"refused": 20}
    assert table["sent_s"].isna().all()


# --- a scripted server: every way an answer can come, or fail to ---


def says(*pieces: Callable[[int], bytes]) -> Behaviour:
    """Answer with these pieces, each in a TCP segment of its own."""

    async def behave(peer: Peer, stream: int) -> None:
        for piece in pieces:
            peer.reply(stream, piece(stream))
            await asyncio.sleep(0.001)

    return behave


def replies(
    body: bytes | None = None, head: h2.Fields = HEAD, trailers: h2.Fields = GOOD
) -> Behaviour:
    return says(lambda stream: h2.answer(stream, body, head, trailers))


def only_headers(*fields: tuple[str, str]) -> Behaviour:
    flags = h2.END_HEADERS | h2.END_STREAM
    return says(lambda stream: frame(h2.HEADERS, flags, stream, plain(fields)))


def status(code: int) -> Behaviour:
    return only_headers(*HEAD, ("grpc-status", str(code)), ("grpc-message", "no%20room"))


def resets(code: int) -> Behaviour:
    return says(lambda stream: frame(h2.RST_STREAM, 0, stream, h2.number(code)))


async def slow_loris(peer: Peer, stream: int) -> None:
    whole = h2.answer(stream)
    for at in (*range(150), *range(len(whole) - 60, len(whole))):
        end = len(whole) - 60 if at == 149 else at + 1
        peer.reply(stream, whole[at:end])
        await asyncio.sleep(0)


async def padded(peer: Peer, stream: int) -> None:
    body = prefixed(h2.message())
    block, flags = plain(HEAD), h2.END_HEADERS | h2.PADDED
    priority = h2.padded(h2.number(0) + b"\x0f" + block, 7)
    peer.reply(stream, frame(h2.HEADERS, flags | h2.PRIORITY, stream, priority))
    peer.reply(stream, frame(h2.DATA, h2.PADDED, stream, h2.padded(body[:1000], 255)))
    peer.reply(stream, frame(h2.DATA, h2.PADDED, stream, h2.padded(b"", 0)))
    peer.reply(stream, frame(h2.DATA, h2.PADDED, stream, h2.padded(body[1000:], 1)))
    last = h2.padded(plain(GOOD), 30)
    peer.reply(stream, frame(h2.HEADERS, flags | h2.END_STREAM, stream, last))


async def continued(peer: Peer, stream: int) -> None:
    block, trailers = plain((*HEAD, ("x-filler", "x" * 400))), plain(GOOD)
    peer.reply(stream, frame(h2.HEADERS, 0, stream, block[:3]))
    peer.reply(stream, frame(h2.CONTINUATION, 0, stream, block[3:200]))
    peer.reply(stream, frame(h2.CONTINUATION, h2.END_HEADERS, stream, block[200:]))
    peer.reply(stream, frame(h2.DATA, 0, stream, prefixed(h2.message())))
    peer.reply(stream, frame(h2.HEADERS, h2.END_STREAM, stream, trailers[:1]))
    peer.reply(stream, frame(h2.CONTINUATION, h2.END_HEADERS, stream, trailers[1:]))


async def with_other_frames_between(peer: Peer, stream: int) -> None:
    early = plain(((":status", "103"), ("link", "</style.css>")))
    pieces = [
        frame(h2.PING, 0, 0, b"12345678"),
        frame(h2.HEADERS, h2.END_HEADERS, stream, early),
        frame(2, 0, stream, b"12345"),  # PRIORITY
        frame(0xAA, 0xFF, 0, b"a type that nobody knows"),
        h2.answer(stream),
        frame(h2.RST_STREAM, 0, stream, h2.number(0)),
        frame(h2.WINDOW_UPDATE, 0, stream, h2.number(1)),
        h2.answer(stream),  # a second time, for nobody
    ]
    peer.reply(stream, b"".join(pieces))


def indexed(peer: Peer, stream: int) -> bytes:
    """An answer whose headers are in Huffman code and in the connection's dynamic table."""
    fields, trailers = (*HEAD, ("server", "scripted")), (*GOOD, ("x-took", "a few ms"))
    head, tail = peer.encoder.encode(fields), peer.encoder.encode(trailers)
    return (
        frame(h2.HEADERS, h2.END_HEADERS, stream, head)
        + frame(h2.DATA, 0, stream, prefixed(h2.message()))
        + frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, stream, tail)
    )


async def with_a_dynamic_table(peer: Peer, stream: int) -> None:
    peer.reply(stream, indexed(peer, stream))
    if peer.requests == 2:  # only now it takes notice of the client's settings
        peer.say(frame(h2.SETTINGS, h2.ACK, 0))
        peer.encoder.header_table_size = 0


TWO = service_pb2.ModelInferResponse(raw_output_contents=[TENSOR, TENSOR]).SerializeToString()
ODD = service_pb2.ModelInferResponse(raw_output_contents=[TENSOR]).SerializeToString()
HTML: h2.Fields = ((":status", "200"), ("content-type", "text/html"))


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        (h2.good, "ok"),
        (slow_loris, "ok"),
        (padded, "ok"),
        (continued, "ok"),
        (with_other_frames_between, "ok"),
        (with_a_dynamic_table, "ok"),
        (replies(prefixed(ODD + b"\x0a\x01m")), "ok"),  # fields in another order
        (replies(prefixed(h2.message(b""))), "bad-output"),
        (replies(prefixed(h2.message(TENSOR[:-4]))), "bad-output"),
        (replies(prefixed(h2.message(TENSOR + b"1234"))), "bad-output"),
        (replies(prefixed(h2.message())[:-7]), "bad-output"),
        (replies(prefixed(h2.message()[:-7])), "bad-output"),
        (replies(prefixed(h2.message(), compressed=1)), "bad-output"),
        (replies(prefixed(h2.message(), length=17)), "bad-output"),
        (replies(2 * prefixed(h2.message())), "bad-output"),
        (replies(prefixed(TWO)), "bad-output"),
        (replies(prefixed(b"\xff" * len(h2.message()))), "bad-output"),
        (replies(b""), "bad-output"),
        (only_headers(*HEAD, *GOOD), "bad-output"),
        (status(14), "grpc-unavailable"),
        (status(3), "grpc-invalid-argument"),
        (status(8), "grpc-resource-exhausted"),
        (status(99), "grpc-unknown"),
        (status(4), "timeout"),
        (replies(trailers=(("grpc-status", "13"),)), "grpc-internal"),
        (replies(b"<html>", ((":status", "503"), ("content-type", "text/html"))), "http-503"),
        (replies(head=((":status", "502"), *HEAD[1:])), "http-502"),
        (only_headers((":status", "464")), "http-464"),
        (replies(b"<html>", HTML), "bad-http"),
        (replies(head=HTML), "bad-http"),
        (replies(trailers=(("x", "y"),)), "bad-http"),
        (says(lambda stream: frame(h2.DATA, h2.END_STREAM, stream, b"x")), "bad-http"),
        (resets(2), "grpc-internal"),
        (resets(7), "grpc-unavailable"),
        (resets(8), "grpc-cancelled"),
        (says(lambda _: b"\xff\xff\xff" + bytes(6)), "bad-http"),
        (says(lambda stream: frame(h2.CONTINUATION, 4, stream, plain(HEAD))), "bad-http"),
        (says(lambda stream: frame(h2.HEADERS, 0, stream, b"") + h2.answer(stream)), "bad-http"),
        (says(lambda stream: frame(h2.HEADERS, 5, stream, b"\xbe")), "bad-http"),  # entry 62
        (says(lambda stream: frame(h2.DATA, h2.PADDED, stream, b"\x02x")), "bad-http"),
        (says(lambda stream: frame(5, 4, stream, h2.number(2))), "bad-http"),  # PUSH_PROMISE
        (says(lambda _: frame(h2.SETTINGS, 0, 0, b"12345")), "bad-http"),
        (says(lambda _: frame(h2.WINDOW_UPDATE, 0, 0, b"12345")), "bad-http"),
    ],
)
def test_outcomes(make_run: MakeRun, server: Scripted, behaviour: Behaviour, outcome: str) -> None:
    server.behaviour = behaviour
    server.acknowledges = behaviour is not with_a_dynamic_table
    table = play_grpc(make_run(call(BURST)), server.port)
    assert counts(table) == {outcome: 16}
    if outcome != "bad-http":  # where the connection is at fault, no answer has ended
        assert table["done_s"].isna().all() == (outcome == "timeout")
    assert table["sent_s"].notna().all()
    if outcome == "ok":
        assert sorted(server.received_bodies) == sorted(prefixed(one) for one in MESSAGES * 4)
        assert server.connections == 4


def test_a_request_is_what_grpc_asks_for(make_run: MakeRun, server: Scripted) -> None:
    play_grpc(make_run(call(BURST, timeout_s=2.5)), server.port)
    assert server.asked[0] == server.asked[-1]
    assert server.asked[0] == {
        ":method": "POST",
        ":scheme": "http",
        ":path": METHOD,
        ":authority": f"127.0.0.1:{server.port}",
        "te": "trailers",
        "content-type": "application/grpc",
        "grpc-timeout": "2500m",
    }


def test_a_ping_is_answered(make_run: MakeRun, server: Scripted) -> None:
    async def ping(peer: Peer, stream: int) -> None:
        peer.say(frame(h2.PING, 0, 0, b"12345678"))
        pinged.append(peer)
        asyncio.get_running_loop().call_later(0.05, peer.reply, stream)

    pinged: list[Peer] = []
    server.behaviour = ping
    play_grpc(make_run(call(BURST)), server.port)
    pongs = [
        sum(kind == h2.PING and flags == h2.ACK for kind, flags, _ in one.frames) for one in pinged
    ]
    assert pongs == [4] * 16


def test_what_is_not_http2_is_no_server(make_run: MakeRun, server: Scripted) -> None:
    server.hello = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
    table = play_grpc(make_run(call(BURST)), server.port)
    assert counts(table) == {"bad-http": 16}
    assert table["sent_s"].isna().all()


def test_who_says_nothing_is_no_server(make_run: MakeRun, server: Scripted) -> None:
    server.hello = b""
    table = play_grpc(make_run(call(BURST, timeout_s=0.3)), server.port)
    assert set(counts(table)) <= {"refused", "timeout"}
    assert table["sent_s"].isna().all()


# --- connections that end ---


def goaway(last: int, code: int = 0) -> bytes:
    return frame(h2.GOAWAY, 0, 0, h2.number(last) + h2.number(code) + b"bye")


def test_after_a_goaway_running_calls_finish_and_new_ones_go_elsewhere(
    make_run: MakeRun, server: Scripted
) -> None:
    async def leave_after_three(peer: Peer, stream: int) -> None:
        if peer.requests == 3:
            peer.say(goaway(2**31 - 1) + goaway(stream))
        asyncio.get_running_loop().call_later(0.005, peer.reply, stream)

    server.behaviour = leave_after_three
    table = play_grpc(make_run(call(CLOSED)), server.port)
    assert counts(table) == {"ok": server.calls}
    assert server.calls > 12
    assert server.connections >= server.calls // 3


def test_calls_that_a_goaway_excludes_are_disconnected(make_run: MakeRun, server: Scripted) -> None:
    async def take_two_of_four(peer: Peer, stream: int) -> None:
        if peer.requests == 4:
            peer.say(goaway(3, code=2))
            peer.reply(1)
            peer.reply(3)
            peer.reply(5)  # although it has said that it would not

    server.behaviour = take_two_of_four
    table = play_grpc(make_run(call(BURST)), server.port)
    assert counts(table) == {"ok": 8, "disconnected": 8}
    assert table.loc[table["outcome"] == "disconnected", "done_s"].isna().all()


def test_a_connection_closed_while_idle_costs_no_call(make_run: MakeRun, server: Scripted) -> None:
    async def close_when_answered(peer: Peer, stream: int) -> None:
        peer.reply(stream)
        peer.writer.close()

    server.behaviour = close_when_answered
    table = play_grpc(make_run(call({**STEADY, "rate": 20})), server.port)
    assert counts(table) == {"ok": 10}
    assert server.connections >= 10


def test_an_answer_cut_short_is_disconnected(make_run: MakeRun, server: Scripted) -> None:
    async def cut(peer: Peer, stream: int) -> None:
        peer.reply(stream, h2.answer(stream)[:-30])
        peer.writer.close()

    server.behaviour = cut
    table = play_grpc(make_run(call({**STEADY, "rate": 20})), server.port)
    assert counts(table) == {"disconnected": 10}


def test_every_call_is_accounted_for_when_the_server_is_killed(
    make_run: MakeRun, server: Scripted
) -> None:
    async def die_at_fifty(peer: Peer, stream: int) -> None:
        if server.calls <= 40:
            peer.reply(stream)
        elif server.calls == 50:
            server.die()

    server.behaviour = die_at_fifty
    table = play_grpc(make_run(call({**STEADY, "rate": 100, "duration_s": 1})), server.port)
    sent = int(table["sent_s"].notna().sum())
    assert len(table) == 100
    assert counts(table) == {"ok": 40, "disconnected": sent - 40, "refused": 100 - sent}
    assert 50 <= sent < 60
    assert table.loc[table["outcome"] == "refused", "sent_s"].isna().all()


def test_a_connection_without_numbers_left_is_replaced(
    make_run: MakeRun, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2, "LAST_STREAM", 9)
    table = play_grpc(make_run(call({**STEADY, "rate": 100})), server.port)
    assert counts(table) == {"ok": 50}
    assert server.connections >= 10


# --- flow control, limits, time ---


def settings_frame(**values: int) -> bytes:
    numbers = {"streams": h2.MAX_STREAMS, "window": h2.INITIAL_WINDOW, "frame": h2.MAX_FRAME}
    pairs = [numbers[name].to_bytes(2) + h2.number(value) for name, value in values.items()]
    return frame(h2.SETTINGS, 0, 0, b"".join(pairs))


BODIES = [
    np.random.default_rng(seed).bytes(size) for seed, size in enumerate((9, 5_000, 90_000, 300_000))
]


@pytest.mark.parametrize(
    ("hello", "later"),
    [
        (settings_frame(), b""),
        (settings_frame(window=2**31 - 1), b""),
        (settings_frame(window=1_000, streams=3), b""),
        (
            settings_frame(window=0, streams=0),
            settings_frame(window=70_000, streams=9, frame=20_000),
        ),
        (settings_frame(window=70_000), settings_frame(window=100) + settings_frame(window=800)),
    ],
)
def test_bodies_arrive_whole_whatever_the_windows(
    make_run: MakeRun, server: Scripted, hello: bytes, later: bytes
) -> None:
    server.hello, server.later = hello, later
    table = play_grpc(make_run(call(BURST)), server.port, BODIES)
    assert counts(table) == {"ok": 16}
    assert sorted(server.received_bodies) == sorted(prefixed(one) for one in BODIES * 4)


def test_only_so_many_streams_as_the_server_allows(make_run: MakeRun, server: Scripted) -> None:
    async def answer_later(peer: Peer, stream: int) -> None:
        asyncio.get_running_loop().call_later(0.02, peer.reply, stream)

    server.behaviour, server.hello = answer_later, settings_frame(streams=1)
    table = play_grpc(make_run(call(BURST)), server.port)
    assert counts(table) == {"ok": 16}
    assert server.most_streams == 1
    assert table["intended_s"].eq(0).all()
    assert (table["sent_s"] > 0.02).sum() == 12
    assert table["latency_ms"].max() >= 4 * 20 - 1


def test_an_early_answer_ends_a_body_that_is_still_unsent(
    make_run: MakeRun, server: Scripted
) -> None:
    def refuse(peer: Peer, stream: int, size: int) -> None:
        peer.reply(stream, h2.answer(stream, b"", trailers=(("grpc-status", "8"),)))

    server.received = refuse
    table = play_grpc(make_run(call({**BURST, "count": 4})), server.port, BODIES[3:] * 4)
    assert counts(table) == {"grpc-resource-exhausted": 4}
    assert server.calls == 0


def test_answers_are_granted_windows_again(
    make_run: MakeRun, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2, "RECEIVE_WINDOW", 70_000)
    table = play_grpc(make_run(call({**BURST, "count": 80})), server.port)
    assert counts(table) == {"ok": 80}
    at_first = 4 * (70_000 - 65_535)
    assert 4 * 35_000 < server.granted - at_first <= 80 * len(prefixed(h2.message()))


@pytest.mark.timing
def test_no_answer_is_a_time_out_and_a_late_one_is_credited_to_nothing(
    make_run: MakeRun, server: Scripted
) -> None:
    async def late_every_other(peer: Peer, stream: int) -> None:
        delay = 0.5 if server.calls % 2 else 0.0
        loop = asyncio.get_running_loop()
        loop.call_later(delay, lambda: peer.reply(stream, indexed(peer, stream)))

    server.behaviour, server.acknowledges = late_every_other, False
    phase = {"arrivals": "constant", "rate": 20, "duration_s": 1}
    table = play_grpc(make_run(call(phase, timeout_s=0.3)), server.port)
    assert counts(table) == {"timeout": 10, "ok": 10}
    assert table.loc[table["outcome"] == "timeout", "latency_ms"].isna().all()
    assert table.loc[table["outcome"] == "ok", "latency_ms"].max() < 300
    assert server.resets[:9] == [8] * 9
    assert server.connections == 4


@pytest.mark.timing
def test_a_freeze_shows_in_the_percentiles_as_it_was(make_run: MakeRun, server: Scripted) -> None:
    frozen: list[float] = []

    async def freeze_once(peer: Peer, stream: int) -> None:
        if server.calls == 300:
            begin = time.monotonic()
            time.sleep(0.5)  # the whole server, on purpose
            frozen.append(time.monotonic() - begin)
        peer.reply(stream)

    server.behaviour = freeze_once
    rate, seconds = 500, 2
    phase = {"arrivals": "constant", "rate": rate, "duration_s": seconds}
    table = play_grpc(make_run(call(phase)), server.port)
    assert counts(table) == {"ok": rate * seconds}
    waits = frozen[0] - np.arange(rate * seconds) / rate  # of the arrivals from the freeze on
    truth = percentile(np.sort(np.maximum(waits, 0)) * 1000, 0.99)
    measured = percentile(np.sort(table["latency_ms"].to_numpy()), 0.99)
    assert measured == pytest.approx(truth, rel=0.05)


# --- TLS ---


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    pem, key = folder / "server.pem", folder / "server.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", pem], check=True, capture_output=True)
    return pem, key


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
    make_run: MakeRun,
    certificate: tuple[Path, Path],
    protocols: list[str] | None,
    trusted: bool,
    outcome: str,
) -> None:
    context = None
    if protocols is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        context.set_alpn_protocols(protocols)
    trust = str(certificate[0]) if trusted else ""
    with scripted(context) as server:
        table = play_grpc(make_run(call(BURST)), server.port, secure=True, certificate=trust)
    assert counts(table) == {outcome: 16}
    assert table["sent_s"].notna().all() == (outcome == "ok")
    if outcome == "ok":
        assert server.asked[0][":scheme"] == "https"


# --- judging ---


@given(
    tensors=st.lists(st.binary(max_size=40) | st.just(bytes(16)), max_size=3),
    name=st.text(max_size=5),
    extra=st.binary(max_size=6),
    cut=st.integers(0, 3),
    flag=st.sampled_from([0, 0, 0, 1]),
)
@settings(max_examples=300, deadline=None)
def test_an_answer_is_good_when_the_real_parser_says_so(
    tensors: list[bytes], name: str, extra: bytes, cut: int, flag: int
) -> None:
    response = service_pb2.ModelInferResponse(model_name=name, raw_output_contents=tensors)
    whole = response.SerializeToString() + extra
    content = whole[: len(whole) - cut]
    try:
        parsed = service_pb2.ModelInferResponse.FromString(content).raw_output_contents
        good = [len(one) for one in parsed] == [16] and not flag
    except Exception:
        good = False
    assert is_good(prefixed(content, compressed=flag), 16) == good
    assert not is_good(prefixed(content, length=len(content) + 1), 16)
