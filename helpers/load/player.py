"""Plays a scenario: sends when the schedule says, whatever the server does."""

import asyncio
import gc
from array import array
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic, process_time
from typing import Any

from helpers.load.arrivals import WHOLE, Shard, Span, schedule, spans
from helpers.load.client import OK, TIMEOUT, Client, Request
from helpers.load.pacing import Pacer, pacer
from helpers.load.progress import Progress, Say
from helpers.load.recorder import Recorder
from helpers.scenario import Burst, Closed, Constant, Poisson, Ramp, Scenario, Spike

HEAD_START_S = 0.1
FLUSH_S = 2.0
PROGRESS_S = 1.0
SWEEP_S = 0.02  # how late a time-out may be noticed
SENDS_AT_ONCE = 256  # then answers are read before more is sent
RETRY_S = 0.1  # a closed loop's pause after a failure, which may come back at once
FEWEST_CONNECTIONS = 8
SLOW_ANSWER_S = 0.25  # connections opened ahead suffice for answers this slow


async def at_once() -> float:
    """Start as soon as everything is ready; the instant, on the clock of `time.monotonic()`."""
    return monotonic() + HEAD_START_S


class Player:
    """Plays one scenario, or a worker's share of it, once.

    Args:
        scenario: What to play.
        recorder: Where each request goes that has an outcome.
        say: Told of the start, of phases, and of the progress once a second.
        shard: Which share of the scenario.

    Attributes:
        interrupted: Whether it was stopped before all had an outcome.
        cpu_share: CPU seconds that this process took per second of firing; 1 is a whole core.
    """

    def __init__(
        self, scenario: Scenario, recorder: Recorder, say: Say, shard: Shard = WHOLE
    ) -> None:
        self._scenario = scenario
        self._recorder = recorder
        self._say = say
        self._shard = shard
        plan = schedule(scenario, shard)
        self._times = array("d", plan.times_s.tobytes())
        self._phases = array("h", plan.phases.tobytes())
        self._spans = list(spans(scenario))
        self._next = 0
        self._open: deque[Request] = deque()
        self._progress = Progress()
        self._phase = ""
        self._all_phases_over = False
        self._over = asyncio.Event()
        self._fault: BaseException | None = None
        self._client: Client
        self._pacer: Pacer
        self._zero = 0.0
        self.interrupted = False
        self.cpu_share = 0.0

    @property
    def untold(self) -> "Counter[int]":
        """The latencies of good answers after the last whole second; told once."""
        return self._progress.latencies()

    @property
    def connections(self) -> int:
        """How many connections to open before the start."""
        wanted = max(_connections(span) for span in self._spans)
        return max(FEWEST_CONNECTIONS, self._shard.share(wanted))

    @property
    def elapsed_s(self) -> float:
        """Seconds since the scenario's start."""
        return monotonic() - self._zero

    def stop(self) -> None:
        """Send nothing more and wait for nothing more."""
        self.interrupted = True
        self._over.set()

    async def play(self, client: Client, start: Callable[[], Awaitable[float]] = at_once) -> None:
        """Play until every request has an outcome; one that has none when stopped gets no row.

        Args:
            client: Carries the requests.
            start: Awaited once connections are open; when to begin, as `time.monotonic()` has it.
        """
        self._client = client
        asyncio.get_running_loop().set_exception_handler(self._fail)
        await client.open(self.connections)
        self._zero = await start()
        self._pacer = pacer(self._send_due)
        cpu_s = process_time()
        gc.collect()
        gc.freeze()
        gc.disable()  # a full collection would hold up the requests that are due
        try:
            async with asyncio.TaskGroup() as tasks:
                for work in (self._play_phases, self._sweep, self._flush, self._report):
                    tasks.create_task(work())
                self._arm()
        finally:
            gc.enable()
            self._pacer.close()
            self.cpu_share = (process_time() - cpu_s) / (self.elapsed_s + HEAD_START_S)
        self._recorder.write(self._recorder.take())
        if self._fault:
            raise self._fault

    def _arm(self) -> None:
        if self._next < len(self._times):
            self._pacer.at(self._zero + self._times[self._next])

    def _send_due(self) -> None:
        elapsed, limit = self.elapsed_s, min(self._next + SENDS_AT_ONCE, len(self._times))
        while self._next < limit and self._times[self._next] <= elapsed and not self._over.is_set():
            number = self._next
            self._next += 1
            self._launch(self._phases[number], self._zero + self._times[number])
        if not self._over.is_set():
            self._arm()

    def _launch(self, phase: int, intended: float) -> None:
        number = self._progress.sent % self._scenario.inputs
        request = Request(phase, intended, number, monotonic())
        self._progress.sent += 1
        self._open.append(request)
        self._client.send(request)

    def answered(self, request: Request, outcome: str, size: int) -> None:
        """Take the outcome of a request; only the first one counts."""
        if not request.open or self._over.is_set():
            return
        request.open = False
        self._recorder.add(request, self._zero, outcome, size)
        self._progress.count(request, outcome)
        if isinstance(self._scenario.phases[request.phase], Closed):
            pause = 0.0 if outcome == OK else RETRY_S
            self._again(request.phase, pause)
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
        if all_sent and not self._progress.in_flight:
            self._over.set()

    async def _play_phases(self) -> None:
        await self._reached(0.0)
        self._say("start")
        for number, span in enumerate(self._spans):
            self._phase = span.phase.name
            self._say("phase-start", phase=span.phase.name)
            if isinstance(span.phase, Closed):
                for _ in range(self._shard.share(span.phase.concurrency)):
                    self._launch(number, monotonic())
            over = not await self._reached(span.end_s)
            self._say("phase-stop", phase=span.phase.name)
            if over:
                return
        self._all_phases_over = True
        self._end_if_all_answered()

    async def _sweep(self) -> None:
        """Give up what has had no answer for too long. All wait equally long, so in order."""
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
            columns = self._recorder.take()
            await loop.run_in_executor(None, self._recorder.write, columns)
            gc.collect()  # quick: what was there at the start is frozen

    async def _report(self) -> None:
        async for _ in self._every(PROGRESS_S):
            self._say("progress", phase=self._phase, **self._progress.facts(self.elapsed_s))

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


def _connections(span: Span) -> int:
    match span.phase:
        case Burst(count=count):
            return count
        case Closed(concurrency=concurrency):
            return concurrency
        case Ramp(rate=rate, to_rate=to_rate) | Spike(rate=rate, to_rate=to_rate):
            return round(max(rate, to_rate) * SLOW_ANSWER_S)
        case Constant(rate=rate) | Poisson(rate=rate):
            return round(rate * SLOW_ANSWER_S)
