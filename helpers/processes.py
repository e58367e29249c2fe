"""Local processes of a run: started, watched, logged, and stopped whatever happens.

Each service runs under a small watcher (`helpers.watcher`) that outlives the notebook's kernel
and stops the service when its owner has ended, its time is up, or it is asked to stop.
"""

import contextlib
import fcntl
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from helpers.errors import Problem
from helpers.run import Run, now
from helpers.watcher import has_ended, living

MARK = "GPU_E2E_RUN"  # environment variable that every process of a run carries
OWNER = "GPU_E2E_OWNER"
STOP_GRACE_S, KILL_GRACE_S = 15.0, 5.0
LOCK = "workbook.lock"  # in the run's folder, held while `workbook` runs it
WRITES_STATE, STATE_GRACE_S = "terraform", 120.0
PORTS = range(20_000, 32_000)  # below those that outgoing connections get: free until it is used
POLL_S = 0.05
PROBE_TIMEOUT_S = 2.0
LOG_TAIL_LINES = 12


@dataclass(frozen=True)
class Service:
    """A process of a run, as `services/<name>.json` holds it."""

    name: str  # the service's name
    pid: int  # the watcher's process id
    born: float  # the watcher's start time, distinguishes it from a later process with the same id
    ports: dict[str, int]  # named ports it listens on, all on 127.0.0.1
    log: str  # its log, relative to the run's folder
    started: str  # when it was started, UTC
    program: str = ""  # version or path shown to people

    @property
    def process(self) -> psutil.Process | None:
        """The watcher, or None once it has ended."""
        return living(self.pid, self.born)

    @property
    def running(self) -> bool:
        """Whether the service is still running."""
        return self.process is not None


def start(
    run: Run,
    name: str,
    command: Sequence[str | Path],
    *,
    ports: dict[str, int],
    ready: Callable[[], bool],  # polled
    timeout_s: float,  # until it is ready
    env: dict[str, str] | None = None,  # in addition to this process's environment
    program: str = "",  # version or path shown to people
    leftovers: str = "",  # glob pattern of files to remove once it has ended
    cores: Iterable[int] = (),  # the only cores it may use; empty means all
) -> Service:
    """Start a service and wait until it is ready; a running one of this name is replaced.

    If it ends or is not ready in time, a Problem quotes its log.
    """
    stop(run, name)
    folder = run.folder / "services"
    folder.mkdir(exist_ok=True)
    log = folder / f"{name}.log"
    exit_file = folder / f"{name}.exit.json"
    spec = {
        "command": [str(part) for part in command],
        "env": (env or {}) | {MARK: run.mark},
        "log": str(log),
        "exit": str(exit_file),
        "ttl_s": run.profile.services.ttl_minutes * 60,
        "owner": os.environ.get(OWNER, ""),
        "grace_s": STOP_GRACE_S - 5,
        "leftovers": leftovers,
        "cores": list(cores),
    }
    exit_file.unlink(missing_ok=True)
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
    run.write(f"services/{name}.json", json.dumps(asdict(service), indent=2) + "\n")
    deadline = time.monotonic() + timeout_s
    while watcher.poll() is None:
        if ready():
            run.event("service-started", service=name, ports=ports)
            return service
        if time.monotonic() > deadline:
            stop(run, name)
            reason = f"was not ready within {timeout_s:g} s"
            break
        time.sleep(POLL_S)
    else:
        reason = "ended while starting"
    run.event("service-failed", service=name, reason=reason)
    raise Problem(f"{name} {reason}.", f"Its log ({relative}) ends with:\n{log_tail(log)}")


def find(run: Run, name: str) -> Service | None:
    """The running service of this name, or None."""
    services = (service for service in recorded(run) if service.name == name)
    return next((service for service in services if service.running), None)


def recorded(run: Run) -> list[Service]:
    """Every service the run has started, running or not."""
    return [
        Service(**json.loads(path.read_text()))
        for path in sorted((run.folder / "services").glob("*.json"))
        if not path.name.endswith(".exit.json")
    ]


def stop(run: Run, name: str) -> bool:
    """Stop a service; True if it was running."""
    return bool(_stop(run, [service for service in recorded(run) if service.name == name]))


def down(run: Run) -> list[str]:
    """Stop every process of the run, also those that a killed kernel or workbook left behind.

    Terraform is interrupted first and waited for: it needs its providers to write its state.
    Returns the names of what was stopped; a process without a record is named by its command.
    """
    processes = marked(run.mark)
    writers = {
        name: process for name, process in processes.items() if name.startswith(f"{WRITES_STATE} (")
    }
    for process in writers.values():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)
    wait_for_end(list(writers.values()), STATE_GRACE_S)
    stopped = _stop(run, recorded(run))
    strays = marked(run.mark)
    end(strays.values(), STOP_GRACE_S)
    return [*writers, *stopped, *strays]


@contextlib.contextmanager
def lock(run: Run) -> Iterator[None]:
    """Hold the run's lock, which the kernel releases when this process ends; a Problem if held."""
    with (run.folder / LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Problem(
                f"Run {run.run_id} is being run by process {_holder(run)}.",
                f"Wait for it, or interrupt it with: workbook down {run.run_id}",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def interrupt_runner(run: Run) -> None:
    """Interrupt the `workbook` that runs this run, if any, and wait while it tears down."""
    try:
        with lock(run):
            return
    except Problem as problem:
        print(f"{problem.what} It is interrupted and tears down; this waits for its end.")
    os.kill(_holder(run), signal.SIGTERM)
    with (run.folder / LOCK).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)


def _holder(run: Run) -> int:
    return int((run.folder / LOCK).read_text())


def _stop(run: Run, services: list[Service]) -> list[str]:
    running = {service.name: process for service in services if (process := service.process)}
    end(running.values(), STOP_GRACE_S)
    for name in running:
        run.event("service-stopped", service=name)
    return list(running)


def marked(mark: str) -> dict[str, psutil.Process]:
    """Living processes that carry a run's mark, except this one and its ancestors."""
    family = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    processes: dict[str, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid not in family and process.environ().get(MARK) == mark:
                processes[f"{process.name()} ({process.pid})"] = process
    return processes


def end(processes: Iterable[psutil.Process], grace_s: float) -> None:
    """Terminate processes, and kill those that are still running after `grace_s` seconds."""
    waiting = list(processes)
    for process in waiting:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in wait_for_end(waiting, grace_s):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_for_end(waiting, KILL_GRACE_S)


def wait_for_end(processes: list[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Wait for processes to end; returns those that are still running after the time-out."""
    deadline = time.monotonic() + timeout_s
    while running := [process for process in processes if not has_ended(process)]:
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    return running


def owner_mark(pid: int) -> str:
    """The value of the OWNER variable that ties services to a process."""
    return f"{pid}:{psutil.Process(pid).create_time()}"


def free_port(wanted: int = 0) -> int:
    """A free TCP port on 127.0.0.1: `wanted` itself unless it is 0; a Problem if it is taken."""
    for port in [wanted] if wanted else random.sample(PORTS, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise Problem(
        f"Port {wanted} on 127.0.0.1 is taken.",
        "Free it, or set the port to 0 in the profile to have a free one chosen.",
    )


def ask(url: str) -> Any:
    """The `requests.Response` of a local address; None if it is no success. Proxies are ignored."""
    import requests  # slow to import

    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.get(url, timeout=PROBE_TIMEOUT_S)
        except requests.RequestException:
            return None
        return answer if answer.ok else None


def log_tail(path: Path) -> str:
    """The last lines of a log, or a note that there are none."""
    if not path.is_file():
        return "(no log)"
    text = path.read_text(errors="replace").strip()
    return "\n".join(text.splitlines()[-LOG_TAIL_LINES:]) or "(the log is empty)"
