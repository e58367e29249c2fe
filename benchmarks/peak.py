"""Peak request rate of each client, and its CPU time per request."""

import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks import clients, echo, machine, peers
from benchmarks.clients import Program, Window
from benchmarks.figures import Result, ratios
from benchmarks.play import scenario
from benchmarks.server import Server, serving, temporary_run
from helpers.errors import Unavailable

REPETITIONS = 5
IN_FLIGHT = 32
WARM_S, WINDOW_S = 0.5, 2.0
LONGEST_S = 8  # the window is over long before
FASTER, AS_FAST_AS_C, CHEAPER = ">= 1.2", ">= 0.95", "<= 0.4"
# perf_analyzer has two ways of keeping requests in flight; it is compared by its faster one
MODES = {"threads": [], "async": ["--async"]}
HOW = f"closed loop, {IN_FLIGHT} in flight, requests as Triton counted them"

Windows = dict[str, list[Window]]


def measure() -> Result:
    """Run every client in turn, five times over, at the same server."""
    with temporary_run("quick") as run, tempfile.TemporaryDirectory() as folder:
        result = Result("peak", machine.described(run.manifest()))
        with serving(run, echo.build) as server:
            programs, missing = _programs(server, Path(folder))
            windows: Windows = defaultdict(list)
            for _ in range(REPETITIONS):
                for program in programs:
                    window = clients.window(server, program, echo.PLAIN, WARM_S, WINDOW_S)
                    windows[program.name].append(window)
    for protocol in ("http", "grpc"):
        _judge(result, protocol, windows, missing)
    for name, measured in windows.items():
        _describe(result, name, measured)
    return result


def _programs(server: Server, folder: Path) -> tuple[list[Program], dict[str, str]]:
    """The available clients, and why others are missing."""
    programs: list[Program] = []
    missing: dict[str, str] = {}

    def take(name: str, make: Callable[[], list[Program]]) -> None:
        try:
            programs.extend(make())
        except Unavailable as reason:
            missing[name] = f"not measured: {reason}"

    take("our engine", lambda: [_ours(server, protocol, folder) for protocol in ("http", "grpc")])
    take("perf_analyzer", lambda: _perf_analyzers(server))
    take("wrk", lambda: [clients.wrk(peers.wrk(), server, folder, IN_FLIGHT, LONGEST_S)])
    return programs, missing


def _ours(server: Server, protocol: str, folder: Path) -> Program:
    closed = {"arrivals": "closed", "concurrency": IN_FLIGHT, "duration_s": LONGEST_S}
    return clients.worker(server, scenario(echo.PLAIN, closed, protocol=protocol), folder)


def _perf_analyzers(server: Server) -> list[Program]:
    peer = peers.perf_analyzer()
    flags = [f"--concurrency-range={IN_FLIGHT}", f"--measurement-interval={LONGEST_S * 1000}"]
    return [
        clients.perf_analyzer(peer, server, protocol, name, [*flags, *mode])
        for protocol in ("http", "grpc")
        for name, mode in MODES.items()
    ]


def _judge(result: Result, protocol: str, windows: Windows, missing: dict[str, str]) -> None:
    ours = windows[f"our engine, {protocol}"]
    modes = [windows[name] for name in windows if name.startswith(f"perf_analyzer, {protocol}")]
    rival = max(modes, key=lambda mode: median(window.rate for window in mode), default=[])
    note = missing.get("perf_analyzer", f"{HOW}; perf_analyzer by its faster mode")
    rate, cpu = (_ratios(ours, rival, key) for key in ("rate", "cpu_per_1000"))
    result.add(f"peak rate over perf_analyzer's, {protocol}", rate, "ratio", FASTER, note)
    if protocol == "http":
        in_c = windows.get("wrk", [])
        over_wrk = _ratios(ours, in_c, "rate")
        note_wrk = missing.get("wrk", HOW)
        result.add("peak rate over wrk's, http", over_wrk, "ratio", AS_FAST_AS_C, note_wrk)
        if floor := _ratios(in_c, rival, "cpu_per_1000"):
            note += f"; wrk, written in C, is at {median(floor):.2f}"
    if cpu:
        kernel = median(window.kernel_share for window in ours)
        note += f"; {kernel:.0%} of our client's CPU is the kernel's, which sends and receives"
    result.add(f"client CPU over perf_analyzer's, {protocol}", cpu, "ratio", CHEAPER, note)


def _ratios(ours: list[Window], rival: list[Window], key: str) -> list[float]:
    if not rival:
        return []
    return ratios(
        [getattr(window, key) for window in ours], [getattr(window, key) for window in rival]
    )


def _describe(result: Result, name: str, windows: list[Window]) -> None:
    result.add(f"peak rate, {name}", [window.rate for window in windows], "requests/s")
    whole = median(window.whole_cpu_per_1000 for window in windows)
    kernel = median(window.kernel_share for window in windows)
    result.add(
        f"client CPU per 1,000 requests, {name}",
        [window.cpu_per_1000 * 1000 for window in windows],
        "ms",
        note=f"{kernel:.0%} of it in the kernel; with the start of the process: "
        f"{whole * 1000:.3g} ms (os.wait4)",
    )
    result.conditions[name] = [window.conditions for window in windows]
