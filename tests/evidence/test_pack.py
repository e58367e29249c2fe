"""Pages and results are drawn from the run alone, and are self-contained."""

import json
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from helpers.evidence import html_export, page, results
from helpers.run import Run

PNG = b"\x89PNG\r\n\x1a\n"


def test_the_pack_is_whole(measured: Run) -> None:
    index = page.pack(measured)
    assert page.has_all_figures(measured)
    assert page.is_self_contained(measured)
    text = index.read_text()
    for phrase in ("REHEARSAL", "Targets", "P99 latency", "no GPU here", "NOT REHEARSED"):
        assert phrase in text
    for figure in page.figures(measured):
        assert figure.read_bytes().startswith(PNG)
        assert "<svg" in figure.with_suffix(".svg").read_text()
        assert figure.with_suffix(".txt").read_text().strip() in text.replace("&#39;", "'")


def test_results_hold_what_the_records_hold(measured: Run) -> None:
    page.pack(measured)
    found = json.loads((measured.folder / "evidence/results.json").read_text())
    assert found["run_id"] == measured.run_id
    assert found["scenarios"][2]["measured"]["latency"]["p99"]["ms"] == 14.9
    assert found["promises"]["05.scenarios"]["status"] == "REHEARSED"
    assert found["promises"]["01.vpc"]["status"] == "NOT REHEARSED"
    rows = pd.read_csv(measured.folder / "evidence/results.csv")
    assert list(rows["scenario"]) == ["smoke", "smoke", "spike", "spike", "soak", "soak"]
    assert set(rows["p50_ms"]) == {10.0}


def test_it_is_drawn_again_the_same_from_the_folder(measured: Run) -> None:
    first = page.pack(measured).read_text()
    figures = {path.name: path.read_bytes() for path in page.figures(measured)}
    again = Run.open(measured.run_id, measured.folder.parent)
    assert page.pack(again).read_text() == first
    assert {path.name: path.read_bytes() for path in page.figures(again)} == figures


def test_a_run_that_measured_nothing_says_so(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.event("stage-failed", stage="03", reason="Stage 03 failed: no model.")
    text = page.pack(run).read_text()
    assert "Stage 03 failed: no model." in text
    assert "not measured" in text
    assert page.figures(run) == []
    assert not page.has_all_figures(run)
    assert capsys.readouterr().out.count("No figure ") == len(page.FIGURES)


def test_the_table_names_what_is_too_few(measured: Run) -> None:
    table = results.frame(measured)
    assert list(table["scenario"]) == ["smoke", "spike", "soak"]
    assert table["P95 ms"].iloc[0] == "14.5 (14.2–14.8)"


def executed(run: Run, text: str) -> str:
    """A notebook's page, with `text` as its output and a picture with alternative text."""
    picture = new_output(
        "display_data",
        data={"image/png": "iVBORw0KGgo="},
        metadata={"image/png": {"alt": "A <picture>"}},
    )
    outputs = [new_output("stream", text=text), picture]
    source = run.folder / "notebooks" / "00-setup.ipynb"
    source.parent.mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=[new_code_cell("x = 1", outputs=outputs)]), source)
    (path,) = html_export.export_notebooks(run)
    return path.read_text()


def test_an_exported_notebook_is_self_contained_and_describes_its_pictures(run: Run) -> None:
    text = executed(run, "fine")
    assert html_export.external_requests(text) == []
    assert "REHEARSAL" in text and "fine" in text
    assert 'alt="A &lt;picture&gt;"' in text


def test_a_notebook_is_exported_again_only_when_it_changed(run: Run) -> None:
    executed(run, "one")
    (path,) = html_export.export_notebooks(run)
    before = path.stat().st_mtime_ns
    assert html_export.export_notebooks(run) == [path]
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("page_text", "requests"),
    [
        ('<script src="https://cdn.example/x.js"></script>', 1),
        ('<img alt="x" src="//example/x.png">', 1),
        ('<link rel="stylesheet" href="http://example/x.css">', 1),
        ("<style>@import url(https://example/x.css)</style>", 1),
        ("<style>a { background: url('https://example/x.png') }</style>", 1),
        ('<script type="module">import("https://example/x.mjs")</script>', 1),
        ('<a href="https://example/">x</a>', 0),
        ('<img src="data:image/png;base64,x">', 0),
        ("http://x", 0),
    ],
)
def test_external_requests_are_found_and_links_are_not(page_text: str, requests: int) -> None:
    assert len(html_export.external_requests(page_text)) == requests


def test_templates_are_part_of_the_package() -> None:
    assert (Path(html_export.__file__).parent / "templates/notebook/conf.json").is_file()
