"""Set-up runs once, installs pinned versions, and says what this machine cannot have."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

from helpers.paths import ROOT
from tests.ci.test_rules import script


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """`ci/setup.py`, installing into a folder of the test."""
    module = script("setup")
    monkeypatch.setattr(module, "TOOLS", tmp_path)
    monkeypatch.setattr(module, "BIN", tmp_path / "bin")
    (tmp_path / "bin").mkdir()
    return module


def direct() -> set[str]:
    """Names of the direct dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    return {Requirement(text).name for text in listed}


def test_a_second_setup_says_and_does_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "ci/setup.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == done.stderr == ""


def test_make_alone_lists_every_target() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets == set(re.findall(r"^  make ([a-z]+) ", listed, re.MULTILINE))
    assert {"rehearse", "test", "lab", "check", "doctor", "down"} <= targets


def test_every_dependency_is_pinned() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = {Requirement(line).name for line in lines if "==" in line}
    assert len(pinned) == len([line for line in lines if line and not line.startswith("#")])
    assert {name.lower() for name in direct()} <= pinned


def test_conda_lists_the_same_dependencies_each_with_a_reason() -> None:
    lines = (ROOT / "environment.yml").read_text().partition("- pip:")[2].splitlines()
    entries = [line.strip() for line in lines if re.match(r"^ +- \w", line)]
    names = {Requirement(entry[2:].partition("#")[0].strip()).name for entry in entries}
    assert names == direct()
    assert all(entry.partition("  # ")[2] for entry in entries)


@pytest.mark.parametrize(
    ("step", "hint"),
    [("triton", "Docker"), ("cluster_programs", "brew"), ("prometheus", "brew install prometheus")],
)
def test_what_another_platform_has_to_do_is_named(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, step: str, hint: str
) -> None:
    monkeypatch.setattr(setup, "LINUX_AMD64", False)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(setup.Unavailable, match=hint):
        getattr(setup, step)()


def test_another_digest_is_not_written_and_a_failed_command_is_quoted(setup: ModuleType) -> None:
    with pytest.raises(setup.Unavailable, match="SHA-256"):
        setup.write_checked("helm", b"not helm", setup.CLUSTER_PROGRAMS["helm"][2])
    assert not (setup.BIN / "helm").exists()
    with pytest.raises(setup.Unavailable, match="no such mirror"):
        setup.call(["sh", "-c", "echo no such mirror; exit 3"])


def test_a_step_is_done_again_when_its_input_or_product_changes(
    setup: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pins, product = tmp_path / "pins.txt", tmp_path / "product"
    pins.write_text("a==1")
    done: list[int] = []

    def install() -> str:
        done.append(1)
        product.touch()
        return "done"

    def again() -> int:
        setup.step("x", [pins], install, [product])
        return len(done)

    assert (again(), again()) == (1, 1)
    pins.write_text("a==2")
    assert again() == 2
    product.unlink()
    assert again() == 3
