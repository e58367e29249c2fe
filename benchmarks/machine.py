"""What the machine is, and what else it did while something was measured."""

import contextlib
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from helpers.errors import Problem


@dataclass(frozen=True)
class Snapshot:
    """CPU seconds used so far.

    Attributes:
        at: `time.monotonic()`, seconds.
        busy: Of the whole machine, all cores.
        stolen: That the hypervisor gave to other machines.
        ours: Of the processes that belong to the measurement.
    """

    at: float
    busy: float
    stolen: float
    ours: float


def snapshot(processes: Iterable[psutil.Process]) -> Snapshot:
    """What was used until now; `processes` are the measured ones besides this process."""
    times = psutil.cpu_times()
    busy = times.user + times.nice + times.system + times.irq + times.softirq
    ours = sum(cpu_seconds(process) for process in [*processes, psutil.Process()])
    return Snapshot(time.monotonic(), busy, times.steal, ours)


def cpu_seconds(process: psutil.Process) -> float:
    """CPU seconds of a process and its threads so far; 0 if it has ended."""
    with contextlib.suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def conditions(before: Snapshot, after: Snapshot) -> dict[str, float]:
    """What else went on between two snapshots.

    Returns:
        `load`: the load average of the last minute at the end, which counts the measurement
        itself; `others`: cores that other processes and the kernel used; `steal`: cores that
        the hypervisor gave away.
    """
    seconds = after.at - before.at
    others = (after.busy - before.busy) - (after.ours - before.ours)
    return {
        "load": round(os.getloadavg()[0], 2),
        "others": round(max(others, 0.0) / seconds, 3),
        "steal": round((after.stolen - before.stolen) / seconds, 3),
    }


def own_peak_mib() -> float:
    """Peak resident memory of this process.

    Raises:
        Problem: The system does not report it.
    """
    status = Path("/proc/self/status")  # `ru_maxrss` starts at the parent's value
    match = re.search(r"VmHWM:\s+(\d+) kB", status.read_text() if status.exists() else "")
    if match is None:
        raise Problem("This system does not report a process's peak memory; Linux does.")
    return int(match[1]) / 1024


def described(manifest: dict[str, Any]) -> str:
    """One line: processor, cores, memory, system.

    Args:
        manifest: Of a run, which knows its machine.
    """
    machine = manifest["machine"]
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}"
    )
