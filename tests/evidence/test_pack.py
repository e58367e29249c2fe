"""Pages, texts and results are drawn from the run alone, are self-contained and have no secrets."""

import json

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from pypdf import PdfReader

from helpers.evidence import case_study, html_export, kpis, page, readme, results
from helpers.evidence.ledger import Ledger
from helpers.paths import ROOT
from helpers.run import Run
from tests.ci.test_rules import script
from tests.evidence.conftest import telemetry

figures = script("figures")


def text_of_case_study(run: Run) -> str:
    (sheet,) = PdfReader(run.folder / case_study.PDF).pages
    return " ".join(sheet.extract_text().split())


def test_the_pack_is_whole_and_drawn_again_the_same_from_the_folder(measured: Run) -> None:
    text = page.pack(measured).read_text()
    assert page.has_all_figures(measured) and page.is_self_contained(measured)
    for phrase in ("REHEARSAL", "Targets", "P99 latency", "no GPU here", "NOT RUN"):
        assert phrase in text
    pictures = {path: path.read_bytes() for path in page.figures(measured)}
    for path, picture in pictures.items():
        assert picture.startswith(b"\x89PNG\r\n\x1a\n")
        assert "<svg" in path.with_suffix(".svg").read_text()
        assert path.with_suffix(".txt").read_text().strip() in text.replace("&#39;", "'")
    again = Run.open(measured.run_id, measured.folder.parent)
    assert page.pack(again).read_text() == text
    assert {path: path.read_bytes() for path in page.figures(again)} == pictures


def test_page_case_study_and_write_up_hold_the_figures_of_the_ledger_alone(measured: Run) -> None:
    text = figures.text_of_page(page.pack(measured).read_text())
    post = (measured.folder / case_study.WRITE_UP).read_text()
    sheet = text_of_case_study(measured)
    for published in (text, figures.text_of_markdown(post), sheet):
        assert figures.unsupported_figures(published, measured.load(Ledger)) == []
    for kpi in kpis.judge(measured).kpis:
        if kpi.measured is not None:
            assert kpi.measured_text.replace(" ", "") in sheet.replace(" ", "")
    assert "REHEARSAL" in sheet and measured.run_id in sheet
    assert post.startswith("# GPU inference on AWS, end to end: rehearsed")
    assert "&" not in post and "<" not in post
    assert "| P99 latency | ≤ 120 ms | 14.9 (14.7–15.0) ms | met |" in post


def test_results_hold_what_the_records_hold(measured: Run) -> None:
    results.write(measured)
    written = json.loads((measured.folder / "evidence/results.json").read_text())
    assert written["run_id"] == measured.run_id
    assert written["scenarios"][2]["measured"]["latency"]["p99"]["ms"] == 14.9
    assert written["promises"]["05.scenarios"]["status"] == "RAN"
    assert written["promises"]["01.vpc"]["status"] == "NOT RUN"
    rows = pd.read_csv(measured.folder / "evidence/results.csv")
    assert list(rows["scenario"]) == ["smoke", "smoke", "spike", "spike", "soak", "soak"]
    assert set(rows["p50_ms"]) == {10.0}
    table = results.frame(measured)
    assert list(table["scenario"]) == ["smoke", "spike", "soak"]
    assert table["P95 ms"].iloc[0] == "14.5 (14.2–14.8)"


def test_a_run_that_measured_nothing_says_so(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.event("stage-failed", stage="03", reason="Stage 03 failed: no model.")
    text = page.pack(run).read_text()
    for phrase in ("Stage 03 failed: no model.", "not measured", "No load was measured in this run",
                   "records/05/load.json is not in this run"):  # fmt: skip
        assert phrase in text
    assert page.figures(run) == [] and not page.has_all_figures(run)
    assert page.is_self_contained(run)
    assert capsys.readouterr().out.count("No figure ") == len(page.FIGURES)


def test_the_case_study_stays_one_page_however_long_a_note_is(measured: Run) -> None:
    wordy = telemetry().model_copy(update={"gpu_absent": "no GPU, and a long reason why; " * 12})
    measured.save(wordy)
    case_study.write(measured)
    assert text_of_case_study(measured)


def test_notebooks_are_exported_once_with_and_without_code(run: Run) -> None:
    data, alt = {"image/png": "iVBORw0KGgo="}, {"image/png": {"alt": "A <picture>"}}
    picture = new_output("display_data", data=data, metadata=alt)
    outputs = [new_output("stream", text="shown"), picture]
    source = run.folder / "notebooks" / "00-setup.ipynb"
    source.parent.mkdir()
    nbformat.write(new_notebook(cells=[new_code_cell("answer = 41", outputs=outputs)]), source)
    (with_code,) = html_export.export_notebooks(run)
    pages = (with_code, with_code.with_name("00-setup.plain.html"))
    texts = [path.read_text() for path in pages]
    assert ["answer" in text for text in texts] == [True, False]
    for text in texts:
        assert "REHEARSAL" in text and "shown" in text and 'alt="A &lt;picture&gt;"' in text
        assert html_export.external_requests(text) == []
    before = with_code.stat().st_mtime_ns
    assert html_export.export_notebooks(run) == [with_code]
    assert with_code.stat().st_mtime_ns == before, "it has not changed"


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


def test_the_readme_is_read(run: Run) -> None:
    checked = readme.check(run)
    assert checked.parts == readme.SECTIONS
    assert checked.pictures and all((ROOT / path).is_file() for path in checked.pictures)
