"""Calls back at a given instant, as exactly as the system allows."""

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from time import monotonic
from typing import Protocol

CLOCK_MONOTONIC = 1
TFD_NONBLOCK = 0o4000
TFD_TIMER_ABSTIME = 1
BILLION = 1_000_000_000
# A sleeping core takes 0.1 to 0.3 ms to wake, so the client wakes earlier and waits awake.
EARLY_S = 0.0003
EARLY_SHARE = 0.05  # of what there is to wait, and so of a core
DENSE_S = 0.002  # for so short a time a core does not sleep deeply


class Pacer(Protocol):
    """A timer that is set again and again."""

    def at(self, when: float) -> None:
        """Call back once at `when` on the clock of `time.monotonic()`, replacing an earlier wish.

        An instant that has passed is called for at once, but not from within this call.
        """

    def close(self) -> None:
        """Never call back again."""


def pacer(callback: Callable[[], None]) -> Pacer:
    """The best timer of this system, on the running event loop."""
    return TimerFd(callback) if sys.platform == "linux" else LoopTimer(callback)


def early(wait_s: float) -> float:
    """How long before its time to wake, seconds, where there are so many to wait."""
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
        """See `Pacer.at`."""
        self._stop_waiting()
        self._due = when
        wake = when - early(when - monotonic())
        # the value 0 would disarm the timer
        self._when[2], self._when[3] = divmod(max(int(wake * BILLION), 1), BILLION)
        if self._libc.timerfd_settime(self._fd, TFD_TIMER_ABSTIME, ctypes.byref(self._when), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def close(self) -> None:
        """See `Pacer.close`."""
        self._stop_waiting()
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _expired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # it was set anew between the wake-up and this call
        self._wait_awake()

    def _wait_awake(self) -> None:
        """Turn the event loop, which takes answers meanwhile, until the time has come."""
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
        """See `Pacer.at`."""
        self.close()
        self._handle = self._loop.call_later(max(when - monotonic(), 0.0), self._callback)

    def close(self) -> None:
        """See `Pacer.close`."""
        if self._handle is not None:
            self._handle.cancel()
