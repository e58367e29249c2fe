"""Every figure has a place, and what has changed since is found."""

import json

import pyarrow as pa
import pytest
from pyarrow.dataset import dataset

from helpers.errors import Problem
from helpers.evidence import ledger, page, verify
from helpers.evidence.ledger import Ledger
from helpers.load import statistics
from helpers.load.arrivals import schedule
from helpers.load.records import LoadReport
from helpers.run import Run
from helpers.scenario import Poisson, Scenario
from tests.ci.test_rules import script
from tests.evidence.conftest import requests
from tests.evidence.conftest import scenario as made_up

figures_check = script("figures")


def found(run: Run) -> dict[str, tuple[str, ...]]:
    return {one.what: one.differences for one in verify.verify(run) if one.differences}


@pytest.fixture
def true(run: Run) -> Run:
    """A run whose report was computed from its requests by the load engine's own statistics."""
    phase = Poisson(name="steady", arrivals="poisson", rate=40, duration_s=20)
    played = Scenario(name="soak", model="mobilenetv2", phases=(phase,), seed=3)
    count = schedule(played).count(0)
    table = requests(count)
    phases, measured = statistics.reports(dataset(pa.Table.from_pandas(table)), played)
    run.save(LoadReport(scenarios=(made_up("soak", phases=phases, measured=measured),)))
    run.save_table("requests-soak", table)
    page.pack(run)
    return run


def test_a_claim_is_what_its_file_holds(measured: Run) -> None:
    written = ledger.write(measured)
    texts = {claim.name: claim.text for claim in written.claims}
    assert texts["soak.p99"] == "14.9 ms"
    assert texts["soak.p99.high"] == "15.0 ms"
    assert texts["target.p99_ms"] == "120 ms"
    assert measured.load(Ledger) == written
    for one in written.claims:
        assert ledger.read_value(measured.folder, one.source, one.pointer) == one.value, one.name


def test_what_no_record_holds_cannot_be_claimed(run: Run) -> None:
    assert not [claim for claim in ledger.write(run).claims if claim.name.startswith("soak")]


def test_an_untouched_run_is_verified(true: Run) -> None:
    assert found(true) == {}
    assert "agrees" in set(verify.frame(verify.verify(true))["result"])


def test_a_run_without_a_ledger_says_how_to_get_one(run: Run) -> None:
    with pytest.raises(Problem, match=r"has no ledger.*workbook export"):
        verify.verify(run)


def test_a_figure_that_was_touched_up_is_found(true: Run) -> None:
    path = true.folder / LoadReport.path()
    record = json.loads(path.read_text())
    record["scenarios"][0]["measured"]["latency"]["p95"]["ms"] = 9.0
    path.write_text(json.dumps(record))
    differences = found(true)
    assert "records/05/load.json has changed" in differences["ledger against its sources"][0]
    assert "p95_ms: the record says 9.0" in differences["figures of soak against its requests"][0]
    assert "results.json against the records" in differences


def test_a_request_that_was_touched_up_is_found(true: Run) -> None:
    table = true.load_table("requests-soak")
    table.loc[table["latency_ms"].idxmax(), "latency_ms"] = 1.0
    true.save_table("requests-soak", table)
    (differences,) = found(true).values()
    assert any("max_ms" in one for one in differences)


def test_a_request_that_was_left_out_is_found(true: Run) -> None:
    true.save_table("requests-soak", true.load_table("requests-soak").iloc[1:])
    (differences,) = found(true).values()
    assert any(one.startswith("steady requests") for one in differences)


def test_a_table_that_is_gone_is_said_to_be(true: Run) -> None:
    (true.folder / "tables/requests-soak.parquet").unlink()
    assert found(true) == {
        "figures of soak against its requests": (
            f"Run {true.run_id} has no table 'requests-soak'.",
        )
    }


def test_another_profile_is_found(true: Run) -> None:
    profile = true.profile.model_dump()
    profile["kpis"]["p99_ms"] = 9_999.0
    changed = Run(true.folder, type(true.profile).model_validate(profile))
    assert "profile against the manifest" in found(changed)


@pytest.mark.parametrize(
    ("text", "unclaimed"),
    [
        ("P99 was 14.9 ms, as 14.9 (14.7–15.0) ms says", []),
        ("P99 was 41 ms", ["41 ms"]),
        ("P99 was 14.9 (14.7–15.3) ms", ["14.9 (14.7–15.3) ms"]),
        ("800 requests and 799 good answers at 40.0 requests a second", []),
        ("801 requests", ["801 requests"]),
        ("it cost US$ 3.20", ["US$ 3.20"]),
        ("at least 50 % of the GPU; a 95 % interval", []),
        ("Python 3.11 on 2026-11-24, stage 05", []),
    ],
)
def test_a_figure_that_no_record_holds_is_found(
    measured: Run, text: str, unclaimed: list[str]
) -> None:
    assert figures_check.unsupported_figures(text, ledger.write(measured)) == unclaimed


def test_page_and_write_up_hold_no_other_figures(measured: Run) -> None:
    page.pack(measured)
    held = measured.load(Ledger)
    text = (measured.folder / page.INDEX).read_text()
    assert figures_check.unsupported_figures(figures_check.text_of_page(text), held) == []
    post = (measured.folder / "evidence/write-up.md").read_text()
    assert figures_check.unsupported_figures(figures_check.text_of_markdown(post), held) == []
