"""A service starts, is watched, and ends even if the process that started it is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import processes
from helpers.errors import Problem
from helpers.profile import Profile
from helpers.run import Run

AWAKE = "import time; print('awake', flush=True); time.sleep(300)"
SLEEP = [sys.executable, "-c", AWAKE]
IGNORE = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
STUBBORN = [sys.executable, "-c", IGNORE + AWAKE]
WITH_CHILD = ["sh", "-c", "sleep 300 & echo awake; wait"]


def begin(run: Run, command: list[str] = SLEEP) -> processes.Service:
    log = run.folder / "services/sleeper.log"

    def is_awake() -> bool:
        return log.is_file() and "awake" in log.read_text()

    return processes.start(run, "sleeper", command, ports={}, ready=is_awake, timeout_s=20)


def eventually(holds: Callable[[], bool], seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return False


def exit_record(run: Run) -> dict[str, object]:
    path = run.folder / "services/sleeper.exit.json"
    assert eventually(path.is_file)
    content: dict[str, object] = json.loads(path.read_text())
    return content


def test_a_service_runs_until_it_is_stopped(run: Run) -> None:
    replaced, service = begin(run), begin(run)
    assert service.running and not replaced.running
    assert processes.find(run, "sleeper") == service
    assert processes.stop(run, "sleeper")
    assert not service.running
    assert processes.find(run, "sleeper") is None
    assert not processes.stop(run, "sleeper")
    assert processes.marked(run.mark) == {}
    kinds = [event["kind"] for event in run.events()]
    assert kinds == ["service-started", "service-stopped"] * 2


def test_a_crash_at_start_quotes_the_log_and_what_is_never_ready_is_stopped(run: Run) -> None:
    with pytest.raises(Problem, match=r"sleeper ended while starting(.|\n)*no such model"):
        begin(run, command=["sh", "-c", "echo no such model >&2; exit 3"])
    assert exit_record(run) == {"code": 3, "reason": "it ended by itself"}
    with pytest.raises(Problem, match="No such file"):
        begin(run, command=["/nonexistent/program"])
    with pytest.raises(Problem, match="was not ready within"):
        processes.start(run, "slow", SLEEP, ports={}, ready=lambda: False, timeout_s=1)
    assert processes.marked(run.mark) == {}


@pytest.mark.parametrize("command", [STUBBORN, WITH_CHILD])
def test_a_service_that_ignores_sigterm_or_has_children_is_ended_as_a_whole(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setattr(processes, "STOP_GRACE_S", 5.5)
    begin(run, command=command)
    processes.stop(run, "sleeper")
    assert processes.marked(run.mark) == {}


def test_down_finds_what_a_killed_watcher_left(run: Run) -> None:
    service = begin(run, command=WITH_CHILD)
    os.kill(service.pid, signal.SIGKILL)
    processes.down(run)
    assert processes.marked(run.mark) == {}


def test_down_leaves_other_runs_and_foreign_processes_alone(
    run: Run, tmp_path: Path, profile: Profile
) -> None:
    other = Run.create(profile, tmp_path / "elsewhere")
    service = begin(other)
    # a record whose process has ended, and whose process id belongs to another one now
    stale = processes.Service("old", service.pid, 1.0, {}, "services/old.log", "2020")
    run.write("services/old.json", json.dumps(stale.__dict__))
    assert processes.find(run, "old") is None
    processes.down(run)
    assert service.running
    processes.down(other)
    assert not service.running


def test_a_service_ends_when_its_owner_is_killed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = subprocess.Popen(SLEEP, stdout=subprocess.DEVNULL)
    monkeypatch.setenv(processes.OWNER, processes.owner_mark(owner.pid))
    service = begin(run)
    owner.kill()
    owner.wait()
    assert eventually(lambda: not service.running)
    assert exit_record(run)["reason"] == "its owner had ended"


def test_a_service_ends_when_its_time_is_up(tmp_path: Path) -> None:
    run = Run.create(Profile.load_named("quick", "services.ttl_minutes=0.02"), tmp_path)
    service = begin(run)
    assert eventually(lambda: not service.running)
    assert exit_record(run)["reason"] == "its time was up"


def test_a_service_outlives_the_kernel_that_started_it(run: Run) -> None:
    code = (
        "from pathlib import Path; from helpers import processes; from helpers.run import Run; "
        f"run = Run.open({run.run_id!r}, Path({str(run.folder.parent)!r})); "
        "processes.start(run, 'sleeper', ['sleep', '300'], ports={}, ready=lambda: True, "
        "timeout_s=5); import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    service = processes.find(run, "sleeper")
    assert service is not None and service.running
    processes.down(run)
    assert not service.running


def test_a_taken_port_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", processes.free_port())) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Problem, match=f"Port {port} on 127.0.0.1 is taken"):
            processes.free_port(port)


WRITES_STATE = """
import signal, sys, time, pathlib
def write(*_):
    time.sleep(0.3); pathlib.Path(sys.argv[1]).write_text("state"); sys.exit(0)
signal.signal(signal.SIGINT, write)
print("ready", flush=True)
time.sleep(60)
"""


def test_terraform_is_interrupted_and_waited_for_before_anything_else_ends(run: Run) -> None:
    program = run.folder / "terraform"
    program.write_text(f"#!{sys.executable}\n{WRITES_STATE}")
    program.chmod(0o755)
    state = run.folder / "state"
    process = subprocess.Popen(
        [program, state], stdout=subprocess.PIPE, env=os.environ | {processes.MARK: run.mark}
    )
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    assert processes.down(run) == [f"terraform ({process.pid})"]
    assert process.wait() == 0
    assert state.read_text() == "state"
