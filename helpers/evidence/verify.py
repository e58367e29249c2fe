"""Whether a run still says what it said: hashes, figures, and statistics from the raw table."""

import json
import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pandas as pd

from helpers.errors import Problem
from helpers.evidence import ledger
from helpers.evidence.ledger import Ledger
from helpers.load.report import LoadReport, PhaseReport, ScenarioReport
from helpers.run import Run
from helpers.scenario import Settings

Floats = npt.NDArray[np.floating]
COLUMNS = ["phase", "warmup", "outcome", "latency_ms"]
TOLERANCE = 1e-6  # relative: the records hold what was computed from the very same rows


class Finding(Settings):
    """One thing that was looked at.

    Attributes:
        what: What was compared with what.
        differences: What does not agree; empty where all does.
    """

    what: str
    differences: tuple[str, ...]


def verify(run: Run) -> tuple[Finding, ...]:
    """Recompute everything that can be, and say what differs.

    Hashes show that no file has changed since the ledger was written; the statistics are computed
    anew from every request, by other code than the load engine's.

    Raises:
        Problem: The run has no ledger.
    """
    kept = run.find(Ledger)
    if kept is None:
        raise Problem(
            f"Run {run.run_id} has no ledger to verify.",
            f"Draw its evidence first: workbook export {run.run_id}",
        )
    return (
        _finding("ledger against its sources", ledger.differences(run.folder, kept.claims)),
        _finding("profile against the manifest", _profile(run)),
        _finding("results.json against the records", _results(run)),
        *_loads(run),
    )


def frame(findings: tuple[Finding, ...]) -> pd.DataFrame:
    """What was looked at and found, as people read it."""
    return pd.DataFrame(
        {
            "verified": [one.what for one in findings],
            "found": ["; ".join(one.differences) or "agrees" for one in findings],
        }
    )


def _finding(what: str, differences: list[str]) -> Finding:
    return Finding(what=what, differences=tuple(differences))


def _profile(run: Run) -> list[str]:
    known = run.manifest()["profile_sha256"]
    return (
        [] if run.profile.digest() == known else ["the profile is not the one the run began with"]
    )


def _results(run: Run) -> list[str]:
    path = run.folder / "evidence/results.json"
    report = run.readable(LoadReport)
    if not path.is_file():
        return ["evidence/results.json is missing"]
    told = json.loads(path.read_text())["scenarios"]
    held = [one.model_dump(mode="json") for one in report.scenarios] if report else []
    return [] if told == held else ["evidence/results.json tells of another load than the record"]


def _loads(run: Run) -> Iterator[Finding]:
    report = run.readable(LoadReport)
    for one in report.scenarios if report else ():
        what = f"figures of {one.name} against its requests"
        try:
            rows = run.load_table(f"requests-{one.name}", COLUMNS)
        except Problem as problem:
            yield _finding(what, [problem.what])
        else:
            yield _finding(what, list(_scenario(one, rows)))


def _scenario(one: ScenarioReport, rows: pd.DataFrame) -> Iterator[str]:
    for phase in one.phases:
        yield from _phase(phase, rows[rows["phase"] == phase.name], whole=not one.stopped)
    yield from _phase(one.measured, rows[~rows["warmup"]], whole=not one.stopped)


def _phase(phase: PhaseReport, rows: pd.DataFrame, *, whole: bool) -> Iterator[str]:
    good = rows["latency_ms"][rows["outcome"] == "ok"].to_numpy(dtype=float)
    recomputed: dict[str, tuple[float | None, float | None]] = {
        "good answers": (phase.ok, len(good)),
        "mean_ms": (phase.mean_ms, float(good.mean()) if good.size else None),
        "max_ms": (phase.max_ms, float(good.max()) if good.size else None),
    }
    if whole:
        recomputed["requests"] = (phase.requests, len(rows))
    for name, found in phase.latency.items():
        recomputed[f"{name}_ms"] = (found.ms, _nearest_rank(np.sort(good), name))
    for name, (told, value) in recomputed.items():
        if not _same(told, value):
            yield f"{phase.name} {name}: the record says {told}, the requests give {value}"


def _nearest_rank(ascending: Floats, name: str) -> float | None:
    """The percentile `p99.9`, by whole numbers: no rounding decides about a rank."""
    rank = math.ceil(Fraction(name.removeprefix("p")) * len(ascending) / 100)
    return float(ascending[rank - 1]) if ascending.size else None


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=TOLERANCE)
