"""Runs one service and ends it: on SIGTERM, when its owner is gone, or when its time is over.

A process of its own, started by `helpers.processes` with a JSON specification as its argument.
It outlives the kernel that started it, and the service does not outlive it.
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
CLOCK_SLACK_S = 2.0  # see helpers.processes
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def main() -> None:
    """Run the service of `sys.argv[1]` until it ends or has to."""
    spec = json.loads(sys.argv[1])
    reasons: list[str] = []
    signal.signal(signal.SIGTERM, lambda *_: reasons.append("told to stop"))
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
        reason = _watch(child, spec, reasons)
        descendants = psutil.Process().children(recursive=True)
        if child.poll() is None:
            child.terminate()
        _end(child, descendants, spec["grace_s"])
    _remove(spec["leftovers"])
    Path(spec["exit"]).write_text(json.dumps({"code": child.returncode, "reason": reason}) + "\n")


def _watch(child: "subprocess.Popen[bytes]", spec: dict[str, Any], reasons: list[str]) -> str:
    deadline = time.monotonic() + spec["ttl_s"]
    while child.poll() is None:
        if reasons:
            return reasons[0]
        if time.monotonic() > deadline:
            return "its time was over"
        if spec["owner"] and not _lives(spec["owner"]):
            return "its owner was gone"
        time.sleep(POLL_S)
    return "ended by itself"


def _lives(owner: str) -> bool:
    pid, _, born = owner.partition(":")
    try:
        return abs(psutil.Process(int(pid)).create_time() - float(born)) < CLOCK_SLACK_S
    except psutil.NoSuchProcess:
        return False


def _end(
    child: "subprocess.Popen[bytes]", descendants: list[psutil.Process], grace_s: float
) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(grace_s)
    for process in [*descendants, *psutil.Process().children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    child.wait()


def _remove(leftovers: str) -> None:
    folder, _, pattern = leftovers.rpartition("/")
    for path in Path(folder).glob(pattern) if pattern else ():
        path.unlink(missing_ok=True)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
