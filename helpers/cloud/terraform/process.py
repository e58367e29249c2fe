"""One Terraform process: in a session of its own, so that a dying notebook cannot tear it.

Its output goes to a file, not a pipe: when the notebook's kernel is killed, Terraform goes on and
writes its state. An interrupt reaches it once, as SIGINT: it then finishes what it has begun.
"""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from helpers.errors import Problem
from helpers.processes import owner_mark
from helpers.run import write_atomically
from helpers.watcher import owner_is_alive

POLL_S = 0.1
SETTLE_S = 900.0  # AWS may take that long to finish what was begun
RECORD = "process.json"


@dataclass(frozen=True)
class Command:
    """One call of Terraform.

    Attributes:
        line: Program and arguments.
        folder: Where it runs.
        environment: All of its environment.
        log: Where its output goes.
        record: Where its process is noted, so that a later call finds an orphan.
    """

    line: Sequence[str | Path]
    folder: Path
    environment: dict[str, str]
    log: Path
    record: Path


def run(command: Command, each_line: Callable[[str], None]) -> int:
    """Run a command to its end; returns its exit status.

    Args:
        command: What to run.
        each_line: Told of each line of output.

    Raises:
        KeyboardInterrupt: The caller was interrupted; Terraform has stopped in good order before,
            unless a second interrupt came: then it goes on alone, and `settle` waits for it.
    """
    command.log.unlink(missing_ok=True)
    command.log.touch(mode=0o600)
    with command.log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command.line],
            cwd=command.folder,
            env=command.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
        )
    _note(command.record, process.pid)
    with command.log.open(errors="replace") as said:
        try:
            _follow(process, said, each_line)
        except KeyboardInterrupt:
            print("Interrupted: Terraform finishes what it has begun and writes its state; wait.")
            process.send_signal(signal.SIGINT)
            _follow(process, said, each_line)
            command.record.unlink(missing_ok=True)
            raise
    command.record.unlink(missing_ok=True)
    return process.returncode


def settle(record: Path) -> bool:
    """Bring a Terraform to its end whose notebook was killed; True where there was one.

    Raises:
        Problem: It works for a notebook that lives, or does not end in time.
    """
    orphan = _noted(record)
    if orphan is None:
        record.unlink(missing_ok=True)
        return False
    if owner_is_alive(json.loads(record.read_text())["owner"]):
        raise Problem(
            f"Terraform is at work on this run in another notebook (process {orphan.pid}).",
            "Wait for it, or interrupt that notebook's kernel.",
        )
    print(f"A Terraform without notebook (process {orphan.pid}) is asked to write its state.")
    orphan.send_signal(signal.SIGINT)
    _, living = psutil.wait_procs([orphan], timeout=SETTLE_S)
    if living:
        raise Problem(
            f"An earlier Terraform (process {orphan.pid}) has not ended within {SETTLE_S:g} s.",
            "Wait for it, and repeat the step; its log is in the run's folder terraform/.",
        )
    record.unlink(missing_ok=True)
    return True


def _follow(
    process: "subprocess.Popen[bytes]", said: IO[str], each_line: Callable[[str], None]
) -> None:
    """Hand on whole lines until the process has ended and all is read."""
    part = ""
    while True:
        ended = process.poll() is not None
        if chunk := said.read():
            *lines, part = (part + chunk).split("\n")
            for line in lines:
                each_line(line)
        elif ended:
            break
        else:
            time.sleep(POLL_S)
    if part:
        each_line(part)


def _note(record: Path, pid: int) -> None:
    process = {"pid": pid, "process": owner_mark(pid), "owner": owner_mark(psutil.Process().pid)}
    write_atomically(record, json.dumps(process))


def _noted(record: Path) -> psutil.Process | None:
    """The Terraform that was noted, while this very process still lives."""
    if not record.is_file():
        return None
    noted = json.loads(record.read_text())
    return psutil.Process(noted["pid"]) if owner_is_alive(noted["process"]) else None
