"""The workers that share the arrivals of a scenario: processes here, or Locust's in pods."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from helpers.errors import Problem
from helpers.load.arrivals import Shard
from helpers.load.request import ProgressMerger, Second
from helpers.load.worker import Order, WorkerJob
from helpers.paths import ROOT
from helpers.processes import MARK, log_tail
from helpers.scenario import Scenario, Stop

HEAD_START_S = 0.2  # for the instant of the start to reach every worker
STOP_S, LOCUST_STOP_S = 10.0, 20.0  # for requests that are not on disk, or not with the master, yet
OnEvent = Callable[[str, Any], None]
"""Called with `load-start` and the scenario's name, `phase-start` and `phase-stop` and the phase's
name, `load-stop` and the outcome, and once a second with `second` and a `Second`."""
WorkerProcess = subprocess.Popen[str]


@dataclass
class WorkerPool:
    """The workers of one scenario; they wait for the signal to begin."""

    scenario: Scenario
    reporters: list[WorkerProcess]  # they speak as `helpers.load.worker` does
    log: Path  # what they write to standard error
    master: bool = False  # the one reporter is Locust's master, which speaks for all workers
    on_stop: Callable[[bool], None] = lambda begun: None  # called with whether the load had begun
    begun: bool = False
    _stopped: str = ""  # why the load ended early

    def __post_init__(self) -> None:
        self._merger = ProgressMerger(self.scenario.workers)

    async def follow(self, on_event: OnEvent) -> dict[str, Any]:
        """Let the workers begin together, and pass on what they report until they end.

        Returns:
            `started` (UTC), `engine`, `cpu_share` (of the busiest), `stopped` (why early, or "").

        Raises:
            Problem: A worker failed or was stopped from outside.
        """
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(len(self.reporters)) as threads:
            messages = [_messages(process, threads) for process in self.reporters]
            try:
                first = [await anext(stream, {}) for stream in messages]
                if all(message.get("kind") == "ready" for message in first):
                    # workers here share the machine's clock, which Locust's master may not
                    start = HEAD_START_S if self.master else time.monotonic() + HEAD_START_S
                    for pipe in self._inputs:
                        pipe.write(f"{start!r}\n")
                        pipe.flush()
                else:
                    self._close_inputs()  # or the others would wait for the start
                follow = partial(self._follow_worker, on_event)
                ends = await asyncio.gather(*map(follow, range(len(messages)), messages))
            except BaseException:
                self._end_processes()  # or the threads would wait for another line
                raise
            waits = [loop.run_in_executor(threads, process.wait) for process in self.reporters]
            codes = await asyncio.gather(*waits)
        self._raise_failure(codes, ends)
        busiest = max(ends, key=lambda end: float(end["cpu_share"]))
        return {**ends[0], "cpu_share": busiest["cpu_share"], "stopped": self._stopped}

    def stop(self) -> None:
        """End every worker; what it has recorded is on disk then."""
        try:
            self._end_processes()
        finally:
            self.on_stop(self.begun)

    async def _follow_worker(
        self, on_event: OnEvent, number: int, messages: AsyncIterator[dict[str, Any]]
    ) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        async for message in messages:
            match message["kind"]:
                case "start":
                    facts["started"] = message["at"]
                    if not number:
                        self.begun = True
                        on_event("load-start", self.scenario.name)
                case "phase-start" | "phase-stop" as kind if not number:
                    on_event(kind, message["phase"])
                case "progress":
                    if second := self._merger.add(message.get("shard", number), message):
                        on_event("second", second)
                        reason = reason_to_stop(self.scenario.stop, second)
                        if reason and not self._stopped:
                            self._stopped = f"stopped after {second.elapsed_s:.0f} s: {reason}"
                            self._ask_to_end()
                case "end":
                    facts |= message
        return facts

    def _ask_to_end(self) -> None:
        if self.master:  # killed by a signal, it would not collect the records
            self._close_inputs()
        else:
            for process in self.reporters:
                process.terminate()

    @property
    def _inputs(self) -> list[IO[str]]:
        return [process.stdin for process in self.reporters if process.stdin]

    def _close_inputs(self) -> None:
        for pipe in self._inputs:
            pipe.close()

    def _end_processes(self) -> None:
        self._ask_to_end()
        deadline = time.monotonic() + (LOCUST_STOP_S if self.master else STOP_S)
        for process in self.reporters:
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()

    def _raise_failure(self, codes: list[int], ends: list[dict[str, Any]]) -> None:
        name = self.scenario.name
        for code, end in zip(codes, ends, strict=True):
            if code or "kind" not in end:
                how = f"killed by signal {-code}" if code < 0 else f"exit status {code}"
                output = f"The end of its worker's log:\n{log_tail(self.log)}"
                raise Problem(f"The load '{name}' failed ({how}).", output)
            if end["interrupted"] and not self._stopped:
                raise Problem(
                    f"The load '{name}' was stopped from outside.",
                    f"The requests so far are in table requests-{name}.",
                )


Starter = Callable[[Order, Path, str], WorkerPool]
"""Starts the workers for an order; the folder is for records and logs, the mark is the run's."""


def start_processes(order: Order, folder: Path, mark: str) -> WorkerPool:
    """Start the workers as processes of this machine."""
    scenario, log = order.scenario, log_path(order, folder)
    reporters = []
    with log.open("w") as errors:
        for number in range(scenario.workers):
            job = WorkerJob(folder=folder, shard=Shard(number, scenario.workers), **dict(order))
            command = ["-m", "helpers.load.worker", job.model_dump_json()]
            reporters.append(
                subprocess.Popen(
                    [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=errors, text=True, cwd=ROOT, env=os.environ | {MARK: mark},
                    start_new_session=True,  # an interrupt is for the parent, which then stops them
                )
            )  # fmt: skip
    return WorkerPool(scenario, reporters, log)


def log_path(order: Order, folder: Path) -> Path:
    """Where the workers' standard error goes."""
    log = folder / "services" / f"load-{order.scenario.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    return log


def reason_to_stop(stop: Stop, second: Second) -> str:
    """Why a load should end after a second of it; empty where it should go on."""
    if stop.errors_pct is not None and 100 * second.error_share > stop.errors_pct:
        return f"{100 * second.error_share:.0f} % of the answers of the last seconds were errors"
    if stop.p99_ms is not None and second.p99_ms is not None and second.p99_ms > stop.p99_ms:
        return f"the P99 of the last seconds was {second.p99_ms:.0f} ms"
    if stop.in_flight is not None and second.in_flight > stop.in_flight:
        return f"{second.in_flight} requests had no answer"
    return ""


async def _messages(
    process: WorkerProcess, threads: ThreadPoolExecutor
) -> AsyncIterator[dict[str, Any]]:
    """What a worker reports, line by line; reading blocks a thread, not the event loop."""
    assert process.stdout is not None
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(threads, process.stdout.readline):
        yield json.loads(line)
