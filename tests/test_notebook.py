"""A notebook's parameters are checked before anything starts, whoever runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers import notebook, processes, promises
from helpers.errors import Problem
from helpers.paths import NOTEBOOKS
from helpers.run import Run

SETUP = NOTEBOOKS / promises.stage("00").notebook


def papermill(outputs: Path, *arguments: str) -> tuple[int, str]:
    """Run the first notebook as a user would, by papermill's own command line."""
    outputs.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "papermill", str(SETUP), str(outputs / "out.ipynb")]
    done = subprocess.run(
        [*command, "-k", "python3", "--no-progress-bar", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"GPU_E2E_OUTPUTS": str(outputs)},
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


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


def test_an_unknown_parameter_of_papermill_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = ["", '# Parameters\nprofil = "quick"\n']
    shell = SimpleNamespace(user_ns={"In": cells}, set_custom_exc=lambda *_: None)
    monkeypatch.setattr(notebook, "get_ipython", lambda: shell)
    monkeypatch.delattr(Run, "create")
    with pytest.raises(Problem, match="This notebook has no parameter 'profil'"):
        notebook.begin("00", profile="quick", run_id="")


def test_a_later_stage_needs_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "newest_open", lambda *_: None)
    with pytest.raises(Problem, match="There is no open run of profile 'quick'"):
        notebook.begin("04", profile="quick", run_id="")


def test_papermill_prints_the_sentence_and_begins_nothing(tmp_path: Path) -> None:
    code, output = papermill(tmp_path / "outputs", "-p", "profil", "quick")
    assert code != 0
    assert "This notebook has no parameter 'profil'" in output
    assert not list(tmp_path.glob("outputs/*/manifest.json"))


def test_setup_by_plain_papermill_makes_a_run_and_ticks_it(tmp_path: Path) -> None:
    code, output = papermill(tmp_path / "outputs", "-p", "profile", "quick")
    assert code == 0, output
    (manifest,) = tmp_path.glob("outputs/*/manifest.json")
    # the emulated account stays for the next notebook, until somebody stops it
    assert processes.down(Run.open(manifest.parent.name, tmp_path / "outputs")) == ["aws"]
    ticked = json.loads((manifest.parent / "checklist.json").read_text())
    assert ticked["00.scaffold"]["status"] == "REHEARSED"
    assert ticked["00.kpis"]["status"] == "REHEARSED"
