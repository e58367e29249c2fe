"""Bad input on the command line is one sentence, and nothing has begun."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--profile", "moon"], "Profile 'moon' does not exist"),
        (["run", "-p", "load.colour=red"], "load.colour: unknown key"),
        (["run", "--from", "03", "--only", "05"], "exclude each other"),
        (["run", "--from", "9"], "Stage '9' does not exist"),
        (["resume", "nope"], "Run 'nope' does not exist"),
        (["status", "nope"], "Run 'nope' does not exist"),
        (["down", "nope"], "Run 'nope' does not exist"),
        (["down", "--sweep"], "--sweep removes the leftovers of one run"),
        (["verify", "nope"], "Run 'nope' does not exist"),
        (["compare", "nope", "nope"], "Run 'nope' does not exist"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "helpers.cli", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"GPU_E2E_OUTPUTS": str(tmp_path)},
        timeout=60,
    )
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
