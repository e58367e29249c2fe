"""The workbook from stage 05 on, on the real Triton and the real Prometheus, killed and resumed.

The stages before it are in `tests/rehearsal`, `tests/serving` and `tests/telemetry`, failures and
interrupts in `test_runner.py`; `.ci/run` runs every stage.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from helpers import processes, promises, runner
from helpers.profile import Profile
from helpers.promises import Status
from helpers.run import Run
from helpers.serving import models
from tests.contract import shapes

PATIENCE_S = 480
# the quick profile with shorter phases, and without the search for the capacity
SHORT = ("load.capacity=null", "load.scenarios.smoke.phases.steady.duration_s=6",
         "load.scenarios.spike.phases.before.duration_s=1",
         "load.scenarios.spike.phases.spike.duration_s=2",
         "load.scenarios.soak.phases.steady.duration_s=4")  # fmt: skip
SHOWN = {"05.scenarios", "05.headless", "05.export", "05.events", "05.snapshots", "07.graphs",
         "07.html", "07.case-study"}  # fmt: skip


def workbook(outputs: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "helpers.cli", *arguments], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=PATIENCE_S,
        env=os.environ | {"GPU_E2E_OUTPUTS": str(outputs)},
    )  # fmt: skip
    return done.returncode, done.stdout


# One run that everything happens to: begun, killed in its load, and resumed.
@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """SIGKILL two seconds into the load."""
    outputs, log = tmp_path_factory.mktemp("outputs"), tmp_path_factory.mktemp("log") / "log"
    run = Run.create(Profile.load_named("quick", ",".join(SHORT)), outputs)
    models.prepare(run)
    command = [sys.executable, "-m", "helpers.cli", "run", "--profile", "quick", "--from", "05"]
    with log.open("wb") as file:  # a pipe that nobody reads would stop it when it is full
        process = subprocess.Popen(
            command, stdout=file, stderr=file, env=os.environ | {"GPU_E2E_OUTPUTS": str(outputs)}
        )
    deadline = time.monotonic() + PATIENCE_S
    while not run.events("load-start"):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"no load began; exit status {process.wait()}:\n{log.read_text()}")
        time.sleep(0.2)
    time.sleep(2)
    process.kill()
    process.wait()
    return run


@pytest.fixture(scope="module")
def stopped(killed: Run) -> Run:
    """`workbook down` after the kill."""
    code, output = workbook(killed.folder.parent, "down", killed.run_id)
    assert code == 0, output
    assert processes.marked(killed.mark) == {}
    return killed


@pytest.fixture(scope="module")
def finished(stopped: Run) -> Run:
    """Resumed, and left alone."""
    code, output = workbook(stopped.folder.parent, "resume", stopped.run_id)
    failed = [tick for tick in promises.ticks(stopped).values() if tick.status is Status.FAILED]
    assert code == (runner.NOT_KEPT if failed else 0), output
    assert "at stage 05" in output
    assert f"Evidence: {stopped.folder / 'evidence/index.html'}" in output
    assert processes.marked(stopped.mark) == {}
    return stopped


def test_after_kill_9_down_saves_what_was_recorded(stopped: Run) -> None:
    assert len(stopped.load_table("requests-smoke"))
    assert stopped.events("load-stop")[0]["outcome"] == "interrupted"


def test_a_whole_run_ticks_what_it_saw_and_is_closed(finished: Run) -> None:
    statuses = {promise.id: tick.status for promise, tick in promises.ticks(finished).items()}
    rehearsed = {name for name, status in statuses.items() if status is Status.RAN}
    assert rehearsed >= SHOWN
    assert not any(promise.startswith(("00", "01", "02", "03", "04")) for promise in rehearsed)
    assert Status.VERIFIED not in statuses.values()
    assert not any(service.running for service in processes.recorded(finished))
    assert finished.manifest()["ended"] is not None


def test_the_report_holds_what_tables_and_triton_count(finished: Run) -> None:
    report = json.loads((finished.folder / "records/05/load.json").read_text())
    assert [scenario["name"] for scenario in report["scenarios"]] == ["smoke", "spike", "soak"]
    for scenario in report["scenarios"]:
        requests = finished.load_table(f"requests-{scenario['name']}")
        measured = requests[~requests["warmup"]]
        assert len(measured) == scenario["measured"]["requests"]
        assert (measured["outcome"] == "ok").sum() == scenario["measured"]["ok"]
        seconds = pd.read_csv(finished.folder / f"tables/seconds-{scenario['name']}.csv")
        assert seconds["due"].sum() == len(requests)
        successes = (requests["outcome"] == "ok").sum()
        assert seconds["ok"].sum() == scenario["server"]["requests"] == successes
        good = measured[measured["outcome"] == "ok"]
        latency = (good["done_s"] - good["intended_s"]) * 1000
        for name, percentile in scenario["measured"]["latency"].items():
            share = (latency <= percentile["ms"] + 1e-6).mean()
            assert share >= float(name[1:]) / 100 - 1 / len(latency)


def test_the_evidence_is_one_self_contained_page(finished: Run) -> None:
    page = (finished.folder / "evidence/index.html").read_text()
    assert "REHEARSAL" in page
    assert 'src="http' not in page
    for stage in promises.STAGES[5:]:
        assert (finished.folder / "html" / f"{stage.notebook[:-6]}.html").is_file()
    results = json.loads((finished.folder / "evidence/results.json").read_text())
    assert results["run_id"] == finished.run_id


def test_executed_notebooks_ran_in_order_and_show_what_they_showed(finished: Run) -> None:
    expected = json.loads(shapes.EXPECTED.read_text())
    expected["05-load-testing.ipynb"].remove("picture")  # the capacity, which was not searched
    for name, shown in shapes.shapes(finished.folder / "notebooks").items():
        if name < "06":  # later ones show what an earlier stage has left
            assert shown == expected[name], name
    for path in (finished.folder / "notebooks").glob("*.ipynb"):
        cells = [cell for cell in json.loads(path.read_text())["cells"] if "outputs" in cell]
        counts = [cell["execution_count"] for cell in cells]
        assert counts == list(range(1, len(counts) + 1)), path.name


def test_status_and_resume_of_a_complete_run(finished: Run) -> None:
    code, output = workbook(finished.folder.parent, "status", finished.run_id)
    assert code == 0
    assert "05 Load testing" in output and "stopped" in output
    code, output = workbook(finished.folder.parent, "resume", finished.run_id)
    assert code == 0 and "nothing to resume" in output
