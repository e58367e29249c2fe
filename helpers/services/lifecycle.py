"""The life of a service: started under its watcher, awaited, found again, stopped."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from helpers.errors import Problem
from helpers.run import Run, now, write_atomically
from helpers.services import processes
from helpers.services.processes import MARK, OWNER, POLL_S

STOP_GRACE_S = 15.0
WRITES_STATE, STATE_GRACE_S = "terraform", 120.0
LOG_TAIL_LINES = 12


@dataclass(frozen=True)
class Service:
    """A process of a run, as `services/<name>.json` holds it.

    Attributes:
        name: What it is called.
        pid: The watcher's process id.
        born: The watcher's start time, which tells it from a later process of the same id.
        ports: Named ports it listens on, all on 127.0.0.1.
        log: Its log, relative to the run's folder.
        started: When, UTC.
        program: Version or path shown to people.
    """

    name: str
    pid: int
    born: float
    ports: dict[str, int]
    log: str
    started: str
    program: str = ""

    @property
    def process(self) -> psutil.Process | None:
        """The watcher, while this very process still lives."""
        return processes.living(self.pid, self.born)

    @property
    def running(self) -> bool:
        """Whether it still lives."""
        return self.process is not None


def free_port(wanted: int = 0) -> int:
    """A free TCP port on 127.0.0.1; `wanted` itself where it is not 0.

    Raises:
        Problem: The wanted port is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise Problem(
                f"Port {wanted} on 127.0.0.1 is taken.",
                "Free it, or set the port to 0 in the profile to have a free one chosen.",
            ) from error
        port: int = probe.getsockname()[1]
        return port


def start(
    run: Run,
    name: str,
    command: Sequence[str | Path],
    *,
    ports: dict[str, int],
    ready: Callable[[], bool],
    timeout_s: float,
    env: dict[str, str] | None = None,
    program: str = "",
    leftovers: str = "",
    cores: Sequence[int] = (),
) -> Service:
    """Start a service under its watcher and wait until it is ready.

    Args:
        run: The run it belongs to.
        name: What it is called; one service of a name lives at a time.
        command: Program and arguments.
        ports: Named ports it was told to listen on.
        ready: Asked until it says True; must not raise.
        timeout_s: How long to wait for that, seconds.
        env: Variables added to the environment.
        program: Version or path shown to people.
        leftovers: Glob of files that it leaves when it is killed; removed when it has ended.
        cores: Of this machine, the only ones it may use (Linux); empty for all.

    Raises:
        Problem: It ended or was not ready in time; the sentence quotes its log.
    """
    stop(run, name)
    folder = run.folder / "services"
    folder.mkdir(exist_ok=True)
    log = folder / f"{name}.log"
    spec = {
        "command": [str(part) for part in command],
        "env": (env or {}) | {MARK: run.mark},
        "log": str(log),
        "exit": str(folder / f"{name}.exit.json"),
        "ttl_s": run.profile.services.ttl_minutes * 60,
        "owner": os.environ.get(OWNER, ""),
        "grace_s": STOP_GRACE_S - 5,
        "leftovers": leftovers,
        "cores": list(cores),
    }
    (folder / f"{name}.exit.json").unlink(missing_ok=True)
    log.unlink(missing_ok=True)
    watcher = subprocess.Popen(
        [sys.executable, "-m", "helpers.watcher", json.dumps(spec)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=log.open("ab"),
        start_new_session=True,
        env=os.environ | {MARK: run.mark},
    )
    born = psutil.Process(watcher.pid).create_time()
    relative = str(log.relative_to(run.folder))
    service = Service(name, watcher.pid, born, ports, relative, now(), program)
    write_atomically(folder / f"{name}.json", json.dumps(asdict(service), indent=2) + "\n")
    _wait(run, service, watcher, ready, timeout_s)
    run.event("service-started", service=name, ports=ports)
    return service


def find(run: Run, name: str) -> Service | None:
    """The running service of this name, or None."""
    return next((one for one in recorded(run) if one.name == name and one.running), None)


def recorded(run: Run) -> list[Service]:
    """Every service the run has started, running or not."""
    paths = sorted((run.folder / "services").glob("*.json"))
    return [
        Service(**json.loads(path.read_text()))
        for path in paths
        if not path.name.endswith(".exit.json") and not path.name.startswith(".")
    ]


def stop(run: Run, name: str) -> bool:
    """Stop a service; True where it was running."""
    return bool(_stop(run, [one for one in recorded(run) if one.name == name]))


def down(run: Run) -> list[str]:
    """Stop every process of the run, those of a killed kernel or workbook too.

    Returns:
        The names of what was stopped; processes that no record names appear by their command.
    """
    finished = _let_finish(processes.marked(run.mark))
    stopped = _stop(run, recorded(run))
    strays = processes.marked(run.mark)
    processes.end(strays.values(), STOP_GRACE_S)
    return finished + stopped + list(strays)


def log_tail(path: Path) -> str:
    """The last lines of a log, or a word that there is none."""
    if not path.is_file():
        return "(no log)"
    text = path.read_text(errors="replace").strip()
    return "\n".join(text.splitlines()[-LOG_TAIL_LINES:]) or "(the log is empty)"


def _wait(
    run: Run,
    service: Service,
    watcher: "subprocess.Popen[bytes]",
    ready: Callable[[], bool],
    timeout_s: float,
) -> None:
    deadline = time.monotonic() + timeout_s
    while watcher.poll() is None:
        if ready():
            return
        if time.monotonic() > deadline:
            stop(run, service.name)
            reason = f"was not ready within {timeout_s:g} s"
            break
        time.sleep(POLL_S)
    else:
        reason = "ended while starting"
    run.event("service-failed", service=service.name, reason=reason)
    tail = log_tail(run.folder / service.log)
    raise Problem(f"{service.name} {reason}.", f"Its log ({service.log}) ends with:\n{tail}")


def _stop(run: Run, services: list[Service]) -> list[str]:
    living = {one.name: process for one in services if (process := one.process)}
    processes.end(living.values(), STOP_GRACE_S)
    for name in living:
        run.event("service-stopped", service=name)
    return list(living)


def _let_finish(living: dict[str, psutil.Process]) -> list[str]:
    """Interrupt Terraform and wait while it writes its state: it needs its providers for that."""
    found = {name: one for name, one in living.items() if name.startswith(f"{WRITES_STATE} (")}
    for process in found.values():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)
    processes.wait_for_end(list(found.values()), STATE_GRACE_S)
    return list(found)
