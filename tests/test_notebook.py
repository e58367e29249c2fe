"""A notebook's parameters are checked before anything starts, however it is started."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers import notebook, promises
from helpers.cloud.guardrails import Readiness
from helpers.errors import Problem
from helpers.paths import NOTEBOOKS
from helpers.promises import Status
from helpers.run import Run, run_folders

SETUP = NOTEBOOKS / promises.stage("00").notebook


def papermill(outputs: Path, parameter: str, value: str) -> tuple[int, str]:
    """Run the first notebook by papermill's own command line, where nobody is logged in at AWS."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    nowhere = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), "/dev/null")
    nowhere |= {"AWS_EC2_METADATA_DISABLED": "true", "GPU_E2E_OUTPUTS": str(outputs)}
    command = [sys.executable, "-m", "papermill", str(SETUP), str(outputs / "out.ipynb")]
    done = subprocess.run(
        [*command, "-k", "python3", "--no-progress-bar", "-p", parameter, value],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=inherited | nowhere,
        timeout=200,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"run_id": "20200101T0000Z-quick"}, "Run '20200101T0000Z-quick' does not exist"),
        ({"settings": "load.colour=red"}, "load.colour: unknown key"),
        ({"profile": 7}, "Parameter profile must be text"),
    ],
)
def test_a_bad_parameter_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any], sentence: str
) -> None:
    monkeypatch.delattr(Run, "create")
    with pytest.raises(Problem, match=sentence):
        notebook.begin("00", **{"profile": "quick", "run_id": "", **parameters})


def test_a_later_stage_needs_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "newest_open", lambda *_: None)
    with pytest.raises(Problem, match="There is no open run of profile 'quick'"):
        notebook.begin("04", profile="quick", run_id="")


def test_papermill_prints_the_sentence_and_begins_nothing(tmp_path: Path) -> None:
    code, output = papermill(tmp_path, "profil", "quick")
    assert code != 0
    assert "This notebook has no parameter 'profil'" in output
    assert not run_folders(tmp_path)


def test_on_aws_without_a_login_the_report_says_so_and_nothing_is_created(tmp_path: Path) -> None:
    code, output = papermill(tmp_path, "profile", "aws")
    assert code == 0, output
    (folder,) = run_folders(tmp_path)
    run = Run.open(folder.name, tmp_path)
    (login,) = run.load(Readiness).blocking
    assert "no AWS credentials" in login.found and login.command == "aws sso login"
    ticked = {promise.id: tick for promise, tick in promises.ticks(run).items()}
    assert ticked["00.kpis"].status is Status.VERIFIED
    assert ticked["00.quota"].status is Status.FAILED and "credentials" in ticked["00.quota"].note
    assert not run.events("stack-apply-start")
