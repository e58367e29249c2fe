"""When each request leaves: phases turned into send times, and a timer that keeps them."""

import asyncio
import ctypes
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from time import monotonic
from typing import Protocol

import numpy as np
import numpy.typing as npt

from helpers.scenario import Burst, Closed, Constant, Phase, Poisson, Ramp, Scenario, Spike

Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PhaseSpan:
    """A phase, and its begin and end in seconds since the scenario's start."""

    phase: Phase
    start_s: float
    end_s: float


@dataclass(frozen=True, eq=False)
class Schedule:
    """Intended send times of all open phases, in order."""

    times_s: Times  # seconds since the scenario's start, ascending
    phases: npt.NDArray[np.int16]  # for each time, the number of its phase in the scenario

    def count(self, phase: int) -> int:
        """How many arrivals a phase has; 0 for a closed one."""
        return int(np.count_nonzero(self.phases == phase))


@dataclass(frozen=True)
class Shard:
    """One of several workers that share a scenario."""

    number: int = 0  # which one, from 0
    of: int = 1  # how many there are

    def share(self, count: int) -> int:
        """How many of `count` things belong to this shard."""
        return len(range(self.number, count, self.of))


WHOLE = Shard()


def spans(scenario: Scenario) -> Iterator[PhaseSpan]:
    """The phases one after the other, each with its begin and end."""
    ends = accumulate(phase.duration_s for phase in scenario.phases)
    for phase, end in zip(scenario.phases, ends, strict=True):
        yield PhaseSpan(phase, end - phase.duration_s, end)


def schedule(scenario: Scenario, shard: Shard = WHOLE) -> Schedule:
    """Every open-loop arrival of a scenario, or of one shard of it.

    The same seed gives the same times. Each phase draws from a stream of its own, so changing one
    phase leaves the others as they are. Together, shards send exactly what one worker would.
    """
    offsets = []
    for number, span in enumerate(spans(scenario)):
        whole = phase_offsets(span.phase, generator(scenario.seed, 0, number))
        mine = _dealt(span.phase, len(whole), shard, generator(scenario.seed, 2, number))
        offsets.append(span.start_s + whole[mine])
    numbers = np.repeat(np.arange(len(offsets), dtype=np.int16), [len(part) for part in offsets])
    return Schedule(np.concatenate(offsets), numbers)


def generator(seed: int, *stream: int) -> np.random.Generator:
    """A random generator of one stream of a seed; streams are independent of each other."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=stream))


def phase_offsets(phase: Phase, random: np.random.Generator) -> Times:
    """Send times of one phase, seconds since its begin; empty for a closed loop."""
    match phase:
        case Constant(rate=rate, duration_s=duration):
            # the tolerance keeps 0.1 * 30 = 3.0000000000000004 at three arrivals
            return np.arange(np.ceil(rate * duration - 1e-9)) / rate
        case Poisson(rate=rate, duration_s=duration):
            return ramp(rate, rate, duration, random)
        case Ramp(rate=rate, to_rate=to_rate, duration_s=duration):
            return ramp(rate, to_rate, duration, random)
        case Spike(rate=rate, to_rate=to_rate, duration_s=duration):
            third = duration / 3
            parts = [ramp(level, level, third, random) for level in (rate, to_rate, rate)]
            return np.concatenate([number * third + part for number, part in enumerate(parts)])
        case Burst(count=count):
            return np.zeros(count)
        case Closed():
            return np.empty(0)


def _dealt(
    phase: Phase, count: int, shard: Shard, random: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Which of a phase's arrivals belong to a shard; each belongs to exactly one.

    Dealt in turn, even spacing stays even; dealt at random, a Poisson process stays one in every
    shard (thinning, Lewis & Shedler 1979).
    """
    if isinstance(phase, Constant | Burst):
        dealt_to = np.arange(count) % shard.of
    else:
        dealt_to = random.integers(shard.of, size=count)
    mine: npt.NDArray[np.bool_] = dealt_to == shard.number
    return mine


def ramp(rate: float, to_rate: float, duration_s: float, random: np.random.Generator) -> Times:
    """A Poisson process whose rate goes linearly from `rate` to `to_rate`.

    By inversion (Çinlar 1975): arrivals of a process of rate 1 are mapped through the inverse of
    the cumulative rate `rate * t + (to_rate - rate) * t² / (2 * duration_s)`.
    """
    expected, reached = (rate + to_rate) / 2 * duration_s, 0.0
    parts = []
    while reached < expected:
        parts.append(reached + np.cumsum(random.exponential(size=4096)))
        reached = float(parts[-1][-1])
    unit = np.concatenate(parts)
    unit = unit[unit < expected]
    slope = (to_rate - rate) / duration_s
    # the root of the quadratic in the form that does not cancel where the slope is 0
    times: Times = 2 * unit / (rate + np.sqrt(rate**2 + 2 * slope * unit))
    return times


CLOCK_MONOTONIC, TFD_NONBLOCK, TFD_TIMER_ABSTIME = 1, 0o4000, 1
BILLION = 1_000_000_000
# A sleeping core takes 0.1 to 0.3 ms to wake, so the client wakes earlier and waits awake.
EARLY_S = 0.0003
EARLY_SHARE = 0.05  # of what there is to wait, and so of a core
DENSE_S = 0.002  # for so short a time a core does not sleep deeply


class Timer(Protocol):
    """Calls back at a given instant, as exactly as the system allows; set again and again."""

    def at(self, when: float) -> None:
        """Call back once at `when` on the clock of `time.monotonic()`; replaces an earlier time.

        An instant that has passed is called for at once, but not from within this call.
        """

    def close(self) -> None:
        """Never call back again."""


def best_timer(callback: Callable[[], None]) -> Timer:
    """The best timer of this system, on the running event loop."""
    return TimerFd(callback) if sys.platform == "linux" else LoopTimer(callback)


def early_s(wait_s: float) -> float:
    """How many seconds to wake before the due time, for a wait of this length."""
    return min(EARLY_S, EARLY_SHARE * wait_s) if wait_s > DENSE_S else 0.0


class TimerFd:
    """Linux's timerfd: late by P99 0.1 ms, where an event loop's own timers are by 1 ms."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._libc.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        # struct itimerspec: interval (never again), then value; seconds and nanoseconds each
        self._when = (ctypes.c_long * 4)()
        self._callback = callback
        self._due = 0.0
        self._turn: asyncio.Handle | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._expired)

    def at(self, when: float) -> None:
        """See `Timer.at`."""
        self._stop_waiting()
        self._due = when
        wake = when - early_s(when - monotonic())
        # the value 0 would disarm the timer
        self._when[2], self._when[3] = divmod(max(int(wake * BILLION), 1), BILLION)
        if self._libc.timerfd_settime(self._fd, TFD_TIMER_ABSTIME, ctypes.byref(self._when), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def close(self) -> None:
        """See `Timer.close`."""
        self._stop_waiting()
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _expired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # the timer was set again between wake-up and this call
        self._wait_awake()

    def _wait_awake(self) -> None:
        """Spin the event loop, which still reads answers, until the time has come."""
        if monotonic() < self._due:
            self._turn = self._loop.call_soon(self._wait_awake)
        else:
            self._callback()

    def _stop_waiting(self) -> None:
        if self._turn is not None:
            self._turn.cancel()


class LoopTimer:
    """The event loop's own timer, for systems without timerfd."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None

    def at(self, when: float) -> None:
        """See `Timer.at`."""
        self.close()
        self._handle = self._loop.call_later(max(when - monotonic(), 0.0), self._callback)

    def close(self) -> None:
        """See `Timer.close`."""
        if self._handle is not None:
            self._handle.cancel()


SHORTEST_NS = 100_000  # the shortest time slice that the kernel grants
SCHED_OTHER, RESET_ON_FORK = 0, 1
# sched_setattr and sched_getattr, for which C libraries before glibc 2.41 have no function
SYSTEM_CALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}


class SchedulerAttributes(ctypes.Structure):
    """Linux's `struct sched_attr`, first version."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime_ns", ctypes.c_uint64),
        ("deadline_ns", ctypes.c_uint64),
        ("period_ns", ctypes.c_uint64),
    )


def shorten_time_slice() -> bool:
    """Give this thread the shortest time slice, which threads that it starts do not inherit.

    A thread that wakes may interrupt one whose slice is longer; else it waits until that one's is
    over, by default 1.4 ms with two cores. Its share of the processor stays what it was, and no
    privilege is needed. Linux has this from 6.12 on ("EEVDF Scheduler" in the kernel's
    documentation); before, it accepts the request and ignores it.

    Returns:
        Whether the system accepted the request.
    """
    attributes = scheduler_attributes()
    if attributes is None or attributes.policy != SCHED_OTHER:
        return False
    attributes.runtime_ns = SHORTEST_NS
    attributes.flags |= RESET_ON_FORK
    return _scheduler_call(0, 0, ctypes.byref(attributes), 0) == 0


def scheduler_attributes(thread: int = 0) -> SchedulerAttributes | None:
    """What the scheduler knows of a thread, by default this one; None where it does not say."""
    attributes = SchedulerAttributes(size=ctypes.sizeof(SchedulerAttributes))
    failed = _scheduler_call(1, thread, ctypes.byref(attributes), attributes.size, 0)
    return None if failed else attributes


def _scheduler_call(which: int, *arguments: object) -> int:
    if sys.platform != "linux" or platform.machine() not in SYSTEM_CALLS:
        return -1
    number = SYSTEM_CALLS[platform.machine()][which]
    return int(ctypes.CDLL(None).syscall(number, *arguments))
