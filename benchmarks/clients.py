"""Load generators as processes: started, measured over the same time window, and ended."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks import machine
from benchmarks.echo import PLAIN
from benchmarks.peers import Peer
from benchmarks.server import Server, settle
from helpers.errors import Problem
from helpers.load import http_client, request, server_check
from helpers.load.arrivals import WHOLE
from helpers.load.worker import WorkerJob
from helpers.paths import ROOT
from helpers.processes import MARK
from helpers.scenario import Scenario

START_S = 20.0
POLL_S = 0.05
HEAD_START_S = 0.1


@dataclass(frozen=True)
class Program:
    """A load generator, ready to be started.

    Attributes:
        name: As people call it.
        command: Program and arguments.
        environment: Variables added to the environment.
        waits: Whether it prints a line when it is ready, and then reads the instant to begin.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    waits: bool = False


@dataclass(frozen=True)
class Window:
    """Requests and CPU seconds of a client and the server in a time window under full load.

    Attributes:
        rate: Requests per second that Triton counted.
        cpu_per_1000: CPU seconds of the client per 1,000 of these.
        kernel_share: How much of that the kernel took on the client's behalf, 0 to 1.
        whole_cpu_per_1000: As `cpu_per_1000`, over the whole life of the process, with its start.
        conditions: What else the machine did.
    """

    rate: float
    cpu_per_1000: float
    kernel_share: float
    whole_cpu_per_1000: float
    conditions: dict[str, float]


def worker(server: Server, scenario: Scenario, folder: Path) -> Program:
    """Our engine: the same worker process that fires scenarios in a run.

    Args:
        server: What to load.
        scenario: What to play.
        folder: Where it puts its records.
    """
    work = WorkerJob(
        folder=folder,
        scenario=scenario,
        shard=WHOLE,
        endpoint=server.endpoint,
        shape=server_check.preflight(server.endpoint, scenario),
        max_connections=256,
    )
    command = [sys.executable, "-m", "helpers.load.worker", work.model_dump_json()]
    return Program(f"our engine, {scenario.protocol}", command, waits=True)


def perf_analyzer(
    peer: Peer, server: Server, protocol: str, mode: str, flags: Sequence[str]
) -> Program:
    """Triton's own load generator on the plain echo model.

    Args:
        peer: The program.
        server: What to load.
        protocol: `http` or `grpc`.
        mode: How people call what the flags choose.
        flags: How many are in flight, how they are sent, and for how long.
    """
    endpoint = server.endpoint
    address = endpoint.http.removeprefix("http://") if protocol == "http" else endpoint.grpc
    command = [str(peer.program), "-m", PLAIN, "-i", protocol, "-u", address, *flags]
    return Program(f"perf_analyzer, {protocol}, {mode}", command, peer.environment)


def wrk(peer: Peer, server: Server, folder: Path, connections: int, seconds: int) -> Program:
    """`wrk` with one thread, sending the same bytes as our engine.

    Args:
        peer: The program.
        server: What to load.
        folder: Where to put the script and the body.
        connections: How many requests are in flight.
        seconds: How long, whole seconds.
    """
    url = server.endpoint.http
    head, _, body = message(server).partition(b"\r\n\r\n")
    (folder / "body").write_bytes(body)
    (folder / "request.lua").write_text(_script(head.decode(), folder / "body"))
    command = [str(peer.program), "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    command += ["-s", str(folder / "request.lua"), f"{url}/v2/models/{PLAIN}/infer"]
    return Program("wrk", command, peer.environment)


def message(server: Server) -> bytes:
    """A whole HTTP request to the plain echo model, as our engine sends it."""
    phase = {"name": "one", "arrivals": "closed", "concurrency": 1, "duration_s": 1}
    scenario = Scenario.model_validate({"name": "message", "model": PLAIN, "phases": [phase]})
    shape = server_check.preflight(server.endpoint, scenario)
    return http_client.messages(shape, request.tensors(shape, scenario), server.endpoint.http)[0]


def _script(head: str, body: Path) -> str:
    """The script for wrk: same method, head and body; wrk adds host and length by itself."""
    fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    wanted = {name: fields[name] for name in fields if name not in ("Host", "Content-Length")}
    lines = [f'wrk.headers["{name}"] = "{value}"' for name, value in wanted.items()]
    return "\n".join(
        ['wrk.method = "POST"', f'wrk.body = io.open("{body}", "rb"):read("*a")', *lines, ""]
    )


@contextmanager
def started(server: Server, program: Program) -> Iterator["subprocess.Popen[str]"]:
    """The process of a client; it ends with the context."""
    process = subprocess.Popen(
        program.command,
        cwd=ROOT,
        env=os.environ | program.environment | {MARK: server.run.mark},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        if program.waits:
            assert process.stdin and process.stdout
            process.stdout.readline()
            process.stdin.write(f"{time.monotonic() + HEAD_START_S!r}\n")
            process.stdin.flush()
        yield process
    finally:
        process.kill()
        process.communicate()


def finished(server: Server, program: Program, timeout_s: float) -> str:
    """Run a client that ends by itself; returns what it printed.

    Raises:
        Problem: It failed, or did not end in time.
    """
    with started(server, program) as process:
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise Problem(f"{program.name} did not end in time.") from error
    if process.returncode:
        raise Problem(f"{program.name} failed with status {process.returncode}: {output[-400:]}")
    return output


def window(server: Server, program: Program, model: str, warm_s: float, window_s: float) -> Window:
    """Load the server with a client, measure both over a time window, and end the client.

    Every client is measured the same way: Triton counts requests, the kernel counts CPU seconds,
    and the window excludes start and end of the process.

    Args:
        server: What to load.
        program: The client; it must go on for longer than this takes.
        model: The served model's name.
        warm_s: From the first answer to the window, seconds.
        window_s: Length of the window, seconds.

    Raises:
        Problem: The client sends nothing, or ends too early.
    """
    at_start = server.counts(model)["nv_inference_request_success"]
    family = server.processes()
    with started(server, program) as process:
        _await_load(server, program, process, model, at_start)
        time.sleep(warm_s)
        client = psutil.Process(process.pid)
        before, answered_before, user_before, kernel_before = _look(server, model, client, family)
        time.sleep(window_s)
        after, answered_after, user_after, kernel_after = _look(server, model, client, family)
        if process.poll() is not None:
            raise Problem(f"{program.name} ended too early: {process.communicate()[0][-400:]}")
        whole_cpu_s = _ended(process)
    settle()
    total = server.counts(model)["nv_inference_request_success"] - at_start
    answered = answered_after - answered_before
    kernel_s = kernel_after - kernel_before
    cpu_s = user_after - user_before + kernel_s
    return Window(
        rate=answered / (after.at - before.at),
        cpu_per_1000=cpu_s / answered * 1000,
        kernel_share=kernel_s / cpu_s,
        whole_cpu_per_1000=whole_cpu_s / total * 1000,
        conditions=machine.conditions(before, after),
    )


def _await_load(
    server: Server,
    program: Program,
    process: "subprocess.Popen[str]",
    model: str,
    so_far: float,
) -> None:
    deadline = time.monotonic() + START_S
    while server.counts(model)["nv_inference_request_success"] == so_far:
        if process.poll() is not None or time.monotonic() > deadline:
            raise Problem(f"{program.name} sends no requests.")
        time.sleep(POLL_S)


def _look(
    server: Server, model: str, client: psutil.Process, family: list[psutil.Process]
) -> tuple[machine.Snapshot, float, float, float]:
    """The machine, requests answered, and the client's CPU seconds, its own and the kernel's."""
    answered = server.counts(model)["nv_inference_request_success"]
    spent = client.cpu_times()
    return machine.snapshot([*family, client]), answered, spent.user, spent.system


def _ended(process: "subprocess.Popen[str]") -> float:
    """End a client; returns its CPU seconds."""
    process.kill()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # `wait4` has reaped it
    return usage.ru_utime + usage.ru_stime
