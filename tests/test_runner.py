"""The runner tears down after a failure, skips what is unavailable, and can be stopped."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
import zmq
from botocore.exceptions import EndpointConnectionError
from jupyter_client.kernelspec import NoSuchKernel
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat.v4 import new_code_cell, new_notebook

from helpers import load, processes, promises, runner, watcher
from helpers.cloud import zero
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
    assert outcome == runner.Outcome(1, ("Stage 03 failed: Port 1 is taken. Free it.",))
    assert sorted(path.name for path in tmp_path.glob("ran-*")) == ["ran-06", "ran-07"]
    assert [event["stage"] for event in run.events("stage-failed")] == ["03"]
    assert run.events("service-started") and processes.find(run, "idle") is None
    assert run.manifest()["ended"]


@pytest.mark.parametrize(
    "error",
    [
        CellTimeoutError("A cell timed out"), DeadKernelError("Kernel died"),
        RuntimeError("Kernel didn't respond in 240 seconds"), zmq.ZMQError(zmq.EADDRINUSE),
        OSError(errno.ENOSPC, "No space left on device"), PermissionError("notebooks"),
        TimeoutError(), MemoryError(), KeyError("kernelspec"), NoSuchKernel("python3"),
        EndpointConnectionError(endpoint_url="https://sts"), EOFError(),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_whatever_ends_a_stage_leads_to_teardown_and_evidence(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    begun = []

    def execute(_run: Run, stage: promises.Stage) -> None:
        begun.append(stage.number)
        if stage.number == "03":
            raise error

    monkeypatch.setattr(runner, "_execute_notebook", execute)
    monkeypatch.setattr(load, "recover", failing("The disk is full."))
    monkeypatch.setattr(zero, "hourly_price", failing("A torn record."))
    outcome = runner.run_stages(run, [promises.stage(n) for n in ("03", "04", "06", "07")])
    assert begun == ["03", "06", "07"]
    assert outcome.code == 1
    assert outcome.failures[0].startswith("Stage 03 failed: ")
    assert outcome.failures[1:] == (
        "Reading the price failed: OSError: A torn record.",
        "Stopping the services failed: OSError: The disk is full.",
        "Closing the run failed: OSError: A torn record.",
        "Drawing the page failed: OSError: A torn record.",
    )


def failing(message: str) -> Callable[..., None]:
    """A function that fails."""

    def fail(*_: object) -> None:
        raise OSError(message)

    return fail


def test_a_run_whose_stack_stands_stays_open_and_says_how_to_remove_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(run: Run, stage: promises.Stage) -> None:
        if stage.number == "01":
            run.event("stack-apply-start", stage="01")
        if stage.number == "06":
            raise Problem("The state is locked.")

    monkeypatch.setattr(runner, "_execute_notebook", execute)
    stages = [promises.stage(number) for number in ("01", "06")]
    assert runner.run_stages(run, stages).failures == ("Stage 06 failed: The state is locked.",)
    assert run.manifest()["ended"] is None
    assert zero.standing(run) == (
        "STILL STANDING: the stack, about US$ 0.00 an hour (EMULATED). "
        f"Remove with: workbook run --run {run.run_id} --only 06"
    )
    run.event("stack-destroy-stop", stage="06", outcome="finished")
    assert zero.standing(run) == ""


def test_a_failed_promise_fails_the_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_execute_notebook", lambda *_: None)
    promises.claim(run, "06.leftovers", holds=False, evidence="profile.yaml", note="1 is left")
    outcome = runner.run_stages(run, [promises.stage("07")])
    assert outcome == runner.Outcome(runner.NOT_KEPT, ("06.leftovers FAILED: 1 is left",))


@pytest.mark.parametrize(("presses", "begun"), [(1, "03 06 07"), (2, "03 06 07"), (3, "03 06")])
def test_one_interrupt_tears_down_and_two_more_within_seconds_leave_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: Any, presses: int, begun: str
) -> None:
    stages = []

    def execute(run: Run, stage: promises.Stage) -> None:
        stages.append(stage.number)
        if stage.number == "03":
            run.event("stack-apply-start", stage="01")
            signal.raise_signal(signal.SIGINT)
        for _ in range(presses - 1 if stage.number == "06" else 0):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(runner, "_execute_notebook", execute)
    outcome = runner.run_stages(run, [promises.stage(n) for n in ("03", "04", "06", "07")])
    assert (outcome.code, " ".join(stages)) == (runner.INTERRUPTED, begun)
    assert ("leaves the stack standing, about US$ 0.00 an hour" in capsys.readouterr().err) == (
        presses > 1
    )


def test_what_this_machine_cannot_have_is_not_rehearsed_and_the_run_goes_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "from helpers.errors import Unavailable\nraise Unavailable('No Prometheus here.')"
    write_notebook(tmp_path, serving(run) + source)
    monkeypatch.setattr(runner, "NOTEBOOKS", tmp_path)
    assert runner.run_stages(run, [STAGE], keep=True).code == 0
    tick = {promise.id: tick for promise, tick in promises.ticks(run).items()}["04.prometheus"]
    assert tick.status is Status.NOT_RUN
    assert tick.note == "No Prometheus here."
    assert [event["stage"] for event in run.events("stage-end")] == ["04"]
    service = processes.find(run, "idle")
    assert service and service.process, "--keep leaves services running"
    assert service.process.environ()[processes.OWNER] == "", "and lets them outlive the runner"
    assert run.manifest()["ended"] is None


BUILT = "stage-end:00 stage-end:01 stage-end:02 stack-apply-start"


@pytest.mark.parametrize(
    ("events", "rest"),
    [
        ("", "00 01 02 03 04 05 06 07"),
        ("stage-start:03 stage-failed:03", "03 04 05 06 07"),  # never applied: `--from 03`
        ("stage-end:03 stage-start:04 stage-end:06", "04 05 06 07"),
        (" ".join(f"stage-end:{number:02d}" for number in range(3, 8)), ""),
        (f"{BUILT} stack-destroy-stop stage-failed:03", "01 02 03 04 05 06 07"),
        # the emulator has ended, with its account
        (f"{BUILT} stage-failed:03", "01 02 03 04 05 06 07"),
    ],
)
def test_resuming_begins_with_the_first_stage_that_did_not_end_well_or_was_torn_down(
    run: Run, events: str, rest: str
) -> None:
    for event in events.split():
        kind, _, stage = event.partition(":")
        run.event(kind, stage, outcome="finished")
    assert " ".join(stage.number for stage in runner.unfinished(run)) == rest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_polite_signal_is_an_interrupt_and_ends_the_lock(run: Run, number: int) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        runner._owned(run, keep=False) as interrupts,
        interrupts.stage(),
    ):
        assert watcher.owner_is_alive(os.environ[processes.OWNER])
        with (
            pytest.raises(Problem, match=f"is being run by process {os.getpid()}"),
            processes.lock(run),
        ):
            pass
        signal.raise_signal(number)
    with processes.lock(run):
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
    processes.interrupt_runner(run)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == runner.INTERRUPTED
    assert "Stage 04 was interrupted." in errors
    assert run.events("stage-failed")[-1]["stage"] == "04"
    assert processes.marked(run.mark) == {}
