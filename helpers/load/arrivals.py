"""When each request leaves: phases turned into send times, and a timer that keeps them."""

import asyncio
import ctypes
import os
import platform
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from time import monotonic

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
        # dealt in turn, even spacing stays even; dealt at random, a Poisson process stays one in
        # every shard (thinning, Lewis & Shedler 1979)
        if isinstance(span.phase, Constant | Burst):
            dealt_to = np.arange(len(whole)) % shard.of
        else:
            dealt_to = generator(scenario.seed, 2, number).integers(shard.of, size=len(whole))
        offsets.append(span.start_s + whole[dealt_to == shard.number])
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
HAS_TIMERFD = sys.platform == "linux"


def early_s(wait_s: float) -> float:
    """How many seconds to wake before the due time, for a wait of this length."""
    return min(EARLY_S, EARLY_SHARE * wait_s) if wait_s > DENSE_S else 0.0


class Timer:
    """Calls back at a given instant, again and again, on the running event loop.

    By Linux's timerfd it is late by P99 0.1 ms; elsewhere, by an event loop's own timers, by 1 ms.
    """

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._due = 0.0
        self._turn: asyncio.Handle | None = None
        self._loop = asyncio.get_running_loop()
        self._fd = -1
        if HAS_TIMERFD:
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._fd = self._libc.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK)
            if self._fd < 0:
                raise OSError(ctypes.get_errno(), "timerfd_create failed")
            # struct itimerspec: interval (never again), then value; seconds and nanoseconds each
            self._when = (ctypes.c_long * 4)()
            self._loop.add_reader(self._fd, self._expired)

    def at(self, when: float) -> None:
        """Call back once at `when` on the clock of `time.monotonic()`; replaces an earlier time.

        An instant that has passed is called for at once, but not from within this call.
        """
        self._stop_waiting()
        if self._fd < 0:
            self._turn = self._loop.call_later(max(when - monotonic(), 0.0), self._callback)
            return
        self._due = when
        wake = when - early_s(when - monotonic())
        # the value 0 would disarm the timer
        self._when[2], self._when[3] = divmod(max(int(wake * BILLION), 1), BILLION)
        if self._libc.timerfd_settime(self._fd, TFD_TIMER_ABSTIME, ctypes.byref(self._when), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def close(self) -> None:
        """Never call back again."""
        self._stop_waiting()
        if self._fd >= 0:
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


SHORTEST_NS = 100_000  # the shortest time slice that the kernel grants
SCHED_OTHER, RESET_ON_FORK = 0, 1
# sched_setattr and sched_getattr, for which C libraries before glibc 2.41 have no function
SYSTEM_CALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}
# Linux's sched_attr: size, policy, flags, nice, priority, runtime (the slice), deadline, period
ATTRIBUTES = struct.Struct("=IIQiIQQQ")


def shorten_time_slice() -> bool:
    """Give this thread the shortest time slice, which threads that it starts do not inherit.

    A thread that wakes may interrupt one whose slice is longer; else it waits until that one's is
    over, by default 1.4 ms with two cores. Its share of the processor stays what it was, and no
    privilege is needed. Linux has this from 6.12 on ("EEVDF Scheduler" in the kernel's
    documentation); before, it accepts the request and ignores it. Returns whether it accepts it.
    """
    known = scheduler_attributes()
    if not known or known[1] != SCHED_OTHER:
        return False
    size, policy, flags, nice, priority, _, *rest = known
    wanted = (size, policy, flags | RESET_ON_FORK, nice, priority, SHORTEST_NS, *rest)
    set_attributes, _ = SYSTEM_CALLS[platform.machine()]
    return bool(ctypes.CDLL(None).syscall(set_attributes, 0, ATTRIBUTES.pack(*wanted), 0) == 0)


def scheduler_attributes() -> tuple[int, ...]:
    """`ATTRIBUTES` of this thread; empty where the system does not tell."""
    if sys.platform != "linux" or platform.machine() not in SYSTEM_CALLS:
        return ()
    _, get_attributes = SYSTEM_CALLS[platform.machine()]
    buffer = ctypes.create_string_buffer(ATTRIBUTES.size)
    failed = ctypes.CDLL(None).syscall(get_attributes, 0, buffer, ATTRIBUTES.size, 0)
    return () if failed else ATTRIBUTES.unpack(buffer)
