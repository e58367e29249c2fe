"""The processes that share the arrivals of a scenario, and what they tell."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from helpers.errors import Problem
from helpers.load import statistics, tables
from helpers.load.arrivals import Shard
from helpers.load.payload import Shape
from helpers.load.progress import Merged, Second
from helpers.load.worker import Work
from helpers.paths import ROOT
from helpers.processes import MARK, log_tail
from helpers.scenario import Scenario
from helpers.serving.endpoint import Endpoint

HEAD_START_S = 0.2  # for the word to reach every worker

Told = Callable[[str, Any], None]
"""Called with `load-start`, `phase-start`, `phase-stop`, `load-stop` and what they are about (the
scenario's name, the phase's name, the outcome), and once a second with `second` and a `Second`."""


class Crew:
    """The workers of one scenario, which share its arrivals.

    Args:
        scenario: What they play.
        workers: Processes that speak as `helpers.load.worker` does; one may speak for many.
        log: What they say on standard error.
        helpers: Processes that say nothing here, and end with the others.
    """

    stop_s = 10.0  # for the requests that are not on disk yet

    def __init__(
        self,
        scenario: Scenario,
        workers: list["subprocess.Popen[str]"],
        log: Path,
        helpers: Sequence["subprocess.Popen[str]"] = (),
    ) -> None:
        self._scenario = scenario
        self._workers = workers
        self._helpers = helpers
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
                else:
                    self._close_words()  # or the others would wait for the word
                ends = await asyncio.gather(
                    *(self._hear(number, one, told) for number, one in enumerate(lines))
                )
            except BaseException:
                self._end_processes()  # or the threads would wait for another line
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
        self._end_processes()

    def _end_processes(self) -> None:
        self._ask_to_end()
        deadline = time.monotonic() + self.stop_s
        for one in self._workers:
            _await_end(one, deadline)
        for one in self._helpers:
            one.terminate()
        for one in self._helpers:
            _await_end(one, deadline)

    def _begin(self) -> None:
        word = f"{self._zero()!r}\n"
        for one in self._workers:
            assert one.stdin is not None
            one.stdin.write(word)
            one.stdin.flush()

    def _zero(self) -> float:
        """When the load begins: the clock is the machine's, the same for all."""
        return time.monotonic() + HEAD_START_S

    def _ask_to_end(self) -> None:
        for one in self._workers:
            one.terminate()

    def _close_words(self) -> None:
        for one in self._workers:
            assert one.stdin is not None
            one.stdin.close()

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
            self._ask_to_end()

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


Start = Callable[[Scenario, Endpoint, Shape, Path, int, str], Crew]
"""Starts the workers of a scenario; arguments as `Crew.start` has them."""


def _await_end(one: "subprocess.Popen[str]", deadline: float) -> None:
    try:
        one.wait(max(deadline - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired:
        one.kill()
        one.wait()
    for pipe in (one.stdin, one.stdout):
        if pipe:
            pipe.close()


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
