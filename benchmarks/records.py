"""Peak memory of the processes that handle ten million requests.

One fires them (`benchmarks.at_once`), another assembles and reports what that one recorded:
`python -m benchmarks.records SCENARIO FOLDER`.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.figures import Result
from benchmarks.play import scenario
from benchmarks.server import temporary_run
from helpers.errors import Problem
from helpers.load import engine, statistics
from helpers.paths import ROOT
from helpers.scenario import Scenario

REQUESTS, RATE = 10_000_000, 100_000.0
LIMIT = "<= 1024"
FIRE, REPORT = "benchmarks.at_once", "benchmarks.records"
OBJECTIVE_MS = 100.0


def measure() -> Result:
    """Fire and report in separate processes, once: peak memory does not vary by chance.

    Raises:
        Problem: One of the processes failed.
    """
    with temporary_run("quick") as run, tempfile.TemporaryDirectory() as folder:
        result = Result("records", machine.described(run.manifest()))
        before = machine.snapshot([])
        played = mixed_scenario(REQUESTS)
        worker, reporter = (peak_mib(what, played, Path(folder)) for what in (FIRE, REPORT))
        result.conditions["repetition"] = [machine.conditions(before, machine.snapshot([]))]
    count = f"{REQUESTS:,} requests"
    result.add(
        f"peak memory of a worker that fires {count}", [worker], "MiB", LIMIT,
        "player and recorder of a single worker; a client that answers at once stands for the "
        "server; arrivals are random, so the count is within 0.1 %",
    )  # fmt: skip
    result.add(
        f"peak memory of assembling and reporting {count}", [reporter], "MiB", LIMIT,
        "three phases, one of them warm-up; three classes of errors; table of seconds and drift "
        "included",
    )  # fmt: skip
    return result


def mixed_scenario(requests: int) -> Scenario:
    """A scenario of about so many requests: warm-up, Poisson arrivals, a ramp."""
    seconds = requests / RATE
    rates = {"rate": RATE / 2, "to_rate": RATE}
    return scenario(
        "none",
        {"arrivals": "poisson", "rate": RATE, "duration_s": 0.1 * seconds, "warmup": True},
        {"arrivals": "poisson", "rate": RATE, "duration_s": 0.6 * seconds},
        {"arrivals": "ramp", **rates, "duration_s": 0.4 * seconds},
    )


def peak_mib(module: str, played: Scenario, folder: Path) -> float:
    """Peak resident memory of a separate process that does one part of the work.

    Args:
        module: `FIRE` or `REPORT`.
        played: What is fired, or was.
        folder: Where the records are.

    Raises:
        Problem: The process failed.
    """
    command = [sys.executable, "-m", module, played.model_dump_json(), str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise Problem(f"{module} failed: {done.stderr.strip()[-400:]}")
    return float(done.stdout)


def report(played: Scenario, folder: Path) -> None:
    """What the engine does once its workers have ended.

    Raises:
        Problem: Requests are missing.
    """
    table = statistics.assemble(folder, played)
    end: dict[str, Any] = {"engine": "none", "started": "", "stopped": "", "cpu_share": 0.0}
    reported = engine.report(played, table, end, None, None, {}, OBJECTIVE_MS)
    due, counted = sum(phase.requests for phase in reported.phases), table.count_rows()
    if counted != due:
        raise Problem(f"Of {due:,} requests {counted:,} were recorded.")


if __name__ == "__main__":
    report(Scenario.model_validate_json(sys.argv[1]), Path(sys.argv[2]))
    print(machine.own_peak_mib())
