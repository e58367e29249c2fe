"""What monitoring costs while a load runs: CPU and memory of Prometheus and sampler, latency."""

from collections import defaultdict

import psutil

from benchmarks import echo, machine
from benchmarks.figures import Result, ratios
from benchmarks.play import play, scenario
from benchmarks.server import serving, temporary_run
from helpers import processes
from helpers.errors import Problem
from helpers.run import Run
from helpers.telemetry import prometheus
from helpers.telemetry.prometheus import PROMETHEUS, SAMPLER

REPETITIONS = 5
PHASES = (
    {"arrivals": "constant", "rate": 200.0, "duration_s": 1.0, "warmup": True},
    {"arrivals": "constant", "rate": 200.0, "duration_s": 8.0},
)
GOAL = "<= 1.1"
MIB = 2**20
NOTE = "open loop, 200 requests/s over HTTP, with and without in turn"


def measure() -> Result:
    """Play the same load with monitoring and without, five times in turn."""
    load = scenario(echo.PLAIN, *PHASES)
    values: dict[str, list[float]] = defaultdict(list)
    with temporary_run("quick") as run:
        result = Result("monitoring", machine.described(run.manifest()))
        with serving(run, echo.build) as server:
            for _ in range(REPETITIONS):
                without = play(server, load)[1]
                scraped = prometheus.serve(run, server.endpoint)
                watching = {name: _process(run, name) for name in (PROMETHEUS, SAMPLER)}
                before = machine.snapshot(server.processes())
                used = {name: machine.cpu_seconds(process) for name, process in watching.items()}
                watched = play(server, load)[1]
                after = machine.snapshot(server.processes())
                for name, process in watching.items():
                    spent = machine.cpu_seconds(process) - used[name]
                    values[f"CPU, {name}"].append(100 * spent / (after.at - before.at))
                    values[f"memory, {name}"].append(process.memory_info().rss / MIB)
                values["series"].append(scraped.series_count())
                values["P50"] += ratios([watched.p50_us], [without.p50_us])
                values["P99"] += ratios([watched.p99_us], [without.p99_us])
                others = machine.conditions(before, after)
                result.conditions.setdefault("repetition", []).append(others)
                for name in (PROMETHEUS, SAMPLER):
                    processes.stop(run, name)
    result.add("P50 with monitoring over P50 without", values["P50"], "ratio", GOAL, NOTE)
    result.add("P99 with monitoring over P99 without", values["P99"], "ratio", "", NOTE)
    every = f"scraped every {run.profile.telemetry.scrape_interval_s:g} s"
    for name in (PROMETHEUS, SAMPLER):
        result.add(f"CPU of {name}", values[f"CPU, {name}"], "% of a core", "", every)
        result.add(
            f"memory of {name}", values[f"memory, {name}"], "MiB", "", "resident, at the end"
        )
    result.add("series in Prometheus", values["series"], "series")
    return result


def _process(run: Run, service: str) -> psutil.Process:
    """The process of a running service, which is the child of its watcher."""
    running = processes.find(run, service)
    if running is None or running.process is None:
        raise Problem(f"{service} has ended; its log is services/{service}.log in the run.")
    return running.process.children()[0]
