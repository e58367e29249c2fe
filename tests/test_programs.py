"""What this machine has is found; what it lacks is named with its cost and the way to get it."""

from pathlib import Path

import pytest

from helpers import programs
from helpers.errors import Unavailable
from helpers.programs import PROGRAMS, Programs
from helpers.run import Run


@pytest.fixture(scope="module")
def inventory() -> Programs:
    """What is installed here; looking takes seconds."""
    return programs.examine()


def test_everything_a_rehearsal_needs_is_here(inventory: Programs) -> None:
    assert inventory.complete, inventory.summary
    versions = {row.name: row.version for row in inventory.findings}
    assert versions["prometheus"].count(".") == 2
    assert versions["torch"].startswith("2.")
    assert versions["tritonserver"].startswith("wheel 0.7")


def test_every_library_says_what_it_is_for(inventory: Programs) -> None:
    libraries = [row for row in inventory.findings if row.kind == "library"]
    assert len(libraries) > 20
    assert all(row.purpose for row in libraries)


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
    said = capsys.readouterr().out
    assert "nothing is measured" in said and "brew install prometheus" in said
    with pytest.raises(Unavailable, match=r"There is no prometheus.*make setup"):
        programs.need("prometheus")


@pytest.mark.parametrize(("version", "is_found"), [("1.5.7", False), ("1.11.4", True)])
def test_a_program_that_is_too_old_is_not_found_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, is_found: bool
) -> None:
    program = tmp_path / "bin" / "terraform"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho Terraform v{version}\n")
    program.chmod(0o755)
    monkeypatch.setattr(programs, "TOOLS", tmp_path)
    monkeypatch.setenv("PATH", "/bin:/usr/bin")
    terraform = next(row for row in programs.examine().findings if row.name == "terraform")
    assert terraform.found is is_found and terraform.version == version
    assert ("1.5.7 is too old, 1.11 is needed" in terraform.hint) is not is_found


def test_a_program_that_cannot_run_has_no_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "bin" / "helm"
    broken.parent.mkdir()
    broken.write_bytes(b"\x7fELF not a program")
    broken.chmod(0o755)
    monkeypatch.setattr(programs, "TOOLS", tmp_path)
    helm = next(program for program in PROGRAMS if program.name == "helm")
    assert programs.version(helm) == ""


def test_the_record_reads_back_and_the_table_has_a_row_each(
    run: Run, inventory: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "examine", lambda: inventory)
    assert programs.record(run) == run.load(Programs) == inventory
    assert len(programs.frame(inventory)) == len(inventory.findings)
