"""The whole workbook, on the real Triton and the real Prometheus; and what a failure leaves."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from helpers import checklist, runner, services
from helpers.checklist import Status
from helpers.run import Run

WORKBOOK = [sys.executable, "-m", "helpers.workbook"]
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


def wait_for_load(outputs: Path, before: int) -> Run:
    """The run that the workbook has just begun, once its load is under way."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if len(list(outputs.glob("*/manifest.json"))) > before and newest(outputs).events(
            "load-start"
        ):
            time.sleep(2)
            return newest(outputs)
        time.sleep(0.2)
    raise AssertionError("no load was started")


def gone(run: Run, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while services.marked(run.mark) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not services.marked(run.mark)


@pytest.fixture(scope="module")
def finished(outputs: Path) -> Run:
    """A whole quick rehearsal."""
    code, said = workbook(outputs, "run", "--profile", "quick")
    assert code == 0, said
    run = newest(outputs)
    assert f"Evidence: {run.folder / 'evidence/index.html'}" in said
    return run


def test_a_whole_run_ticks_what_it_saw_and_nothing_else(finished: Run) -> None:
    statuses = {promise.id: tick.status for promise, tick in checklist.ticks(finished).items()}
    rehearsed = {name for name, status in statuses.items() if status is Status.REHEARSED}
    assert rehearsed >= {
        "00.scaffold",
        "00.kpis",
        "03.onnx",
        "03.smoke",
        "04.prometheus",
        "05.scenarios",
        "05.headless",
        "05.export",
        "05.events",
        "07.graphs",
        "07.html",
    }
    assert not any(promise.startswith(("01", "02", "06")) for promise in rehearsed)
    assert Status.VERIFIED not in statuses.values()


def test_a_whole_run_leaves_no_process(finished: Run) -> None:
    assert services.marked(finished.mark) == {}
    assert not any(service.running for service in services.recorded(finished))
    assert finished.manifest()["ended"] is not None


def test_the_table_of_requests_is_what_the_report_counts(finished: Run) -> None:
    report = json.loads((finished.folder / "records/05/load.json").read_text())
    assert [one["name"] for one in report["scenarios"]] == ["smoke", "spike", "soak"]
    for one in report["scenarios"]:
        table = finished.load_table(f"requests-{one['name']}")
        measured = table[~table["warmup"]]
        assert len(measured) == one["measured"]["requests"]
        assert (measured["outcome"] == "ok").sum() == one["measured"]["ok"]
        csv = pd.read_csv(finished.folder / f"tables/requests-{one['name']}.csv")
        assert len(csv) == len(table)


def test_percentiles_equal_an_independent_computation(finished: Run) -> None:
    report: dict[str, Any] = json.loads((finished.folder / "records/05/load.json").read_text())
    for one in report["scenarios"]:
        table = finished.load_table(f"requests-{one['name']}")
        good = table[(table["outcome"] == "ok") & ~table["warmup"]]
        latency = sorted((good["done_s"] - good["intended_s"]) * 1000)
        for name, found in one["measured"]["latency"].items():
            share = sum(value <= found["ms"] + 1e-6 for value in latency) / len(latency)
            assert share >= int(name[1:]) / 100 - 1 / len(latency)


def test_triton_counted_what_the_client_counted(finished: Run) -> None:
    report = json.loads((finished.folder / "records/05/load.json").read_text())
    for one in report["scenarios"]:
        table = finished.load_table(f"requests-{one['name']}")
        assert one["server"]["requests"] == (table["outcome"] == "ok").sum()


def test_the_evidence_is_one_page_that_asks_for_nothing_else(finished: Run) -> None:
    page = (finished.folder / "evidence/index.html").read_text()
    assert "REHEARSAL" in page
    assert 'src="http' not in page
    for one in checklist.STAGES:
        if one.exists:
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


def test_a_failed_stage_tears_down_writes_evidence_and_can_be_resumed(
    outputs: Path, finished: Run
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, said = workbook(
            outputs, "run", "--profile", "quick", "-p", f"serving.http_port={port}"
        )
    run = newest(outputs)
    assert code == 1
    assert f"Stage 03 failed: Port {port} on 127.0.0.1 is taken" in said
    assert (run.folder / "evidence/index.html").is_file()
    assert (run.folder / "records/03/models.json").is_file()
    assert services.marked(run.mark) == {}

    code, said = workbook(outputs, "resume", run.run_id)
    assert code == 0, said
    assert "at stage 03" in said
    assert (run.folder / "records/05/load.json").is_file()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_it_measured_and_leaves_nothing(
    outputs: Path, finished: Run, how: signal.Signals
) -> None:
    before = len(list(outputs.glob("*/manifest.json")))
    process = begin(outputs, "run", "--profile", "quick")
    run = wait_for_load(outputs, before)
    process.send_signal(how)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, said
    assert "Stage 05 was interrupted" in said
    assert len(run.load_table("requests-smoke"))
    assert (run.folder / "evidence/index.html").is_file()
    assert gone(run)


def test_after_kill_9_down_leaves_nothing(outputs: Path, finished: Run) -> None:
    before = len(list(outputs.glob("*/manifest.json")))
    process = begin(outputs, "run", "--profile", "quick")
    run = wait_for_load(outputs, before)
    process.kill()
    process.communicate(timeout=30)
    code, _ = workbook(outputs, "down", run.run_id)
    assert code == 0
    assert gone(run, 2)
    assert (run.folder / "records/03/models.json").is_file()


def test_what_this_machine_cannot_have_is_not_rehearsed_and_the_run_goes_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = checklist.stage("04")
    source = "from helpers.errors import Unavailable\nraise Unavailable('No Prometheus here.')"
    language = {"language_info": {"name": "python"}}
    notebook = new_notebook(cells=[new_code_cell(source)], metadata=language)
    nbformat.write(notebook, tmp_path / one.notebook)
    monkeypatch.setattr(runner, "NOTEBOOKS", tmp_path)
    assert runner.run_stages(run, [one]).code == 0
    tick = {promise.id: tick for promise, tick in checklist.ticks(run).items()}["04.prometheus"]
    assert tick.status is Status.NOT_REHEARSED
    assert tick.note == "No Prometheus here."
    assert [event["stage"] for event in run.events("stage-end")] == ["04"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--profile", "moon"], "Profile 'moon' does not exist"),
        (["run", "--profile", "aws"], "Target aws cannot be run yet"),
        (["run", "-p", "load.colour=red"], "load.colour: unknown key"),
        (["run", "--from", "03", "--only", "05"], "exclude each other"),
        (["run", "--only", "01"], "Stage 01 has no notebook yet"),
        (["run", "--from", "9"], "Stage '9' does not exist"),
        (["resume", "nope"], "Run 'nope' does not exist"),
        (["status", "nope"], "Run 'nope' does not exist"),
        (["down", "nope"], "Run 'nope' does not exist"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    code, said = workbook(tmp_path, *arguments)
    assert code == 1
    assert sentence in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
