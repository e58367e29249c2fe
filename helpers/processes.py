"""Local processes of a run: started, watched, logged, and stopped whatever happens.

Each service runs under a small watcher (`helpers.watcher`) that outlives the notebook's kernel
and ends the service when its owner is gone, its time is over, or it is asked to stop.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from helpers.errors import Problem
from helpers.run import Run, now, write_atomically

MARK = "GPU_E2E_RUN"
OWNER = "GPU_E2E_OWNER"
KILL_GRACE_S = 5.0
POLL_S = 0.05
CLOCK_SLACK_S = 2.0  # the kernel's boot time, and with it every start time, moves with the clock


def owner_mark(pid: int) -> str:
    """The value of the OWNER variable that ties services to a process."""
    return f"{pid}:{psutil.Process(pid).create_time()}"


def owner_is_alive(mark: str) -> bool:
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
        return living(self.pid, self.born)

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
    finished = _let_finish(marked(run.mark))
    stopped = _stop(run, recorded(run))
    strays = marked(run.mark)
    end(strays.values(), STOP_GRACE_S)
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
    end(living.values(), STOP_GRACE_S)
    for name in living:
        run.event("service-stopped", service=name)
    return list(living)


def _let_finish(living: dict[str, psutil.Process]) -> list[str]:
    """Interrupt Terraform and wait while it writes its state: it needs its providers for that."""
    found = {name: one for name, one in living.items() if name.startswith(f"{WRITES_STATE} (")}
    for process in found.values():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)
    wait_for_end(list(found.values()), STATE_GRACE_S)
    return list(found)


PROBE_TIMEOUT_S = 2.0


def answers(url: str) -> bool:
    """Whether something answers well at an address of this machine, past any proxy."""
    import requests  # slow to import

    with requests.Session() as session:
        session.trust_env = False
        try:
            return session.get(url, timeout=PROBE_TIMEOUT_S).ok
        except requests.RequestException:
            return False
