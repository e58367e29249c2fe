"""Processes of this machine: told from later ones of the same id, found by their mark, ended."""

import contextlib
import os
import time
from collections.abc import Iterable

import psutil

MARK = "GPU_E2E_RUN"
OWNER = "GPU_E2E_OWNER"
KILL_GRACE_S = 5.0
POLL_S = 0.05
CLOCK_SLACK_S = 2.0  # the kernel's boot time, and with it every start time, moves with the clock


def owner_mark(pid: int) -> str:
    """The value of the OWNER variable that ties services to a process."""
    return f"{pid}:{psutil.Process(pid).create_time()}"


def owner_lives(mark: str) -> bool:
    """Whether the process behind such a value still lives."""
    pid, _, born = mark.partition(":")
    return living(int(pid), float(born)) is not None


def living(pid: int, born: float) -> psutil.Process | None:
    """The process of this id that was started at `born`, while it lives."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - born) < CLOCK_SLACK_S
    except psutil.NoSuchProcess:
        return None
    return process if same and not _has_ended(process) else None


def marked(mark: str) -> dict[str, psutil.Process]:
    """Living processes that carry the run's mark, but for this one and its ancestors."""
    family = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found: dict[str, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid not in family and process.environ().get(MARK) == mark:
                found[f"{process.name()} ({process.pid})"] = process
    return found


def end(processes: Iterable[psutil.Process], grace_s: float) -> None:
    """Ask processes to end, and kill those that still live after `grace_s` seconds."""
    waiting = list(processes)
    for process in waiting:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in wait_for_end(waiting, grace_s):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_for_end(waiting, KILL_GRACE_S)


def wait_for_end(processes: list[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Those that still live after that long; one that nobody has reaped yet has ended."""
    deadline = time.monotonic() + timeout_s
    while left := [one for one in processes if not _has_ended(one)]:
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    return left


def _has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE or not process.is_running()
    except psutil.NoSuchProcess:
        return True
