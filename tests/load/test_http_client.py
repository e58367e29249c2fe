"""Over HTTP: every way an answer can come, or fail to, has its own outcome."""

import asyncio
import itertools
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.load.http_client import HttpClient
from helpers.load.request import Target

from .conftest import MakeRun, play, play_http, scenario
from .known_server import SHAPE, TENSOR, Behaviour, KnownServer, answer, known_server

STEADY = {"arrivals": "constant", "rate": 40, "duration_s": 0.5}


def replies(*pieces: bytes, stay: bool = True) -> Behaviour:
    """Send these pieces, each in a TCP segment of its own."""

    async def behave(server: KnownServer, number: int, writer: asyncio.StreamWriter) -> bool:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        return stay

    return behave


def sends(choose: Callable[[int], bytes]) -> Behaviour:
    """Send what is chosen for the request's number; only a whole answer leaves the connection."""

    async def behave(server: KnownServer, number: int, writer: asyncio.StreamWriter) -> bool:
        sent = choose(number)
        writer.write(sent)
        return len(sent) == len(WHOLE)

    return behave


WHOLE = answer()


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        (replies(WHOLE), "ok"),
        (replies(WHOLE[:10], WHOLE[10:150], WHOLE[150:3000], WHOLE[3000:]), "ok"),
        (replies(answer(extra="Connection: close\r\n"), stay=False), "ok"),
        (replies(answer(status=503)), "http-503"),
        (replies(answer(b"", status=400)), "http-400"),
        (replies(answer(TENSOR[:-4])), "bad-output"),
        (replies(answer(TENSOR[:-4], declared=len(TENSOR))), "bad-output"),
        (replies(answer(TENSOR, declared=0)), "bad-output"),
        (replies(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n" + TENSOR), "bad-output"),
        (replies(WHOLE[:2000], stay=False), "disconnected"),
        (replies(b"", stay=False), "disconnected"),
        (replies(answer(length=False, extra="Transfer-Encoding: chunked\r\n")), "bad-http"),
        (replies(WHOLE.replace(b"Content-Length", b"CONTENT-LENGTH")), "ok"),
        (replies(WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"), stay=False), "ok"),
        (replies(WHOLE.replace(b"HTTP/1.1", b"HTTP/2")), "bad-http"),
        (replies(b"HTTP/1.1 200 OK\r\nContent-Length: -7\r\n\r\n"), "bad-http"),
        (replies(b"SSH-2.0-OpenSSH\r\n\r\n"), "bad-http"),
        (replies(b"x" * 70_000), "bad-http"),
    ],
)
def test_outcomes(
    make_run: MakeRun, server: KnownServer, behaviour: Behaviour, outcome: str
) -> None:
    server.behaviour = behaviour
    table = play_http(make_run(scenario(STEADY)), server)
    assert list(table["outcome"]) == [outcome] * 20
    assert table["done_s"].isna().all() == (outcome == "disconnected")
    assert table["sent_s"].notna().all()


FORGED = (
    WHOLE,
    WHOLE.replace(str(len(TENSOR)).encode(), b"4" * len(str(len(TENSOR)))),  # declares other sizes
    WHOLE.replace(b"200 OK", b"500 KO"),
    WHOLE[:-1],
    WHOLE + WHOLE,  # the surplus is not taken for the next answer
)


def test_an_answer_like_a_good_one_is_judged_by_what_it_says(
    make_run: MakeRun, server: KnownServer
) -> None:
    server.behaviour = sends(lambda number: FORGED[number % len(FORGED)])
    table = play_http(make_run(scenario(STEADY)), server)
    counted = dict(table["outcome"].value_counts())
    assert counted == {"ok": 8, "bad-output": 4, "http-500": 4, "disconnected": 4}
    assert server.inferences == 20


@pytest.mark.timing
def test_no_answer_is_a_time_out_and_a_late_one_is_credited_to_nothing(
    make_run: MakeRun, server: KnownServer
) -> None:
    async def late_every_other(
        server: KnownServer, number: int, writer: asyncio.StreamWriter
    ) -> bool:
        await asyncio.sleep(0 if number % 2 else 0.5)
        writer.write(WHOLE)
        return True

    server.behaviour = late_every_other
    phase = {"arrivals": "constant", "rate": 20, "duration_s": 1}
    table = play_http(make_run(scenario(phase, timeout_s=0.3)), server)
    assert dict(table["outcome"].value_counts()) == {"timeout": 10, "ok": 10}
    assert table.loc[table["outcome"] == "timeout", "latency_ms"].isna().all()
    assert table.loc[table["outcome"] == "ok", "latency_ms"].max() < 300


@pytest.mark.parametrize(
    ("phase", "fewest", "most"),
    [(STEADY, 20, 20), ({"arrivals": "closed", "concurrency": 2, "duration_s": 0.5}, 2, 10)],
)
def test_nobody_there_is_refused_and_a_closed_loop_does_not_run_hot(
    make_run: MakeRun, phase: dict[str, object], fewest: int, most: int
) -> None:
    table = play_http(make_run(scenario(phase)), KnownServer(port=9))
    assert fewest <= len(table) <= most
    assert (table["outcome"] == "refused").all()
    assert table["sent_s"].isna().all()


def test_a_server_that_comes_back_is_connected_to_again(
    make_run: MakeRun, server: KnownServer
) -> None:
    server.behaviour = sends(lambda number: WHOLE if number > 10 else b"")
    table = play_http(make_run(scenario(STEADY)), server)
    assert list(table["outcome"]) == ["disconnected"] * 10 + ["ok"] * 10


def test_connections_are_limited_and_waiting_counts_as_latency(
    make_run: MakeRun, server: KnownServer
) -> None:
    server.delay_s = 0.05
    burst = {"arrivals": "burst", "count": 20, "duration_s": 0.5}
    table = play_http(make_run(scenario(burst), max_connections=4), server)
    assert (table["outcome"] == "ok").all()
    assert server.most_connections == 4
    assert table["intended_s"].eq(0).all()
    assert table["latency_ms"].max() >= 5 * 50 - 1
    assert table["service_ms"].min() >= 49
    assert table["sent_s"].max() >= 4 * 0.05 - 0.001


def test_one_who_never_got_a_connection_was_not_sent(
    make_run: MakeRun, server: KnownServer
) -> None:
    server.delay_s = 5
    burst = {"arrivals": "burst", "count": 6, "duration_s": 0.2}
    table = play_http(make_run(scenario(burst, timeout_s=0.2), max_connections=2), server)
    assert (table["outcome"] == "timeout").all()
    assert table["sent_s"].isna().sum() == 4


@pytest.mark.timing
def test_a_closed_loop_keeps_so_many_in_flight(make_run: MakeRun, server: KnownServer) -> None:
    server.delay_s = 0.02
    closed = {"arrivals": "closed", "concurrency": 3, "duration_s": 1}
    table = play_http(make_run(scenario(closed)), server)
    assert (table["outcome"] == "ok").all()
    assert 60 <= len(table) <= 150  # 3 / 20 ms for a second, less what the machine takes
    steps = sorted([(at, 1) for at in table["sent_s"]] + [(at, -1) for at in table["done_s"]])
    assert max(itertools.accumulate(step for _, step in steps)) == 3
    assert len(server.bodies) == 4  # inputs differ, and are cycled through


@pytest.mark.parametrize("trusted", [True, False])
def test_https_is_verified_against_the_certificate(
    make_run: MakeRun, certificate: tuple[Path, ssl.SSLContext], trusted: bool
) -> None:
    pem, context = certificate
    message = b"POST /v2/models/mobilenetv2/infer HTTP/1.1\r\nContent-Length: 4\r\n\r\n1234"
    trust = str(pem) if trusted else ""
    with known_server(context) as server:
        target = Target(server.url, [message], SHAPE.output_bytes, 5, certificate=trust)
        run = make_run(scenario(STEADY, inputs=1))
        table = play(run, lambda answered: HttpClient(target, answered))
    assert list(table["outcome"]) == ["ok" if trusted else "tls"] * 20
