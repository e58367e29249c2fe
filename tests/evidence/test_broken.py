"""Evidence of an incomplete run shows what is there and says what is missing."""

import numpy as np
import pytest

from helpers.evidence import case_study, page, plots
from helpers.load.records import LoadReport
from helpers.run import Run
from tests.evidence.conftest import phase, requests, scenario


def packed(run: Run) -> str:
    """The page's text; the pack must be whole."""
    text = page.pack(run).read_text()
    assert (run.folder / case_study.PDF).read_bytes().startswith(b"%PDF")
    assert page.is_self_contained(run)
    return text


def test_records_that_were_torn(measured: Run) -> None:
    records = ("05/load.json", "05/telemetry.json", "05/capacity.json")
    for record in records:
        path = measured.folder / "records" / record
        path.write_text(path.read_text()[:50])
    text = packed(measured)
    for record in records:
        assert f"records/{record} of run {measured.run_id} cannot be read" in text


def test_a_record_of_an_older_schema(measured: Run) -> None:
    path = measured.folder / LoadReport.path()
    path.write_text(path.read_text().replace('"agreement"', '"agrees"'))
    assert "6 fields do not match" in packed(measured)


def test_not_one_good_answer(measured: Run) -> None:
    failed = phase("steady", 800, ok=0, errors={"refused": 800}, error_rate_pct=100.0,
                   throughput_rps=0.0, latency={}, mean_ms=None, max_ms=None)  # fmt: skip
    measured.save(LoadReport(scenarios=(scenario("soak", failed),)))
    table = requests().assign(outcome="refused", latency_ms=np.nan, done_s=np.nan)
    measured.save_table("requests-soak", table)
    text = packed(measured)
    assert "0 good answers are too few for a P99" in text and "100 %" in text


def test_a_run_without_cost_and_without_a_table_of_requests(measured: Run) -> None:
    (measured.folder / "tables/requests-soak.parquet").unlink()
    text = packed(measured)
    assert "The cost was not calculated" in text
    assert "There is no proof that everything is deleted" in text
    assert "latency-over-time" not in {path.stem for path in page.figures(measured)}


def test_of_many_requests_a_share_is_drawn(measured: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "MOST_DOTS", 100)
    plots.latency_over_time(measured)
    picture = (measured.folder / "evidence/figures/latency-over-time.svg").read_text()
    assert "soak: 800 measured requests, 1 errors, 100 of them drawn" in picture
