"""Resident memory while a load is played: of the client, and of processes by name."""

from collections.abc import Mapping

import psutil

from helpers.load import statistics
from helpers.load.progress import Second
from helpers.load.report import Memory

MIB = 2**20


class MemoryLog:
    """Looks once a second.

    Args:
        watched: Name → pid; each counts with its children.
    """

    def __init__(self, watched: Mapping[str, int]) -> None:
        self._watched = watched
        self._seconds: list[float] = []
        self._mib: dict[str, list[float]] = {}

    def take(self, second: Second) -> None:
        """Look once."""
        self._seconds.append(second.elapsed_s)
        self._mib.setdefault("client", []).append(second.memory_mib)
        for name, pid in self._watched.items():
            self._mib.setdefault(name, []).append(_family_mib(pid))

    def report(self) -> dict[str, Memory]:
        """First, last and trend of each."""
        return {
            name: Memory(
                first_mib=values[0],
                last_mib=values[-1],
                trend=statistics.trend(self._seconds, values),
            )
            for name, values in self._mib.items()
        }


def _family_mib(pid: int) -> float:
    try:
        parent = psutil.Process(pid)
        return (
            sum(one.memory_info().rss for one in (parent, *parent.children(recursive=True))) / MIB
        )
    except psutil.Error:
        return float("nan")  # it has ended; the load will say so by itself
