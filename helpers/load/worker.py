"""The process that fires one scenario, or a share of it: `python -m helpers.load.worker JOB`.

It reports on standard output, one JSON object a line with its `kind`: `ready` once connections are
open, then, when a line on standard input has said at which instant to begin, `start`,
`phase-start`, `phase-stop`, `progress` once a second, and `end`. SIGTERM, SIGINT and the end of
standard input stop the firing; requests that have an outcome are on disk all the same.
"""

import asyncio
import gc
import json
import os
import signal
import sys
from array import array
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from time import monotonic, process_time
from typing import Any

import uvloop

from helpers.errors import Problem
from helpers.load import arrivals, http_client
from helpers.load import request as requests
from helpers.load.arrivals import WHOLE, Shard, Timer, schedule, spans
from helpers.load.request import OK, TIMEOUT, Answered, Client, Recorder, Request, Shape, Target
from helpers.run import now
from helpers.scenario import Burst, Closed, Phase, Scenario, Settings
from helpers.serving.records import Endpoint

HEAD_START_S = 0.1
FLUSH_S = 2.0
PROGRESS_S = 1.0
SWEEP_S = 0.02  # how late a time-out may be noticed
SENDS_AT_ONCE = 256  # then answers are read before more is sent
RETRY_S = 0.1  # a closed loop's pause after a failure, which may come back at once
FEWEST_CONNECTIONS = 8
SLOW_ANSWER_S = 0.25  # connections opened ahead suffice for answers this slow
# How long the thread that writes records may hold the interpreter while a request is due;
# Python's default is 5 ms.
SWITCH_S = 0.0002


class Order(Settings):
    """What is fired at which server."""

    scenario: Scenario  # what is played
    endpoint: Endpoint  # the server
    shape: Shape  # the tensors of requests and answers
    max_connections: int  # most HTTP connections at a time, over all workers


class WorkerJob(Order):
    """One worker's share of an order; `parts/` with its records lies in `folder`."""

    folder: Path
    shard: Shard


async def soon() -> float:
    """Start as soon as everything is ready; the instant, on the clock of `time.monotonic()`."""
    return monotonic() + HEAD_START_S


class Player:
    """Plays one scenario, or a worker's share of it, once: sends when the schedule says.

    Requests with an outcome go to the recorder; `report` is called at the start, for phases, and
    once a second with the progress.
    """

    def __init__(
        self, scenario: Scenario, recorder: Recorder, report: Callable[..., Any],
        shard: Shard = WHOLE,
    ) -> None:  # fmt: skip
        self._scenario = scenario
        self._recorder = recorder
        self._report = report
        self._shard = shard
        plan = schedule(scenario, shard)
        self._times = array("d", plan.times_s.tobytes())
        self._phases = array("h", plan.phases.tobytes())
        self._spans = list(spans(scenario))
        self._next = 0
        self._open: deque[Request] = deque()
        self._phase = ""
        self._all_phases_over = False
        self._over = asyncio.Event()
        self._fault: BaseException | None = None
        self._client: Client
        self._timer: Timer
        self._zero = 0.0
        self.interrupted = False  # stopped before all had an outcome
        self.cpu_share = 0.0  # CPU seconds of this process per second of firing; 1 is a whole core

    @property
    def elapsed_s(self) -> float:
        """Seconds since the scenario's start."""
        return monotonic() - self._zero

    def stop(self) -> None:
        """Send nothing more and wait for nothing more."""
        self.interrupted = True
        self._over.set()

    async def play(self, client: Client, start: Callable[[], Awaitable[float]] = soon) -> None:
        """Play until every request has an outcome; when stopped, open requests get no row.

        Once connections are open, `start` is awaited: when to begin, as `time.monotonic()` has it.
        """
        self._client = client
        asyncio.get_running_loop().set_exception_handler(self._fail)
        connections = self._shard.share(max(map(_connections, self._scenario.phases)))
        await client.open(max(FEWEST_CONNECTIONS, connections))
        self._zero = self._recorder.zero = await start()
        self._timer = Timer(self._send_due)
        cpu_s = process_time()
        gc.collect()
        gc.freeze()
        gc.disable()  # a full collection would hold up the requests that are due
        try:
            async with asyncio.TaskGroup() as tasks:
                for work in (self._play_phases, self._sweep, self._flush, self._report_progress):
                    tasks.create_task(work())
                self._arm()
        finally:
            gc.enable()
            self._timer.close()
            self.cpu_share = (process_time() - cpu_s) / (self.elapsed_s + HEAD_START_S)
            self._recorder.write(self._recorder.take())
        if self._fault:
            raise self._fault

    def _arm(self) -> None:
        if self._next < len(self._times):
            self._timer.at(self._zero + self._times[self._next])

    def _send_due(self) -> None:
        elapsed, limit = self.elapsed_s, min(self._next + SENDS_AT_ONCE, len(self._times))
        while self._next < limit and self._times[self._next] <= elapsed and not self._over.is_set():
            number = self._next
            self._next += 1
            self._launch(self._phases[number], self._zero + self._times[number])
        if not self._over.is_set():
            self._arm()

    def _launch(self, phase: int, intended: float) -> None:
        number = self._recorder.sent % self._scenario.inputs
        request = Request(phase, intended, number, monotonic())
        self._recorder.sent += 1
        self._open.append(request)
        self._client.send(request)

    def answered(self, request: Request, outcome: str, size: int) -> None:
        """Take the outcome of a request; only the first one counts."""
        if not request.open or self._over.is_set():
            return
        request.open = False
        self._recorder.add(request, outcome, size)
        if isinstance(self._scenario.phases[request.phase], Closed):
            self._again(request.phase, 0.0 if outcome == OK else RETRY_S)
        self._end_if_all_answered()

    def _again(self, phase: int, pause: float) -> None:
        if self._over.is_set() or self.elapsed_s + pause >= self._spans[phase].end_s:
            return
        if pause:
            asyncio.get_running_loop().call_later(pause, self._again, phase, 0.0)
        else:
            self._launch(phase, monotonic())

    def _end_if_all_answered(self) -> None:
        all_sent = self._all_phases_over and self._next == len(self._times)
        if all_sent and self._recorder.sent == self._recorder.answered:
            self._over.set()

    async def _play_phases(self) -> None:
        await self._reached(0.0)
        self._report("start")
        for number, span in enumerate(self._spans):
            self._phase = span.phase.name
            self._report("phase-start", phase=self._phase)
            if isinstance(span.phase, Closed):
                for _ in range(self._shard.share(span.phase.concurrency)):
                    self._launch(number, monotonic())
            over = not await self._reached(span.end_s)
            self._report("phase-stop", phase=self._phase)
            if over:
                return
        self._all_phases_over = True
        self._end_if_all_answered()

    async def _sweep(self) -> None:
        """Time out requests without an answer; all have one time-out, so the oldest come first."""
        async for _ in self._every(SWEEP_S):
            expired = monotonic() - self._scenario.timeout_s
            while self._open and (not self._open[0].open or self._open[0].intended <= expired):
                request = self._open.popleft()
                if request.open:
                    self._client.drop(request)
                    self.answered(request, TIMEOUT, 0)

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        async for _ in self._every(FLUSH_S):
            await loop.run_in_executor(None, self._recorder.write, self._recorder.take())
            gc.collect()  # quick, as objects from before the start are frozen

    async def _report_progress(self) -> None:
        async for _ in self._every(PROGRESS_S):
            facts = self._recorder.progress(self.elapsed_s)
            self._report("progress", phase=self._phase, **facts)

    async def _every(self, period_s: float) -> AsyncIterator[None]:
        due = period_s
        while await self._reached(due):
            yield
            due = max(due + period_s, self.elapsed_s)

    async def _reached(self, due_s: float) -> bool:
        """Wait for a time of the scenario; False where all is over before."""
        try:
            await asyncio.wait_for(self._over.wait(), max(due_s - self.elapsed_s, 0.0))
        except TimeoutError:
            return True
        return False

    def _fail(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A fault in a callback ends the firing; asyncio would only log it and go on."""
        error = context.get("exception")
        if error is not None and not isinstance(error, OSError):
            self._fault = self._fault or error
            self._over.set()


def _connections(phase: Phase) -> int:
    match phase:
        case Burst(count=most) | Closed(concurrency=most):
            return most
        case _:
            return round(max(phase.rate, getattr(phase, "to_rate", 0.0)) * SLOW_ANSWER_S)


async def fire(job: WorkerJob) -> None:
    """Play a share of a scenario; what has an outcome is recorded, also when stopped or failing."""
    scenario, shard = job.scenario, job.shard
    recorder = Recorder(requests.parts_folder(job.folder, scenario.name), shard.number)
    player = Player(scenario, recorder, report, shard)
    loop = asyncio.get_running_loop()
    for stopping in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(stopping, player.stop)
    parent = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(parent), sys.stdin)
    client = connect(job, player.answered)
    watches = []

    async def stop_with_parent() -> None:
        await parent.read()
        player.stop()

    async def start() -> float:
        report("ready")
        line = await parent.readline()
        if not line:
            raise Problem("The parent ended before the load began.")
        watches.append(loop.create_task(stop_with_parent()))
        return float(line)

    try:
        await player.play(client, start)
    finally:
        await client.close()
    engine = f"embedded {scenario.protocol} client, uvloop"
    report("end", engine=engine, interrupted=player.interrupted, cpu_share=player.cpu_share)


def connect(job: WorkerJob, answered: Answered) -> Client:
    """The client that a scenario's protocol needs, with its requests ready to be sent."""
    scenario, shape, endpoint = job.scenario, job.shape, job.endpoint
    inputs = requests.tensors(shape, scenario, job.shard.number)
    if scenario.protocol == "grpc":
        from helpers.load import grpc_client  # slow to import, and HTTP does without

        kind: type[Client] = grpc_client.GrpcClient
        url = f"grpc{'s' if endpoint.http.startswith('https:') else ''}://{endpoint.grpc}"
        messages = grpc_client.messages(shape, inputs)
    else:
        kind, url = http_client.HttpClient, endpoint.http
        messages = http_client.messages(shape, inputs, url)
    limit = max(job.shard.share(job.max_connections), 1)
    target = Target(
        url, messages, shape.output_bytes, scenario.timeout_s, limit, endpoint.certificate
    )
    return kind(target, answered)


def report(kind: str, **facts: Any) -> None:
    """Tell the parent what happens."""
    try:
        print(json.dumps({"kind": kind, "at": now(), **facts}), flush=True)
    except BrokenPipeError:  # the parent is gone, and with it the reason to go on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        signal.raise_signal(signal.SIGTERM)


def is_timed(scenario: Scenario) -> bool:
    """Whether it counts when a request leaves, not how many do, as where several are in flight."""
    # there, to interrupt the server for each answer costs a fifth of the throughput of shared cores
    return not any(isinstance(phase, Closed) and phase.concurrency > 1 for phase in scenario.phases)


def main() -> None:
    """Do the job that the first argument describes."""
    sys.setswitchinterval(SWITCH_S)
    job = WorkerJob.model_validate_json(sys.argv[1])
    if is_timed(job.scenario):
        arrivals.shorten_time_slice()
    try:
        uvloop.run(fire(job))
    except Problem as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
