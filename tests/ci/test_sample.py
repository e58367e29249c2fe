"""The README and the committed sample say what a run's results hold, and nothing else."""

import json
from typing import Any

import pytest

from helpers.evidence import export
from helpers.paths import ROOT
from tests.ci.test_rules import script

SAMPLE = ROOT / "docs" / "evidence"
LARGEST = 3_000_000
PARTS = ("Problem", "Architecture", "Run", "KPIs", "Cost", "Teardown")


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    """The committed sample's results."""
    loaded: dict[str, Any] = json.loads((SAMPLE / "results.json").read_text())
    return loaded


def test_the_readme_holds_the_figures_of_the_sample(results: dict[str, Any]) -> None:
    sample = script("sample")
    (block,) = sample.BLOCK.findall((ROOT / "README.md").read_text())
    assert block == sample.block(results)


def test_the_readme_is_in_its_order() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    headings = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    assert [one for one in headings if one in PARTS] == list(PARTS)


def test_the_pictures_of_the_readme_are_of_the_sample() -> None:
    text = (ROOT / "README.md").read_text()
    for name in ("latency-over-time", "latency-distribution"):
        assert f"docs/evidence/figures/{name}.png" in text
        assert (SAMPLE / "figures" / f"{name}.png").is_file()


def test_the_sample_is_a_marked_rehearsal_that_asks_nobody(results: dict[str, Any]) -> None:
    assert results["target"] == "rehearsal"
    page = (SAMPLE / "index.html").read_text()
    assert "REHEARSAL" in page and results["run_id"] in page
    assert export.requests_of(page) == []
    assert "../html/" not in page


def test_the_sample_is_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) < LARGEST
