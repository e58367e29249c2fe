"""The runner tears down after a failure, skips what is unavailable, and can be stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from helpers import processes, promises, runner, watcher
from helpers.errors import Problem
from helpers.promises import Status
from helpers.run import Run

PATIENCE_S = 120
STAGE = promises.stage("04")
RUN_ONE = """
import sys
from pathlib import Path
from helpers import promises, runner
from helpers.run import Run
folder = Path(sys.argv[1])
runner.NOTEBOOKS = folder
run = Run.open(sys.argv[2], folder)
sys.exit(runner.run_stages(run, [promises.stage("04")]).code)
"""
SERVE = """
from pathlib import Path
from helpers import processes
from helpers.run import Run
run = Run.open({run_id!r}, Path({folder!r}))
processes.start(run, "idle", ["sleep", "600"], ports={{}}, ready=lambda: True, timeout_s=9)
"""


def write_notebook(folder: Path, source: str, number: str = "04") -> None:
    language = {"language_info": {"name": "python"}}
    notebook = new_notebook(cells=[new_code_cell(source)], metadata=language)
    nbformat.write(notebook, folder / promises.stage(number).notebook)


def serving(run: Run) -> str:
    """A cell that starts a service of the run."""
    return SERVE.format(run_id=run.run_id, folder=str(run.folder.parent))


def test_a_failed_stage_tears_down_and_writes_evidence(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "from helpers.errors import Problem\nraise Problem('Port 1 is taken.', 'Free it.')"
    write_notebook(tmp_path, serving(run) + source, "03")
    for number in ("04", "06", "07"):
        write_notebook(tmp_path, f"open({str(tmp_path)!r} + '/ran-{number}', 'w').close()", number)
    monkeypatch.setattr(runner, "NOTEBOOKS", tmp_path)
    stages = [promises.stage(number) for number in ("03", "04", "06", "07")]
    outcome = runner.run_stages(run, stages)
    assert outcome == runner.Outcome(1, "Stage 03 failed: Port 1 is taken. Free it.")
    assert sorted(path.name for path in tmp_path.glob("ran-*")) == ["ran-06", "ran-07"]
    assert [event["stage"] for event in run.events("stage-failed")] == ["03"]
    assert run.events("service-started") and processes.find(run, "idle") is None
    assert run.manifest()["ended"]


def test_what_this_machine_cannot_have_is_not_rehearsed_and_the_run_goes_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "from helpers.errors import Unavailable\nraise Unavailable('No Prometheus here.')"
    write_notebook(tmp_path, serving(run) + source)
    monkeypatch.setattr(runner, "NOTEBOOKS", tmp_path)
    assert runner.run_stages(run, [STAGE], keep=True).code == 0
    tick = {promise.id: tick for promise, tick in promises.ticks(run).items()}["04.prometheus"]
    assert tick.status is Status.NOT_REHEARSED
    assert tick.note == "No Prometheus here."
    assert [event["stage"] for event in run.events("stage-end")] == ["04"]
    service = processes.find(run, "idle")
    assert service and service.process, "--keep leaves services running"
    assert service.process.environ()[processes.OWNER] == "", "and lets them outlive the runner"
    assert run.manifest()["ended"] is None


@pytest.mark.parametrize(
    ("events", "rest"),
    [
        ([], ["00", "01", "02", "03", "04", "05", "06", "07"]),
        (["stage-start 03", "stage-failed 03"], ["03", "04", "05", "06", "07"]),
        (["stage-end 03", "stage-start 04", "stage-end 06"], ["04", "05", "06", "07"]),
        ([f"stage-end {number:02d}" for number in range(3, 8)], []),
    ],
)
def test_what_is_unfinished_begins_with_the_first_stage_that_did_not_end_well(
    run: Run, events: list[str], rest: list[str]
) -> None:
    for event in events:
        kind, stage = event.split()
        run.event(kind, stage=stage)
    assert [stage.number for stage in runner.unfinished(run)] == rest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_polite_signal_is_an_interrupt_and_ends_the_lock(run: Run, number: int) -> None:
    with pytest.raises(KeyboardInterrupt), runner._owned(run, keep=False):
        assert watcher.owner_is_alive(os.environ[processes.OWNER])
        with (
            pytest.raises(Problem, match="is being run by process"),
            runner._owned(run, keep=False),
        ):
            pass
        os.kill(os.getpid(), number)
        time.sleep(PATIENCE_S)
    assert not (run.folder / runner.LOCK).exists()
    assert processes.OWNER not in os.environ


def test_an_interrupted_run_leaves_no_process(run: Run) -> None:
    folder = run.folder.parent
    begun = folder / "begun"
    write_notebook(folder, f"import time\nopen({str(begun)!r}, 'w').close()\ntime.sleep(600)")
    process = subprocess.Popen(
        [sys.executable, "-c", RUN_ONE, str(folder), run.run_id],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {processes.MARK: run.mark},
    )
    deadline = time.monotonic() + PATIENCE_S
    while not begun.exists():
        assert process.poll() is None and time.monotonic() < deadline, "the notebook did not begin"
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == runner.INTERRUPTED
    assert "Stage 04 was interrupted." in errors
    assert run.events("stage-failed")[-1]["stage"] == "04"
    assert processes.marked(run.mark) == {}
