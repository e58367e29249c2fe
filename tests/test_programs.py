"""What this machine has is found; what it lacks is named with its cost and the way to get it."""

from pathlib import Path

import pytest

from helpers import programs
from helpers.errors import Unavailable
from helpers.programs import PROGRAMS, Program
from helpers.run import Run


def test_everything_a_rehearsal_needs_is_here() -> None:
    inventory = programs.examine()
    assert inventory.complete, inventory.summary
    found = {one.name: one for one in inventory.findings}
    assert found["prometheus"].version.count(".") == 2
    assert found["torch"].version.startswith("2.")
    assert found["tritonserver"].version.startswith("wheel 0.7")


def test_every_library_says_what_it_is_for() -> None:
    libraries = [one for one in programs.examine().findings if one.kind == "library"]
    assert len(libraries) > 20
    assert all(one.purpose for one in libraries)


def test_a_bare_machine_is_incomplete_and_told_the_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(programs, "TOOLS", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    inventory = programs.examine()
    assert not inventory.complete
    assert {"tritonserver", "prometheus"} <= set(inventory.missing(required=True))
    assert "without" in inventory.summary
    assert programs.print_report() == 1
    said = capsys.readouterr().out
    assert "nothing is served, nothing is measured" in said and "brew install prometheus" in said
    with pytest.raises(Unavailable, match=r"There is no prometheus.*make setup"):
        programs.need("prometheus")


def test_a_program_that_is_too_old_is_not_found_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = tmp_path / "bin" / "terraform"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho Terraform v1.5.7\n")
    old.chmod(0o755)
    monkeypatch.setattr(programs, "TOOLS", tmp_path)
    found = next(one for one in programs.examine().findings if one.name == "terraform")
    assert not found.found
    assert found.version == "1.5.7" and "1.5.7 is too old, 1.11 is needed" in found.hint


def test_a_program_that_cannot_run_has_no_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "bin" / "helm"
    broken.parent.mkdir()
    broken.write_bytes(b"\x7fELF not a program")
    broken.chmod(0o755)
    monkeypatch.setattr(programs, "TOOLS", tmp_path)
    helm = next(one for one in PROGRAMS if one.name == "helm")
    assert programs.version(helm) == ""
    assert not programs.new_enough(helm, "")


def test_versions_compare_as_numbers() -> None:
    program = Program("x", "", "", "", at_least=(1, 11))
    assert programs.new_enough(program, "1.11.4") and programs.new_enough(program, "2.0")
    assert not programs.new_enough(program, "1.9.9")


def test_the_record_reads_back_and_the_table_has_a_row_each(run: Run) -> None:
    inventory = programs.record(run)
    assert run.load(programs.Programs) == inventory
    assert len(programs.frame(inventory)) == len(inventory.findings)
