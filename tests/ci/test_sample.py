"""README and committed sample show the figures of a run, and no others."""

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


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    """The committed sample's results."""
    loaded: dict[str, Any] = json.loads((SAMPLE / "results.json").read_text())
    return loaded


def test_the_readme_holds_the_figures_and_pictures_of_the_sample(results: dict[str, Any]) -> None:
    sample = script("sample")
    text = (ROOT / "README.md").read_text()
    (block,) = sample.BLOCK.findall(text)
    assert block == sample.block(results)

    for name in ("architecture", "latency-over-time", "capacity-curve", "telemetry"):
        assert f"docs/evidence/figures/{name}.png" in text
        assert (SAMPLE / "figures" / f"{name}.png").is_file()


def text_of(name: str) -> str:
    """The words of a published file."""
    path = ROOT / name
    if path.suffix == ".pdf":
        (page,) = PdfReader(path).pages
        text = page.extract_text()
    else:
        extract = figures.text_of_markdown if path.suffix == ".md" else figures.text_of_page
        text = extract(path.read_text())
    return " ".join(text.split())


@pytest.mark.parametrize(
    "name",
    [
        *("README.md", "docs/write-up.md", "docs/README.md", "docs/cost-audit.md"),
        *("docs/evidence/index.html", "docs/evidence/case-study.pdf"),
    ],
)
def test_no_text_holds_a_figure_that_no_record_holds(name: str, results: dict[str, Any]) -> None:
    ledger = Ledger.model_validate_json((SAMPLE / "ledger.json").read_text())
    # sentences of the records that the page repeats word for word
    quoted = [item["note"] for item in (*results["promises"].values(), *results["kpis"])]
    quoted += [scenario["agreement"] for scenario in results["scenarios"]]
    assert figures.unsupported_figures(text_of(name), ledger, quoted) == []


def test_the_sample_is_of_the_code_that_is_here(results: dict[str, Any]) -> None:
    assert results["code"]["measures"] == run.code_digest(run.MEASURES), (
        "run 'make rehearse', 'make sample'"
    )
    assert results["code"]["draws"] == run.code_digest(run.DRAWS), "run 'make sample'"


def test_the_schema_of_the_results_is_published(results: dict[str, Any]) -> None:
    published = (ROOT / "docs/results.schema.json").read_text()
    assert published == script("sample").schema()
    jsonschema.validate(results, json.loads(published))


def test_the_sample_is_a_small_marked_rehearsal_that_asks_nobody(results: dict[str, Any]) -> None:
    assert results["target"] == "rehearsal"
    page = (SAMPLE / "index.html").read_text()
    assert "REHEARSAL" in page and results["run_id"] in page
    assert html_export.external_requests(page) == []
    assert "../html/" not in page
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) < LARGEST
