"""The workbook from stage 03 on, on the real Triton and the real Prometheus; what a failure leaves.

The stages before it have their own life in `tests/rehearsal/test_life.py`.
"""

import json
import os
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
class Call:
    """One call of the workbook.

    Attributes:
        code: Its exit status.
        said: Its output.
        left: Living processes of the run afterwards.
    """

    code: int
    said: str
    left: set[str]


def call(run: Run, *arguments: str) -> Call:
    code, said = workbook(run.folder.parent, *arguments)
    return Call(code, said, set(processes.marked(run.mark)))


# One run that everything happens to: begun, killed in its load, and resumed.
@pytest.fixture(scope="module")
def killed(outputs: Path) -> Run:
    """SIGKILL two seconds into the load."""
    process = begin(outputs, "run", "--profile", "quick", "--from", "03")
    deadline = time.monotonic() + PATIENCE_S
    while not (list(outputs.glob("*/manifest.json")) and newest(outputs).events("load-start")):
        assert process.poll() is None and time.monotonic() < deadline, "no load was started"
        time.sleep(0.2)
    time.sleep(2)
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    return newest(outputs)


@pytest.fixture(scope="module")
def down(killed: Run) -> Call:
    """`workbook down` after the kill."""
    return call(killed, "down", killed.run_id)


@pytest.fixture(scope="module")
def resumed(killed: Run, down: Call) -> Call:
    """Resumed, and left alone."""
    return call(killed, "resume", killed.run_id)


@pytest.fixture(scope="module")
def finished(killed: Run, resumed: Call) -> Run:
    """The run at its end."""
    assert resumed.code == 0, resumed.said
    return killed


def test_after_kill_9_down_leaves_no_process_and_saves_what_was_recorded(
    killed: Run, down: Call
) -> None:
    assert down.code == 0, down.said
    assert down.left == set()
    assert len(killed.load_table("requests-smoke"))
    assert killed.events("load-stop")[-1]["outcome"] == "interrupted"


def test_resuming_goes_on_from_the_stage_that_did_not_end(killed: Run, resumed: Call) -> None:
    assert "at stage 05" in resumed.said
    assert resumed.code == 0, resumed.said
    assert f"Evidence: {killed.folder / 'evidence/index.html'}" in resumed.said
    assert resumed.left == set()


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
