"""Bad input on the command line is reported in one sentence, and nothing starts."""

import sys

import pytest

from helpers import cli
from helpers.run import Run


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
def test_bad_input_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["workbook", *arguments])
    monkeypatch.delattr(Run, "create")
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    message = capsys.readouterr().err
    assert sentence in message and "Traceback" not in message
