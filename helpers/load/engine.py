"""Fires one scenario at one server: worker processes, what they tell, and what came of it."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pandas as pd

from helpers.errors import Problem
from helpers.load import counters, preflight, statistics, tables
from helpers.load.arrivals import Shard
from helpers.load.counters import Counters
from helpers.load.live import printed
from helpers.load.memory import MemoryLog
from helpers.load.payload import Shape
from helpers.load.progress import Merged, Second
from helpers.load.report import Memory, ScenarioReport
from helpers.load.worker import Work
from helpers.paths import OUTPUTS, ROOT
from helpers.scenario import Scenario
from helpers.services import MARK, log_tail
from helpers.serving.endpoint import Endpoint

INTERRUPTED = "interrupted"
HEAD_START_S = 0.2  # for the word to reach every worker
SETTLE_S = 2.0  # Triton counts a request a little after it has answered it
STOP_S = 10.0  # for the requests that are not on disk yet
MAX_CONNECTIONS = 256

Told = Callable[[str, Any], None]
"""Called with `load-start`, `phase-start`, `phase-stop`, `load-stop` and what they are about (the
scenario's name, the phase's name, the outcome), and once a second with `second` and a `Second`."""


@dataclass(frozen=True)
class Result:
    """What came of a scenario.

    Attributes:
        report: Its figures.
        folder: Where its tables are.
    """

    report: ScenarioReport
    folder: Path

    def requests(self) -> pd.DataFrame:
        """Every request; columns as `helpers.load.report` describes."""
        return pd.read_parquet(tables.table_path(self.folder, self.report.name))

    def seconds(self) -> pd.DataFrame:
        """Every second; columns as `helpers.load.report` describes."""
        return pd.read_csv(tables.seconds_path(self.folder, self.report.name))


async def run(
    scenario: Scenario,
    endpoint: Endpoint,
    *,
    folder: Path | None = None,
    told: Told | None = None,
    objective_ms: float | None = None,
    max_connections: int = MAX_CONNECTIONS,
    mark: str = "",
    watched: Mapping[str, int] | None = None,
) -> Result:
    """Fire a scenario and wait until every request has its outcome.

    However it ends, what was measured is in `folder`: `tables/requests-<scenario>.parquet` and
    `tables/seconds-<scenario>.csv`.

    Args:
        scenario: What to fire.
        endpoint: The server to fire at.
        folder: Where tables and logs go; a new one below `outputs/loads` where left out.
        told: Told what happens; prints a line a second where left out.
        objective_ms: Good answers within this count as goodput.
        max_connections: Most HTTP connections at a time, over all workers.
        mark: Put into the workers' environment, so that others recognise them.
        watched: Name → pid of processes whose memory is followed (each with its children).

    Raises:
        Problem: The scenario cannot be sent to this server, a worker failed, or it was stopped
            from outside.
    """
    told = told or printed(scenario.name)
    folder = folder or _new_folder(scenario.name)
    shape = await asyncio.to_thread(preflight.check, endpoint, scenario)
    tables.clear(folder, scenario.name)
    before = await asyncio.to_thread(counters.read, endpoint.metrics, scenario.model)
    memory = MemoryLog(watched or {})

    def heard(kind: str, what: Any) -> None:
        if isinstance(what, Second):
            memory.take(what)
        told(kind, what)

    crew = Crew.start(scenario, endpoint, shape, folder, max_connections, mark)
    outcome = INTERRUPTED
    try:
        end = await crew.follow(heard)
        outcome = end["stopped"] or "finished"
    except Exception as error:
        outcome = f"failed: {error}"
        raise
    finally:
        # nothing is awaited here: whoever interrupts may end the event loop at once
        crew.stop()
        if crew.begun:
            told("load-stop", outcome)
        table = assemble(folder, scenario)
    after = await asyncio.to_thread(_settled, endpoint.metrics, scenario.model, before, table)
    report = _report(scenario, table, end, before, after, memory.report(), objective_ms)
    return Result(report, folder)


class Crew:
    """The workers of one scenario, which share its arrivals."""

    def __init__(self, scenario: Scenario, workers: list["subprocess.Popen[str]"], log: Path):
        self._scenario = scenario
        self._workers = workers
        self._log = log
        self._merged = Merged(len(workers))
        self._stopped = ""
        self.begun = False

    @classmethod
    def start(
        cls,
        scenario: Scenario,
        endpoint: Endpoint,
        shape: Shape,
        folder: Path,
        max_connections: int,
        mark: str,
    ) -> Self:
        """Start the workers; they wait to be told when to begin."""
        log = folder / "services" / f"load-{scenario.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        workers = []
        with log.open("w") as errors:
            for number in range(scenario.workers):
                shard = Shard(number, scenario.workers)
                work = Work(
                    folder=folder, scenario=scenario, shard=shard, endpoint=endpoint, shape=shape,
                    max_connections=max(shard.share(max_connections), 1),
                )  # fmt: skip
                worker = subprocess.Popen(
                    [sys.executable, "-m", "helpers.load.worker", work.model_dump_json()],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    cwd=ROOT,
                    env=os.environ | {MARK: mark},
                    start_new_session=True,  # an interrupt is for the parent, which then stops them
                )
                workers.append(worker)
        return cls(scenario, workers, log)

    async def follow(self, told: Told) -> dict[str, Any]:
        """Let the workers begin together, and pass on what they tell until they end.

        Returns:
            `started` (UTC), `engine`, `cpu_share` (of the busiest), `stopped` (why early, or "").

        Raises:
            Problem: A worker failed or was stopped from outside.
        """
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(len(self._workers)) as threads:
            lines = [Lines(loop, threads, one) for one in self._workers]
            try:
                ready = [await anext(one, {}) for one in lines]
                if all(one.get("kind") == "ready" for one in ready):
                    self._begin()
                ends = await asyncio.gather(
                    *(self._hear(number, one, told) for number, one in enumerate(lines))
                )
            except BaseException:
                self._terminate()  # or the threads would wait for another line
                raise
            codes = [await loop.run_in_executor(threads, one.wait) for one in self._workers]
        self._raise_failure(codes, ends)
        return {
            "started": ends[0]["started"],
            "engine": ends[0]["engine"],
            "cpu_share": max(one["cpu_share"] for one in ends),
            "stopped": self._stopped,
        }

    def stop(self) -> None:
        """End every worker; what it has recorded is on disk then."""
        self._terminate()
        deadline = time.monotonic() + STOP_S
        for one in self._workers:
            try:
                one.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()
            for pipe in (one.stdin, one.stdout):
                if pipe:
                    pipe.close()

    def _begin(self) -> None:
        zero = time.monotonic() + HEAD_START_S  # the clock is the machine's, the same for all
        for one in self._workers:
            assert one.stdin is not None
            one.stdin.write(f"{zero!r}\n")
            one.stdin.flush()

    def _terminate(self) -> None:
        for one in self._workers:
            if one.poll() is None:
                one.terminate()

    async def _hear(self, number: int, lines: "Lines", told: Told) -> dict[str, Any]:
        known: dict[str, Any] = {}
        async for said in lines:
            match said["kind"]:
                case "start":
                    known["started"] = said["at"]
                    if not number:
                        self.begun = True
                        told("load-start", self._scenario.name)
                case "phase-start" | "phase-stop" as kind if not number:
                    told(kind, said["phase"])
                case "progress":
                    if second := self._merged.take(number, said):
                        told("second", second)
                        self._stop_early(second)
                case "end":
                    known |= said
        return known

    def _stop_early(self, second: Second) -> None:
        why = statistics.reason_to_stop(self._scenario.stop, second)
        if why and not self._stopped:
            self._stopped = f"stopped after {second.elapsed_s:.0f} s: {why}"
            self._terminate()

    def _raise_failure(self, codes: list[int], ends: list[dict[str, Any]]) -> None:
        name = self._scenario.name
        for code, end in zip(codes, ends, strict=True):
            if code or "kind" not in end:
                how = f"killed by signal {-code}" if code < 0 else f"exit status {code}"
                said = f"Its worker said:\n{log_tail(self._log)}"
                raise Problem(f"The load '{name}' failed ({how}).", said)
            if end["interrupted"] and not self._stopped:
                raise Problem(
                    f"The load '{name}' was stopped from outside.",
                    f"The requests so far are in table {tables.table_name(name)}.",
                )


class Lines:
    """What a worker tells, line by line; reading blocks a thread, not the event loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, threads: ThreadPoolExecutor,
        worker: "subprocess.Popen[str]",
    ) -> None:  # fmt: skip
        self._loop, self._threads, self._worker = loop, threads, worker

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> dict[str, Any]:
        assert self._worker.stdout is not None
        line = await self._loop.run_in_executor(self._threads, self._worker.stdout.readline)
        if not line:
            raise StopAsyncIteration
        said: dict[str, Any] = json.loads(line)
        return said


def _new_folder(name: str) -> Path:
    folder = OUTPUTS / "loads" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{name}"
    folder.mkdir(parents=True)
    return folder


def assemble(folder: Path, scenario: Scenario) -> pd.DataFrame:
    """Make the tables from what the workers recorded."""
    table = pd.read_parquet(tables.assemble(folder, scenario))
    tables.write_seconds(folder, scenario.name, statistics.seconds(table))
    return table


def _settled(url: str, model: str, before: Counters | None, table: pd.DataFrame) -> Counters | None:
    """The counters once they hold every good answer, or after a while."""
    deadline = time.monotonic() + SETTLE_S
    fewest, _ = counters.expected(table)
    while True:
        after = counters.read(url, model)
        complete = before and after and after.since(before).requests >= fewest
        if complete or after is None or before is None or time.monotonic() > deadline:
            return after
        time.sleep(0.1)


def _report(
    scenario: Scenario,
    table: pd.DataFrame,
    end: dict[str, Any],
    before: Counters | None,
    after: Counters | None,
    memory: dict[str, Memory],
    objective_ms: float | None,
) -> ScenarioReport:
    server = after.since(before) if before and after else None
    agreement, contradiction = counters.compare(table, server)
    phases, measured = statistics.reports(table, scenario, objective_ms)
    doubts = list(measured.invalid)
    if contradiction:
        doubts.append(agreement)
    if end["cpu_share"] > statistics.CPU_LIMIT:
        doubts.append(f"the client used {end['cpu_share']:.2f} of a core and was the bottleneck")
    return ScenarioReport(
        name=scenario.name,
        model=scenario.model,
        protocol=scenario.protocol,
        batch=scenario.batch,
        seed=scenario.seed,
        workers=scenario.workers,
        engine=end["engine"],
        started=end["started"],
        stopped=end["stopped"],
        objective_ms=objective_ms,
        phases=phases,
        measured=measured,
        server=server,
        agreement=agreement,
        drift=statistics.drift(table),
        memory=memory,
        client_cpu_share=end["cpu_share"],
        invalid=tuple(doubts),
    )
