"""Case study, write-up and README say what the run holds."""

import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output
from pypdf import PdfReader

from helpers.evidence import case_study, html_export, kpis, page, readme
from helpers.evidence.ledger import Ledger
from helpers.paths import ROOT
from helpers.run import Run
from tests.ci.test_rules import script
from tests.evidence.conftest import telemetry


def text_of(run: Run) -> str:
    (only,) = PdfReader(run.folder / case_study.PDF).pages
    return " ".join(only.extract_text().split())


def test_the_case_study_has_one_page_that_holds_the_figures(measured: Run) -> None:
    page.pack(measured)
    text = text_of(measured)
    for one in kpis.judge(measured).kpis:
        if one.measured is not None:
            assert one.measured_text.replace(" ", "") in text.replace(" ", "")
    assert "REHEARSAL" in text and measured.run_id in text
    assert script("figures").unsupported_figures(text, measured.load(Ledger)) == []


def test_the_case_study_stays_one_page_whatever_is_told(measured: Run) -> None:
    wordy = telemetry().model_copy(update={"gpu_absent": "no GPU, and a long reason why; " * 12})
    measured.save(wordy)
    case_study.write(measured)
    assert text_of(measured)


def test_the_write_up_is_plain_markdown(measured: Run) -> None:
    text = case_study.write_up(measured).read_text()
    assert text.startswith("# A GPU inference service, measured")
    assert "&" not in text and "<" not in text
    assert "| P99 latency | ≤ 120 ms | 14.9 (14.7–15.0) ms | met |" in text


def test_notebooks_are_exported_with_and_without_code(run: Run) -> None:
    cell = new_code_cell("answer = 41 + 1", outputs=[new_output("stream", text="shown")])
    source = run.folder / "notebooks" / "00-setup.ipynb"
    source.parent.mkdir()
    nbformat.write(new_notebook(cells=[cell]), source)
    (with_code,) = html_export.export_notebooks(run)
    without = with_code.with_name("00-setup.plain.html").read_text()
    assert "answer" in with_code.read_text() and "answer" not in without
    assert "shown" in with_code.read_text() and "shown" in without


def test_the_readme_is_read(run: Run) -> None:
    found = readme.check(run)
    assert found.parts == readme.SECTIONS
    assert found.pictures and all((ROOT / one).is_file() for one in found.pictures)
