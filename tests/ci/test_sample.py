"""The README and the committed sample say what a run's results hold, and nothing else."""

import json
from typing import Any

import jsonschema
import pytest
from pypdf import PdfReader

from helpers import run
from helpers.evidence import html_export
from helpers.evidence.ledger import Ledger
from helpers.paths import ROOT
from tests.ci.test_rules import script

figures = script("figures")
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
    assert [heading for heading in headings if heading in PARTS] == list(PARTS)


def test_the_pictures_of_the_readme_are_of_the_sample() -> None:
    text = (ROOT / "README.md").read_text()
    for name in ("architecture", "latency-over-time", "capacity-curve", "telemetry"):
        assert f"docs/evidence/figures/{name}.png" in text
        assert (SAMPLE / "figures" / f"{name}.png").is_file()


def quoted(results: dict[str, Any]) -> list[str]:
    """Sentences of the records that the page repeats word for word."""
    notes = [one["note"] for one in results["promises"].values()]
    notes += [one["note"] for one in results["kpis"]]
    return notes + [one["agreement"] for one in results["scenarios"]]


@pytest.fixture(scope="module")
def held() -> Ledger:
    """The sample's ledger."""
    return Ledger.model_validate_json((SAMPLE / "ledger.json").read_text())


@pytest.mark.parametrize(
    "name", ["README.md", "docs/write-up.md", "docs/README.md", "docs/cost-audit.md"]
)
def test_no_text_holds_a_figure_that_no_record_holds(
    name: str, held: Ledger, results: dict[str, Any]
) -> None:
    text = figures.text_of_markdown((ROOT / name).read_text())
    assert figures.unsupported_figures(text, held, quoted(results)) == []


def test_the_page_holds_no_figure_that_no_record_holds(
    held: Ledger, results: dict[str, Any]
) -> None:
    text = " ".join(figures.text_of_page((SAMPLE / "index.html").read_text()).split())
    assert figures.unsupported_figures(text, held, quoted(results)) == []


def test_the_case_study_holds_no_figure_that_no_record_holds(
    held: Ledger, results: dict[str, Any]
) -> None:
    (page,) = PdfReader(SAMPLE / "case-study.pdf").pages
    text = " ".join(page.extract_text().split())
    assert results["run_id"] in text
    assert figures.unsupported_figures(text, held, quoted(results)) == []


def test_the_sample_is_of_the_code_that_is_here(results: dict[str, Any]) -> None:
    assert results["code"]["measures"] == run.measuring_code(), "run 'make rehearse', 'make sample'"
    assert results["code"]["draws"] == run.drawing_code(), "run 'make sample'"


def test_the_schema_of_the_results_is_published(results: dict[str, Any]) -> None:
    published = (ROOT / "docs/results.schema.json").read_text()
    assert published == script("sample").schema()
    jsonschema.validate(results, json.loads(published))


def test_the_sample_is_a_marked_rehearsal_that_asks_nobody(results: dict[str, Any]) -> None:
    assert results["target"] == "rehearsal"
    page = (SAMPLE / "index.html").read_text()
    assert "REHEARSAL" in page and results["run_id"] in page
    assert html_export.external_requests(page) == []
    assert "../html/" not in page


def test_the_sample_is_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) < LARGEST
