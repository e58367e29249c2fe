"""Each check of ci/ finds the faults it is for."""

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from helpers.paths import NOTEBOOKS, ROOT


def script(name: str) -> ModuleType:
    """A script of ci/ as a module."""
    spec = importlib.util.spec_from_file_location(f"ci_{name}", ROOT / f"ci/{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


BOX = "# 09 · Test\n\nSay.\n\n> **Cost** none. **Time** none.\n> **Can go wrong** all."
LAST = 'notebook.finish(run, "09")'


def faults_of(folder: Path, *sources: str, first: str = BOX) -> list[str]:
    parameters = new_code_cell('profile = "x"', metadata={"tags": ["parameters"]})
    cells = [new_markdown_cell(first), parameters, *map(new_code_cell, sources)]
    nbformat.write(new_notebook(cells=cells), folder / "09-test.ipynb")
    faults: list[str] = script("notebooks").faults(folder)
    return faults


@pytest.mark.parametrize(
    ("sources", "fault"),
    [
        (("def f(): pass", LAST), "contains logic"),
        (("for x in y: print(x)", LAST), "contains logic"),
        (("!ls", LAST), "is not plain Python"),
        (("\n".join(["x = 1"] * 13), LAST), "more than 12 lines"),
        (("x = 1",), "does not end with the stage's checklist"),
    ],
)
def test_a_broken_rule_is_named(tmp_path: Path, sources: tuple[str, ...], fault: str) -> None:
    assert any(fault in sentence for sentence in faults_of(tmp_path, *sources))


def test_a_box_without_cost_is_named_and_a_good_notebook_has_no_fault(tmp_path: Path) -> None:
    assert faults_of(tmp_path, "x = 1", LAST) == []
    faults = faults_of(tmp_path, LAST, first="# 09 · Test")
    assert sum("its first cell has no" in fault for fault in faults) == 3


def test_outputs_in_a_source_are_named(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOKS / "00-setup.ipynb", as_version=4)
    notebook.cells[1].execution_count = 1
    faults = script("notebooks").in_notebook(notebook, "00-setup.ipynb")
    assert faults == ["cell 1 has outputs"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("key = AKIA" + "ABCDEFGHIJKLMNOP", "an AWS access key"),
        ("arn:aws:iam::" + "210987654321:role/x", "an AWS account id"),
        ("-----BEGIN RSA " + "PRIVATE KEY-----", "a private key"),
        ("open('/ho" + "me/somebody/x')", "a path of one machine"),
        ("arn:aws:iam::123456789012:role/x", ""),  # the account of AWS's documentation
    ],
)
def test_a_leak_is_named(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"fine\n{text}\n")
    expected = [f"a.txt:2 holds {what}"] if what else []
    assert script("leaks").in_file(path, tmp_path) == expected


def test_sizes_names_and_imports_beyond_the_limits_are_named(tmp_path: Path) -> None:
    room = tmp_path / "helpers/cloud"
    room.mkdir(parents=True)
    for folder in ("helpers/load", "notebooks", "tests"):
        (tmp_path / folder).mkdir()
    (room / "__init__.py").write_text('__all__ = ["meter", "plan"]\n')
    for number in range(17):
        (room / f"m{number}.py").write_text("class Same: ...\n" if number < 2 else "x = 1\n" * 401)
    (tmp_path / "helpers/load/__init__.py").write_text("")
    (tmp_path / "helpers/cli.py").write_text("from helpers.cloud import plan\n")
    (tmp_path / "helpers/runner.py").write_text("from helpers import load\nload.recover(1)\n")
    cell = new_code_cell("from helpers.cloud import m2\nfrom helpers import load\nload.run(2)")
    nbformat.write(new_notebook(cells=[cell]), tmp_path / "notebooks/09-test.ipynb")
    size = script("size")
    assert any(line.split()[:2] == ["helpers/cloud", "6,018"] for line in size.table(tmp_path))
    limits = list(size.exceeded_limits(tmp_path))
    assert sum("401 lines; 400 are allowed in a module" in fault for fault in limits) == 15
    assert "cloud has 17 modules; 16 are allowed in a room" in limits
    names = ["several classes are called Same: cloud/m0.py, cloud/m1.py"]
    assert list(size.shared_class_names(tmp_path)) == names
    assert list(size.unlisted_imports(tmp_path)) == [
        "09-test.ipynb imports m2, which helpers/cloud does not list in __all__",
        "09-test.ipynb imports run, which helpers/load does not list in __all__",
        "helpers/cloud lists meter in __all__, and no notebook uses it",
    ]


def test_dashboards_that_were_changed_by_hand_are_named_and_written_again(tmp_path: Path) -> None:
    dashboards = script("dashboards")
    assert dashboards.differences() == []
    folder = Path(shutil.copytree(dashboards.DASHBOARDS, tmp_path / "dashboards"))
    (folder / "gpu.json").write_text((folder / "gpu.json").read_text() + " ")
    (folder / "cost.json").unlink()
    (folder / "old.json").write_text("{}")
    assert dashboards.differences(folder) == [
        "gpu.json is out of date; run 'python ci/dashboards.py'",
        "cost.json is out of date; run 'python ci/dashboards.py'",
        "old.json is not generated by the code",
    ]
    (folder / "old.json").unlink()
    dashboards.write(folder)
    assert dashboards.differences(folder) == []


def test_a_guide_that_differs_from_the_codes_tables_is_found(tmp_path: Path) -> None:
    guides = script("guides")
    guides.write(tmp_path)
    assert guides.differences(tmp_path) == []
    (tmp_path / "aws.md").write_text("# By hand")
    assert guides.differences(tmp_path) == ["docs/aws.md is out of date; run 'python ci/guides.py'"]


def test_the_package_is_within_its_limits() -> None:
    size = script("size")
    assert [*size.exceeded_limits(ROOT), *size.shared_class_names(ROOT)] == []
