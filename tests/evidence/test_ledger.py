"""Every figure has a source, and later changes are found."""

import json
import shutil
from pathlib import Path

import pytest

from helpers.errors import Problem
from helpers.evidence import ledger, results, verify
from helpers.evidence.ledger import Ledger
from helpers.load.records import LoadReport
from helpers.run import Run
from tests import contract
from tests.ci.test_rules import script

figures = script("figures")


def differences(run: Run) -> dict[str, tuple[str, ...]]:
    return {check.what: check.differences for check in verify.verify(run) if check.differences}


@pytest.fixture
def true(tmp_path: Path) -> Run:
    """The stored run of `tests/contract`, whose report follows from its requests."""
    shutil.copytree(Path(contract.__file__).with_name("quick-run"), tmp_path / "quick-run")
    run = Run.open("quick-run", tmp_path)
    # profiles have gained settings since it ran
    manifest = run.manifest() | {"profile_sha256": run.profile.digest()}
    run.write("manifest.json", json.dumps(manifest))
    results.write(run)
    ledger.write(run)
    return run


def test_a_claim_is_what_its_file_holds(measured: Run) -> None:
    written = ledger.write(measured)
    texts = {claim.name: claim.text for claim in written.claims}
    assert texts["soak.p99"] == "14.9 ms"
    assert texts["soak.p99.high"] == "15.0 ms"
    assert texts["target.p99_ms"] == "120 ms"
    assert measured.load(Ledger) == written
    for claim in written.claims:
        value = ledger.read_value(measured.folder, claim.source, claim.pointer)
        assert value == claim.value, claim.name
    (measured.folder / LoadReport.path()).unlink()
    assert not [claim for claim in ledger.write(measured).claims if claim.name.startswith("soak")]


def test_an_untouched_run_is_verified(true: Run) -> None:
    assert differences(true) == {}
    assert "agrees" in set(verify.frame(verify.verify(true))["result"])


def test_a_run_without_a_ledger_says_how_to_get_one(run: Run) -> None:
    with pytest.raises(Problem, match=r"has no ledger.*workbook export"):
        verify.verify(run)


def test_a_figure_that_was_touched_up_is_found(true: Run) -> None:
    path = true.folder / LoadReport.path()
    record = json.loads(path.read_text())
    record["scenarios"][2]["measured"]["latency"]["p95"]["ms"] = 9.0
    path.write_text(json.dumps(record))
    changed = differences(true)
    assert "records/05/load.json has changed" in changed["ledger against its sources"][0]
    assert "p95_ms: the record says 9.0" in changed["figures of soak against its requests"][0]
    assert "results.json against the records" in changed


def test_a_request_that_was_touched_up_left_out_or_lost_is_found(true: Run) -> None:
    table = true.load_table("requests-soak")
    faster = table.copy()
    faster.loc[table["latency_ms"].where(~table["warmup"]).idxmax(), "latency_ms"] = 1.0
    for changed, figure in ((faster, "steady max_ms"), (table.iloc[:-1], "steady requests")):
        true.save_table("requests-soak", changed)
        (sentences,) = differences(true).values()
        assert any(sentence.startswith(figure) for sentence in sentences)
    (true.folder / "tables/requests-soak.parquet").unlink()
    (sentences,) = differences(true).values()
    assert sentences == (f"Run {true.run_id} has no table 'requests-soak'.",)


def test_another_profile_is_found(true: Run) -> None:
    profile = true.profile.model_dump()
    profile["kpis"]["p99_ms"] = 9_999.0
    changed = Run(true.folder, type(true.profile).model_validate(profile))
    assert "profile against the manifest" in differences(changed)


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
    assert figures.unsupported_figures(text, ledger.write(measured)) == unclaimed
