"""CPU and memory of a run's processes, by the part they play."""

import contextlib
import time
from pathlib import PurePath

import psutil

MARK = "GPU_E2E_RUN"  # as in helpers.processes, which brings more than a sampler needs
PROGRAMS = ("tritonserver", "prometheus")
MODULES = {"helpers.load": "client", "helpers.telemetry.sampler": "sampler"}
RESCAN_S = 3.0


class Processes:
    """Follows the processes that carry a run's mark.

    Reading every process's environment is what costs, so the list of processes is gone through
    only every `RESCAN_S`; a process that lives shorter than that may be missed. CPU time never
    falls: what a process has used stays counted when it ends.

    Args:
        mark: What the processes that count carry.

    Attributes:
        cpu_s: Role → CPU seconds used so far.
        memory: Role → resident bytes now; pages that processes share count for each.
    """

    def __init__(self, mark: str) -> None:
        self.cpu_s: dict[str, float] = {}
        self.memory: dict[str, int] = {}
        self._mark = mark
        self._scanned = float("-inf")
        self._roles: dict[psutil.Process, str] = {}
        self._used: dict[psutil.Process, float] = {}

    def look(self) -> None:
        """Bring `cpu_s` and `memory` up to date."""
        if time.monotonic() - self._scanned >= RESCAN_S:
            self._scanned = time.monotonic()
            self._roles = roles(self._mark)
            self._used = {one: used for one, used in self._used.items() if one in self._roles}
        self.memory = dict.fromkeys(self.cpu_s, 0)
        for process, role in self._roles.items():
            with contextlib.suppress(psutil.Error):  # it may have ended since the last scan
                self._measure(process, role)

    def _measure(self, process: psutil.Process, role: str) -> None:
        with process.oneshot():
            times, memory = process.cpu_times(), process.memory_info().rss
        used = times.user + times.system
        # the difference first: a sum that is rounded otherwise each time falls by a hair, which
        # Prometheus takes for a restart and counts everything again
        fresh = max(0.0, used - self._used.get(process, 0.0))
        self.cpu_s[role] = self.cpu_s.get(role, 0.0) + fresh
        self._used[process] = used
        self.memory[role] = self.memory.get(role, 0) + memory


def roles(mark: str) -> dict[psutil.Process, str]:
    """The living processes of a run that play a part in it, and which."""
    ours: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                ours[process.pid] = process
    return {process: role for process in ours.values() if (role := _role(process, ours))}


def _role(process: psutil.Process, ours: dict[int, psutil.Process]) -> str:
    """Its own role, or that of the nearest ancestor in the run that has one; empty for others."""
    one: psutil.Process | None = process
    with contextlib.suppress(psutil.Error):
        while one is not None:
            if role := role_of(one.cmdline()):
                return role
            one = ours.get(one.ppid())
    return ""


def role_of(command: list[str]) -> str:
    """The part a command plays in a run; empty for a command that plays none.

    >>> role_of(["/opt/tritonserver", "--http-port=8000"])
    'tritonserver'
    >>> role_of(["python", "-m", "helpers.load.worker"])
    'client'
    """
    if not command:
        return ""
    if (name := PurePath(command[0]).name) in PROGRAMS:
        return name
    if "-m" not in command[:-1]:
        return ""
    module = command[command.index("-m") + 1]
    parts = (role for root, role in MODULES.items() if f"{module}.".startswith(f"{root}."))
    return next(parts, "")
