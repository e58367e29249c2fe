"""Asks Linux to run this thread as soon as it has something to do."""

import ctypes
import platform
import sys

SHORTEST_NS = 100_000  # the least that the kernel grants
SET, GET = 0, 1
# sched_setattr and sched_getattr, for which C libraries before glibc 2.41 have no function
SYSTEM_CALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}
SCHED_OTHER, RESET_ON_FORK = 0, 1


class Attributes(ctypes.Structure):
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


def shorten() -> bool:
    """Give this thread the shortest time slice, which threads that it starts do not inherit.

    A thread that wakes may interrupt one whose slice is longer; else it waits until that one's is
    over, by default 1.4 ms with two cores. Its share of the processor stays what it was, and no
    privilege is needed. Linux has this from 6.12 on ("EEVDF Scheduler" in the kernel's
    documentation); before, it takes the wish and ignores it.

    Returns:
        Whether the system took the wish.
    """
    now = attributes()
    if now is None or now.policy != SCHED_OTHER:
        return False
    now.runtime_ns = SHORTEST_NS
    now.flags |= RESET_ON_FORK
    return _call(SET, 0, ctypes.byref(now), 0) == 0


def attributes(thread: int = 0) -> Attributes | None:
    """What the scheduler knows of a thread, by default this one; None where it does not tell."""
    found = Attributes(size=ctypes.sizeof(Attributes))
    done = _call(GET, thread, ctypes.byref(found), found.size, 0)
    return found if done == 0 else None


def _call(which: int, *arguments: object) -> int:
    if sys.platform != "linux" or platform.machine() not in SYSTEM_CALLS:
        return -1
    number = SYSTEM_CALLS[platform.machine()][which]
    return int(ctypes.CDLL(None).syscall(number, *arguments))
