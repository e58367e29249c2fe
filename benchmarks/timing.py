"""Accuracy of the engine's times: added latency, lateness of sending, duration of a burst."""

import re
import socket
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from benchmarks import clients, echo, machine, peers
from benchmarks.clients import Program
from benchmarks.figures import Result
from benchmarks.play import play, scenario
from benchmarks.server import Server, serving, settle, temporary_run
from helpers.errors import Problem, Unavailable
from helpers.load.arrivals import EARLY_S
from helpers.load.worker import SENDS_AT_ONCE

REPETITIONS = 5
PROTOCOLS = ("http", "grpc")
ALONE_S = 2
# constant arrivals: per second, for how many seconds, and how the client awaits the next one
PACES = (
    (1000.0, 3.5, "no spinning"),
    (50.0, 6.0, f"awake for at most {1000 * EARLY_S:g} ms before each is due"),
)
BURST = 1000
AT_ONCE = (
    {"arrivals": "constant", "rate": 1000.0, "duration_s": 1.0, "warmup": True},
    {"arrivals": "burst", "count": BURST, "duration_s": 1.0},
)
PAIR_RATE, PAIR_S, PAIR_TIMEOUT_S = 10_000.0, 3.0, 3.0
ADDED, LATE, LEAVE, DELIVERED = "<= 50", "<= 0.5", "<= 5", ">= 98"
END_S = 30.0
BURST_COSTS = {
    "http": f"a system call each; up to {SENDS_AT_ONCE} of them come after the last request's time",
    "grpc": "on a few connections",
}
CORES = {
    "all cores": "the server handles the first requests on the same cores meanwhile",
    "a core left": "the server leaves a core to the client, as in a rehearsal",
}

Values = dict[str, list[float]]


def measure() -> Result:
    """Take each measurement in turn, five times."""
    with temporary_run("quick") as run, tempfile.TemporaryDirectory() as folder:
        result = Result("timing", machine.described(run.manifest()))
        values: Values = defaultdict(list)
        with serving(run, echo.build) as server:
            missing = _repeat(server, Path(folder), values, result)
            _bursts(server, values, "all cores")
        with serving(run, echo.build, left=1) as server:
            _bursts(server, values, "a core left")
        _added(result, values, missing)
        _paced(result, values)
        _at_once(result, values)
        # last, on a separate server: Triton 2.51 may crash at its limit
        with serving(run, echo.build) as server:
            _pair(result, server)
    return result


def _repeat(server: Server, folder: Path, values: Values, result: Result) -> dict[str, str]:
    """All measurements except the last; and why peers are missing."""
    programs, missing = _peers(server, folder)
    family = server.processes()
    for _ in range(REPETITIONS):
        before = machine.snapshot(family)
        for name, (program, pattern) in programs.items():
            values[f"alone {name}"].append(_peer_alone(server, program, pattern))
        for protocol in PROTOCOLS:
            values[f"alone our engine, {protocol}"].append(_alone(server, protocol))
            for rate, seconds, _ in PACES:
                phase = {"arrivals": "constant", "rate": rate, "duration_s": seconds}
                steady = play(server, scenario(echo.PLAIN, phase, protocol=protocol))[0]
                values[f"late {rate} {protocol}"].append(steady.send_error_us / 1000)
                values[f"share {rate} {protocol}"].append(steady.cpu_share)
        others = machine.conditions(before, machine.snapshot(family))
        # clients start and stop during the window, so they count as other processes
        result.conditions.setdefault("repetition", []).append(others)
    return missing


def _alone(server: Server, protocol: str) -> float:
    """The engine's P50 with one request in flight, minus the server's mean, microseconds."""
    closed = {"arrivals": "closed", "concurrency": 1, "duration_s": ALONE_S}
    closed_loop = scenario(echo.PLAIN, closed, protocol=protocol)
    return _over_server(server, lambda: play(server, closed_loop)[0].p50_us)


def _peer_alone(server: Server, program: Program, pattern: str) -> float:
    """The same for a peer, which prints its P50."""

    def p50_us() -> float:
        output = clients.finished(server, program, END_S)
        match = re.search(pattern, output)
        if not match:
            raise Problem(f"{program.name} printed no median: {output[-400:]}")
        return float(match[1]) * (1000 if match[0].endswith("ms") else 1)

    return _over_server(server, p50_us)


def _over_server(server: Server, run: Callable[[], float]) -> float:
    """A client's P50 minus the mean that Triton counted in the same time; microseconds."""
    before = server.counts(echo.PLAIN)
    p50_us = run()
    settle()
    after = server.counts(echo.PLAIN)
    spent_us = (
        after["nv_inference_request_duration_us"] - before["nv_inference_request_duration_us"]
    )
    return p50_us - spent_us / (
        after["nv_inference_request_success"] - before["nv_inference_request_success"]
    )


def _peers(server: Server, folder: Path) -> tuple[dict[str, tuple[Program, str]], dict[str, str]]:
    """The peers with one request in flight, how each prints its median, and the missing ones."""
    programs: dict[str, tuple[Program, str]] = {}
    missing: dict[str, str] = {}
    flags = ["--concurrency-range=1", "--measurement-interval=300", "--stability-percentage=999"]
    try:
        peer = peers.perf_analyzer()
        for protocol in PROTOCOLS:
            program = clients.perf_analyzer(peer, server, protocol, "threads", flags)
            programs[f"perf_analyzer, {protocol}"] = (program, r"p50 latency: (\d+) usec")
    except Unavailable as reason:
        missing |= {
            f"perf_analyzer, {protocol}": f"not measured: {reason}" for protocol in PROTOCOLS
        }
    try:
        program = clients.wrk(peers.wrk(), server, folder, 1, ALONE_S)
        programs["wrk"] = (program, r"50%\s+([\d.]+)(?:us|ms)")
    except Unavailable as reason:
        missing["wrk"] = f"not measured: {reason}"
    return programs, missing


def _bursts(server: Server, values: Values, cores: str) -> None:
    """Bursts of both protocols, and of bare system calls, in turn."""
    for _ in range(REPETITIONS):
        for protocol in PROTOCOLS:
            _, burst = play(server, scenario(echo.PLAIN, *AT_ONCE, protocol=protocol))
            values[f"leave {protocol}, {cores}"].append(burst.leave_ms)
        values[f"leave bare, {cores}"].append(_bare_burst_ms(server))


def _bare_burst_ms(server: Server) -> float:
    """Bare `send` calls with the engine's bytes: first call to the end of the last."""
    message, address = clients.message(server), urlsplit(server.endpoint.http)
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_connection((address.hostname, address.port)))
            for _ in range(BURST)
        ]
        settle()
        begin = time.monotonic()
        for connection in sockets:
            connection.send(message)
        spent_ms = (time.monotonic() - begin) * 1000
        for connection in sockets:
            connection.recv(1)  # wait for the answer
    return spent_ms


def _added(result: Result, values: Values, missing: dict[str, str]) -> None:
    floor = values["alone wrk"]
    in_c = f"; wrk, written in C, adds {median(floor):.0f} µs over HTTP" if floor else ""
    for protocol in PROTOCOLS:
        result.add(
            f"P50 at concurrency 1 over the server's own mean, {protocol}",
            values[f"alone our engine, {protocol}"],
            "µs",
            ADDED,
            f"loopback and Triton's front end are in it, for every client alike{in_c}",
        )
    for name in ("wrk", *(f"perf_analyzer, {protocol}" for protocol in PROTOCOLS)):
        metric = f"the same of {name}"
        result.add(metric, values[f"alone {name}"], "µs", note=missing.get(name, ""))


def _paced(result: Result, values: Values) -> None:
    for rate, seconds, waiting in PACES:
        for protocol in PROTOCOLS:
            share = median(values[f"share {rate} {protocol}"])
            result.add(
                f"send error P99 at {rate:,.0f}/s, {protocol}",
                values[f"late {rate} {protocol}"],
                "ms",
                LATE,
                f"{seconds:g} s of constant arrivals; the client used {share:.0%} of a core, "
                f"{waiting}",
            )


def _at_once(result: Result, values: Values) -> None:
    for cores, how in CORES.items():
        for protocol in PROTOCOLS:
            result.add(
                f"a burst of {BURST:,}: first to last request sent, {protocol}, {cores}",
                values[f"leave {protocol}, {cores}"],
                "ms",
                LEAVE,
                f"{BURST_COSTS[protocol]}; {how}",
            )
        result.add(
            f"the same of {BURST:,} bare send calls, {cores}",
            values[f"leave bare, {cores}"],
            "ms",
            note="a loop of `send` calls on connected sockets",
        )


def _pair(result: Result, server: Server) -> None:
    """Two processes that share the arrivals."""
    steady = {"arrivals": "poisson", "rate": PAIR_RATE, "duration_s": PAIR_S}
    delivered, answered = [], []
    for seed in range(REPETITIONS):
        both = scenario(echo.BATCHED, steady, workers=2, seed=seed, timeout_s=PAIR_TIMEOUT_S)
        phase = play(server, both)[0]
        delivered.append(100 * phase.sent / phase.requests)
        answered.append(100 * phase.ok / phase.requests)
    how = f"{PAIR_S:g} s of Poisson arrivals at the echo model with dynamic batching"
    name = f"two processes at {PAIR_RATE:,.0f}/s over HTTP"
    result.add(f"{name}: sent in time", delivered, "%", DELIVERED, how)
    result.add(
        f"{name}: answered well in time",
        answered,
        "%",
        note="Triton at its limit answers late, and loses some answers that it counts as successes",
    )
