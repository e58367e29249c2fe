"""Runs one service and stops it: on SIGTERM, when its owner has ended, or when its time is up.

`helpers.processes` starts this module as a process, with a JSON specification as its argument.
It outlives the kernel that started it; the service does not outlive it.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

POLL_S = 0.2
CLOCK_SLACK_S = 2.0  # the kernel's boot time, and with it every start time, moves with the clock
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def main() -> None:
    """Run the service that `sys.argv[1]` specifies until it ends or has to be stopped."""
    spec = json.loads(sys.argv[1])
    reasons: list[str] = []
    signal.signal(signal.SIGTERM, lambda *_: reasons.append("it was asked to stop"))
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    if spec["cores"]:
        os.sched_setaffinity(0, spec["cores"])  # which the service inherits
    with Path(spec["log"]).open("ab") as log:
        child = subprocess.Popen(
            spec["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | spec["env"],
            preexec_fn=lambda: _prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
        )
        reason = _wait_for_reason(child, spec, reasons)
        descendants = psutil.Process().children(recursive=True)
        if child.poll() is None:
            child.terminate()
        _stop(child, descendants, spec["grace_s"])
    folder, _, pattern = spec["leftovers"].rpartition("/")
    for path in Path(folder).glob(pattern) if pattern else ():
        path.unlink(missing_ok=True)
    Path(spec["exit"]).write_text(json.dumps({"code": child.returncode, "reason": reason}) + "\n")


def _wait_for_reason(
    child: "subprocess.Popen[bytes]", spec: dict[str, Any], reasons: list[str]
) -> str:
    """Wait until the service has ended or has to; returns why."""
    deadline = time.monotonic() + spec["ttl_s"]
    while child.poll() is None:
        if reasons:
            return reasons[0]
        if time.monotonic() > deadline:
            return "its time was up"
        if spec["owner"] and not owner_is_alive(spec["owner"]):
            return "its owner had ended"
        time.sleep(POLL_S)
    return "it ended by itself"


def living(pid: int, born: float) -> psutil.Process | None:
    """The process of this id that was started at `born`, or None once it has ended."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - born) < CLOCK_SLACK_S
    except psutil.NoSuchProcess:
        return None
    return process if same and not has_ended(process) else None


def has_ended(process: psutil.Process) -> bool:
    """Whether a process has ended, including one that is not reaped yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE or not process.is_running()
    except psutil.NoSuchProcess:
        return True


def owner_is_alive(mark: str) -> bool:
    """Whether the process behind an owner mark (`pid:start time`) is still running."""
    pid, _, born = mark.partition(":")
    return living(int(pid), float(born)) is not None


def _stop(
    child: "subprocess.Popen[bytes]", descendants: list[psutil.Process], grace_s: float
) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(grace_s)
    for process in [*descendants, *psutil.Process().children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    child.wait()


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
