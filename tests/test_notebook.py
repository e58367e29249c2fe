"""A notebook's parameters are checked before anything starts, whoever runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers import notebook, processes, promises
from helpers.errors import Problem
from helpers.paths import NOTEBOOKS
from helpers.run import Run

SETUP = NOTEBOOKS / promises.stage("00").notebook


def papermill(outputs: Path, notebook: Path, *arguments: str) -> tuple[int, str]:
    """Run a notebook as a user would, by papermill's own command line."""
    outputs.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "papermill", str(notebook), str(outputs / "out.ipynb")]
    done = subprocess.run(
        [*command, "-k", "python3", "--no-progress-bar", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"GPU_E2E_OUTPUTS": str(outputs)},
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


def runs(outputs: Path) -> list[Path]:
    return sorted(outputs.glob("*/manifest.json"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-p", "profile", "moon"], "Profile 'moon' does not exist"),
        (["-p", "profil", "quick"], "This notebook has no parameter 'profil'"),
    ],
)
def test_a_bad_parameter_of_papermill_stops_before_anything_starts(
    tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    code, said = papermill(tmp_path / "outputs", SETUP, *arguments)
    assert code != 0
    assert sentence in said
    assert runs(tmp_path / "outputs") == []


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"profile": "moon"}, "Profile 'moon' does not exist"),
        ({"run_id": "20200101T0000Z-quick"}, "Run '20200101T0000Z-quick' does not exist"),
        ({"settings": "load.scenarios.soak.phases.steady.rate=-1"}, "greater than 0"),
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


def test_a_later_stage_needs_a_run(tmp_path: Path) -> None:
    later = NOTEBOOKS / promises.stage("04").notebook
    code, said = papermill(tmp_path / "outputs", later, "-p", "profile", "quick")
    assert code != 0
    assert "There is no open run of profile 'quick'" in said


def test_setup_by_plain_papermill_makes_a_run_and_ticks_it(tmp_path: Path) -> None:
    code, said = papermill(tmp_path / "outputs", SETUP, "-p", "profile", "quick")
    assert code == 0, said
    (manifest,) = runs(tmp_path / "outputs")
    # the emulated account stays for the next notebook, until somebody says that there is none
    assert processes.down(Run.open(manifest.parent.name, tmp_path / "outputs")) == ["aws"]
    ticked = json.loads((manifest.parent / "checklist.json").read_text())
    assert ticked["00.scaffold"]["status"] == "REHEARSED"
    assert ticked["00.kpis"]["status"] == "REHEARSED"
