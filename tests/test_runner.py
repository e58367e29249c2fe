"""The runner passes over what a machine cannot have, and every polite signal is an interrupt."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from helpers import processes, promises, runner
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


def write_notebook(folder: Path, source: str) -> None:
    language = {"language_info": {"name": "python"}}
    notebook = new_notebook(cells=[new_code_cell(source)], metadata=language)
    nbformat.write(notebook, folder / STAGE.notebook)


def test_what_this_machine_cannot_have_is_not_rehearsed_and_the_run_goes_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "from helpers.errors import Unavailable\nraise Unavailable('No Prometheus here.')"
    write_notebook(tmp_path, source)
    monkeypatch.setattr(runner, "NOTEBOOKS", tmp_path)
    assert runner.run_stages(run, [STAGE]).code == 0
    tick = {promise.id: tick for promise, tick in promises.ticks(run).items()}["04.prometheus"]
    assert tick.status is Status.NOT_REHEARSED
    assert tick.note == "No Prometheus here."
    assert [event["stage"] for event in run.events("stage-end")] == ["04"]


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
    assert [one.number for one in runner.unfinished(run)] == rest


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_polite_signal_interrupts_and_leaves_no_process(run: Run, how: signal.Signals) -> None:
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
    process.send_signal(how)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == runner.INTERRUPTED
    assert "Stage 04 was interrupted." in said
    assert run.events("stage-failed")[-1]["stage"] == "04"
    assert processes.marked(run.mark) == {}


SERVE = """
import sys
from pathlib import Path
from helpers import processes
from helpers.run import Run
run = Run.open({run_id!r}, Path({folder!r}))
processes.start(run, "idle", ["sleep", "600"], ports={{}}, ready=lambda: True, timeout_s=9)
"""


@pytest.mark.parametrize("keep", [True, False])
def test_what_is_kept_outlives_the_runner(run: Run, keep: bool) -> None:
    folder = run.folder.parent
    write_notebook(folder, SERVE.format(run_id=run.run_id, folder=str(folder)))
    program = RUN_ONE.replace(").code", f", keep={keep}).code")
    subprocess.run([sys.executable, "-c", program, str(folder), run.run_id], check=True)
    time.sleep(2)  # longer than a watcher takes to see that its owner is gone
    service = processes.find(run, "idle")
    assert (service is not None and service.running) is keep
