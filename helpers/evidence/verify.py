"""Checks a finished run: hashes, figures, and statistics recomputed from the raw request tables."""

import json
import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

import pandas as pd

from helpers.errors import Problem
from helpers.evidence import ledger
from helpers.evidence.ledger import Ledger
from helpers.load.records import LoadReport, PhaseReport, ScenarioReport
from helpers.run import Run

COLUMNS = ["phase", "warmup", "outcome", "latency_ms"]
TOLERANCE = 1e-6  # relative: the records were computed from exactly these rows


class Check(NamedTuple):
    """One comparison."""

    what: str  # what was compared with what
    differences: tuple[str, ...]  # empty where everything agrees


def verify(run: Run) -> tuple[Check, ...]:
    """Compare hashes, figures and statistics, recomputed by other code than the load engine's."""
    saved = run.find(Ledger)
    if saved is None:
        raise Problem(
            f"Run {run.run_id} has no ledger to verify.",
            f"Draw its evidence first: workbook export {run.run_id}",
        )
    report = run.readable(LoadReport)
    scenarios = report.scenarios if report else ()
    same_profile = run.profile.digest() == run.manifest()["profile_sha256"]
    changed = () if same_profile else ("the profile is not the one the run started with",)
    differences = {
        "ledger against its sources": ledger.differences(run.folder, saved.claims),
        "profile against the manifest": changed,
        "results.json against the records": _results_differences(run, scenarios),
    } | {
        f"figures of {scenario.name} against its requests": _load_differences(run, scenario)
        for scenario in scenarios
    }
    return tuple(Check(what, tuple(sentences)) for what, sentences in differences.items())


def frame(checks: Iterable[Check]) -> pd.DataFrame:
    """The checks as a table."""
    rows = [(check.what, "; ".join(check.differences) or "agrees") for check in checks]
    return pd.DataFrame(rows, columns=["verified", "result"])


def _results_differences(run: Run, scenarios: tuple[ScenarioReport, ...]) -> Iterator[str]:
    path = run.folder / "evidence/results.json"
    if not path.is_file():
        yield "evidence/results.json is missing"
        return
    load = [scenario.model_dump(mode="json") for scenario in scenarios]
    if json.loads(path.read_text())["scenarios"] != load:
        yield "evidence/results.json holds another load than the record"


def _load_differences(run: Run, scenario: ScenarioReport) -> Iterator[str]:
    try:
        rows = run.load_table(f"requests-{scenario.name}", COLUMNS)
    except Problem as problem:
        yield problem.what
        return
    complete = not scenario.stopped
    for phase in scenario.phases:
        yield from _phase_differences(phase, rows[rows["phase"] == phase.name], complete)
    yield from _phase_differences(scenario.measured, rows[~rows["warmup"]], complete)


def _phase_differences(phase: PhaseReport, rows: pd.DataFrame, complete: bool) -> Iterator[str]:
    good = rows["latency_ms"][rows["outcome"] == "ok"].sort_values().to_numpy(dtype=float)
    recomputed: dict[str, tuple[float | None, float | None]] = {
        "good answers": (phase.ok, len(good)),
        "mean_ms": (phase.mean_ms, float(good.mean()) if good.size else None),
        "max_ms": (phase.max_ms, float(good[-1]) if good.size else None),
    }
    if complete:
        recomputed["requests"] = (phase.requests, len(rows))
    for name, percentile in phase.latency.items():
        # nearest rank of `p99.9`, in whole numbers: rounding must not decide about a rank
        rank = math.ceil(Fraction(name.removeprefix("p")) * len(good) / 100)
        recomputed[f"{name}_ms"] = (percentile.ms, float(good[rank - 1]) if good.size else None)
    for name, (recorded, value) in recomputed.items():
        same = recorded == value or (
            recorded and value and math.isclose(recorded, value, rel_tol=TOLERANCE)
        )
        if not same:
            yield f"{phase.name} {name}: the record says {recorded}, the requests give {value}"
