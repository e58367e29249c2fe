"""Installed programs and libraries are found; missing ones are listed with the way to get them."""

from pathlib import Path

import pytest

from helpers import programs
from helpers.errors import Unavailable
from helpers.programs import PROGRAMS


def test_everything_a_rehearsal_needs_is_here_and_every_library_has_a_purpose() -> None:
    inventory = programs.examine()
    assert inventory.complete, inventory.summary
    versions = {row.name: row.version for row in inventory.findings}
    assert versions["prometheus"].count(".") == 2
    assert versions["torch"].startswith("2.")
    assert versions["tritonserver"].startswith("wheel 0.7")
    libraries = [row for row in inventory.findings if row.kind == "library"]
    assert len(libraries) > 20 and all(row.purpose for row in libraries)


def test_a_bare_machine_is_incomplete_and_told_the_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(programs, "TOOLS", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    inventory = programs.examine()
    assert not inventory.complete
    assert {"tritonserver", "prometheus"} <= set(inventory.missing(required=True))
    assert "missing: git, tritonserver, prometheus" in inventory.summary
    assert programs.print_report() == 1
    report = capsys.readouterr().out
    assert "nothing is measured" in report and "brew install prometheus" in report
    with pytest.raises(Unavailable, match=r"There is no prometheus.*make setup"):
        programs.need("prometheus")


@pytest.mark.parametrize(
    ("content", "version", "hint"),
    [
        (b"#!/bin/sh\necho Terraform v1.5.7", "1.5.7", "1.5.7 is too old, 1.11 is needed"),
        (b"#!/bin/sh\necho Terraform v1.11.4", "1.11.4", ""),
        (b"\x7fELF not a program", "", " is too old"),
    ],
)
def test_a_program_that_is_too_old_or_cannot_run_is_not_found_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes, version: str, hint: str
) -> None:
    program = tmp_path / "bin" / "terraform"
    program.parent.mkdir()
    program.write_bytes(content)
    program.chmod(0o755)
    monkeypatch.setattr(programs, "TOOLS", tmp_path)
    monkeypatch.setattr(programs, "PROGRAMS", [p for p in PROGRAMS if p.name == "terraform"])
    terraform = programs.examine().findings[0]
    assert terraform.found is not bool(hint) and terraform.version == version
    assert terraform.hint.startswith(hint)
