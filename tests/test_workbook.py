"""The workbook from stage 03 on, on the real Triton and the real Prometheus; what a failure leaves.

The stages before it have their own life in `tests/rehearsal/test_life.py`.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from helpers import processes, promises
from helpers.promises import Status
from helpers.run import Run

WORKBOOK = [sys.executable, "-m", "helpers.cli"]
PATIENCE_S = 240


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of runs, so that the exported networks are made once."""
    return tmp_path_factory.mktemp("outputs")


def begin(outputs: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*WORKBOOK, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"GPU_E2E_OUTPUTS": str(outputs)},
    )


def workbook(outputs: Path, *arguments: str) -> tuple[int, str]:
    process = begin(outputs, *arguments)
    said, _ = process.communicate(timeout=PATIENCE_S)
    return process.returncode, said


def newest(outputs: Path) -> Run:
    return Run.open(sorted(outputs.glob("*/manifest.json"))[-1].parent.name, outputs)


@dataclass(frozen=True)
class Attempt:
    """One call of the workbook.

    Attributes:
        run: What it worked on.
        code: Its exit status.
        said: Its output.
        left: Living processes of the run afterwards.
    """

    run: Run
    code: int
    said: str
    left: set[str]


def attempt(outputs: Path, *arguments: str) -> Attempt:
    code, said = workbook(outputs, *arguments)
    run = newest(outputs)
    return Attempt(run, code, said, set(processes.marked(run.mark)))


def cut_short(run: Run, how: signal.Signals) -> Attempt:
    """Resume a run and send a signal two seconds into its load."""
    started = len(run.events("load-start"))
    process = begin(run.folder.parent, "resume", run.run_id)
    deadline = time.monotonic() + PATIENCE_S
    while len(run.events("load-start")) == started:
        assert process.poll() is None and time.monotonic() < deadline, "no load was started"
        time.sleep(0.2)
    time.sleep(2)
    process.send_signal(how)
    said, _ = process.communicate(timeout=PATIENCE_S)
    return Attempt(run, process.returncode, said, set(processes.marked(run.mark)))


# One run that everything happens to, and that is resumed each time.
@pytest.fixture(scope="module")
def failed(outputs: Path) -> Attempt:
    """Stage 03 fails: the port that it was told to take is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = f"serving.http_port={taken.getsockname()[1]}"
        return attempt(outputs, "run", "--profile", "quick", "--from", "03", "-p", port)


@pytest.fixture(scope="module")
def interrupted(failed: Attempt) -> Attempt:
    """Ctrl-C during the load."""
    return cut_short(failed.run, signal.SIGINT)


@pytest.fixture(scope="module")
def killed(interrupted: Attempt) -> Attempt:
    """SIGKILL during the load, then `workbook down`."""
    run = interrupted.run
    shutil.rmtree(run.folder / "tables")
    cut_short(run, signal.SIGKILL)
    return attempt(run.folder.parent, "down", run.run_id)


@pytest.fixture(scope="module")
def completed(killed: Attempt) -> Attempt:
    """Resumed once more, and left alone."""
    return attempt(killed.run.folder.parent, "resume", killed.run.run_id)


@pytest.fixture(scope="module")
def finished(completed: Attempt) -> Run:
    """The run at its end."""
    assert completed.code == 0, completed.said
    return completed.run


def test_a_failed_stage_tears_down_and_writes_evidence(failed: Attempt) -> None:
    assert failed.code == 1
    assert "Stage 03 failed: Port " in failed.said and " is taken." in failed.said
    assert f"workbook resume {failed.run.run_id}" in failed.said
    assert (failed.run.folder / "evidence/index.html").is_file()
    assert (failed.run.folder / "records/03/models.json").is_file()
    assert failed.left == set()


def test_an_interrupt_keeps_what_was_measured_and_leaves_no_process(interrupted: Attempt) -> None:
    assert "at stage 03" in interrupted.said
    assert interrupted.code == 130, interrupted.said
    assert "Stage 05 was interrupted" in interrupted.said
    assert len(interrupted.run.load_table("requests-smoke"))
    assert interrupted.run.events("load-stop")[-1]["outcome"] == "interrupted"
    assert interrupted.left == set()


def test_after_kill_9_down_leaves_no_process_and_saves_what_was_recorded(killed: Attempt) -> None:
    assert killed.code == 0, killed.said
    assert len(killed.run.load_table("requests-smoke"))
    assert killed.left == set()


def test_resuming_goes_on_from_the_stage_that_did_not_end(completed: Attempt) -> None:
    assert "at stage 05" in completed.said
    assert completed.code == 0, completed.said
    assert f"Evidence: {completed.run.folder / 'evidence/index.html'}" in completed.said
    assert completed.left == set()


def test_a_whole_run_ticks_what_it_saw_and_nothing_else(finished: Run) -> None:
    statuses = {promise.id: tick.status for promise, tick in promises.ticks(finished).items()}
    rehearsed = {name for name, status in statuses.items() if status is Status.REHEARSED}
    assert rehearsed >= {
        "03.onnx",
        "03.image",
        "03.smoke",
        "04.prometheus",
        "04.dashboards",
        "05.scenarios",
        "05.headless",
        "05.export",
        "05.events",
        "07.graphs",
        "05.snapshots",
        "07.html",
        "07.case-study",
    }
    assert not any(promise.startswith(("00", "01", "02")) for promise in rehearsed)
    assert Status.VERIFIED not in statuses.values()


def test_a_whole_run_is_closed(finished: Run) -> None:
    assert not any(service.running for service in processes.recorded(finished))
    assert finished.manifest()["ended"] is not None


def test_the_table_of_requests_is_what_the_report_counts(finished: Run) -> None:
    report = json.loads((finished.folder / "records/05/load.json").read_text())
    assert [one["name"] for one in report["scenarios"]] == ["smoke", "spike", "soak"]
    for one in report["scenarios"]:
        table = finished.load_table(f"requests-{one['name']}")
        measured = table[~table["warmup"]]
        assert len(measured) == one["measured"]["requests"]
        assert (measured["outcome"] == "ok").sum() == one["measured"]["ok"]
        seconds = pd.read_csv(finished.folder / f"tables/seconds-{one['name']}.csv")
        assert seconds["due"].sum() == len(table)
        assert seconds["ok"].sum() == (table["outcome"] == "ok").sum()


def test_percentiles_equal_an_independent_computation(finished: Run) -> None:
    report: dict[str, Any] = json.loads((finished.folder / "records/05/load.json").read_text())
    for one in report["scenarios"]:
        table = finished.load_table(f"requests-{one['name']}")
        good = table[(table["outcome"] == "ok") & ~table["warmup"]]
        latency = sorted((good["done_s"] - good["intended_s"]) * 1000)
        for name, found in one["measured"]["latency"].items():
            share = sum(value <= found["ms"] + 1e-6 for value in latency) / len(latency)
            assert share >= float(name[1:]) / 100 - 1 / len(latency)


def test_triton_counted_what_the_client_counted(finished: Run) -> None:
    report = json.loads((finished.folder / "records/05/load.json").read_text())
    for one in report["scenarios"]:
        table = finished.load_table(f"requests-{one['name']}")
        assert one["server"]["requests"] == (table["outcome"] == "ok").sum()


def test_the_evidence_is_one_page_that_asks_for_nothing_else(finished: Run) -> None:
    page = (finished.folder / "evidence/index.html").read_text()
    assert "REHEARSAL" in page
    assert 'src="http' not in page
    for one in promises.STAGES:
        if one.number >= "03":
            assert (finished.folder / "html" / f"{one.notebook[:-6]}.html").is_file()
    results = json.loads((finished.folder / "evidence/results.json").read_text())
    assert results["run_id"] == finished.run_id


def test_executed_notebooks_ran_in_order(finished: Run) -> None:
    for path in (finished.folder / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        counts = [cell["execution_count"] for cell in cells if cell["cell_type"] == "code"]
        assert counts == list(range(1, len(counts) + 1)), path.name


def test_status_and_resume_of_a_complete_run(outputs: Path, finished: Run) -> None:
    code, said = workbook(outputs, "status", finished.run_id)
    assert code == 0
    assert "05 Load testing" in said and "stopped" in said
    code, said = workbook(outputs, "resume", finished.run_id)
    assert code == 0 and "nothing to resume" in said
