"""A run that was stored before the helpers were cut by half still means the same.

`quick-run/` holds the facts of a finished run of the quick profile (commit 9ba5e2b): its records,
request tables, events and checklist. Every record must still be read and written the same, the
figures must follow from the same requests, and the promises must be the same. Only
`05/telemetry-scale` is left out: runs no longer measure what watching costs.
"""

import importlib
import json
import pkgutil
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import helpers
from helpers import promises
from helpers.evidence import kpis, verify
from helpers.load import statistics
from helpers.load.records import LoadReport
from helpers.run import Record, Run

HERE = Path(__file__).resolve().parent
STORED = HERE / "quick-run"
RECORDS = sorted(path.relative_to(STORED).as_posix() for path in STORED.glob("records/*/*.json"))
NOT_IMPORTED = ("helpers.load.locustfile",)  # importing Locust patches the sockets of this process


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy: judging a run saves the verdicts in its folder."""
    folder = tmp_path_factory.mktemp("contract")
    shutil.copytree(STORED, folder / "quick-run")
    return Run.open("quick-run", folder)


def read(relative: str) -> Any:
    return json.loads((STORED / relative).read_text())


def record_classes() -> dict[str, type[Record]]:
    """Path of a record in a run's folder → the class that stores it."""
    for module in pkgutil.walk_packages(helpers.__path__, "helpers."):
        if module.name not in NOT_IMPORTED:
            importlib.import_module(module.name)
    return {kind.path(): kind for kind in Record.__subclasses__()}


@pytest.mark.parametrize("path", RECORDS)
def test_a_stored_record_is_read_and_written_the_same(path: str) -> None:
    kind = record_classes()[path]
    written = kind.model_validate(read(path)).model_dump(mode="json")
    assert written == read(path)


def test_the_promises_are_the_same() -> None:
    stored = read("checklist.json")
    assert {promise.id for promise in promises.PROMISES} == set(stored)


def test_the_figures_follow_from_the_same_requests(run: Run) -> None:
    report = run.load(LoadReport)
    assert [scenario.name for scenario in report.scenarios] == ["smoke", "spike", "soak"]
    for played, reported in zip(run.profile.load.scenarios, report.scenarios, strict=True):
        whole = pq.read_table(STORED / f"tables/requests-{played.name}.parquet")
        table: ds.Dataset = ds.dataset(pa.Table.from_batches(whole.to_batches(max_chunksize=500)))
        phases, measured = statistics.reports(table, played, run.profile.kpis.p99_ms)
        assert phases == reported.phases
        assert measured == reported.measured
        seconds = pd.read_csv(STORED / f"tables/seconds-{played.name}.csv")
        pd.testing.assert_frame_equal(statistics.seconds(table), seconds, check_dtype=False)


def test_the_verdicts_are_the_same(run: Run) -> None:
    stored = kpis.Verdicts.model_validate(read("records/07/verdicts.json"))
    assert without_notes(kpis.judge(run)) == without_notes(stored)


def without_notes(verdicts: kpis.Verdicts) -> dict[str, Any]:
    """The figures and verdicts; notes are words, and words may change."""
    return verdicts.model_dump(mode="json", exclude={"kpis": {"__all__": {"note"}}})


def test_the_stored_requests_verify(run: Run) -> None:
    named = {finding.what: finding.differences for finding in verify.verify(run)}
    for name in ("smoke", "spike", "soak"):
        assert named[f"figures of {name} against its requests"] == ()
