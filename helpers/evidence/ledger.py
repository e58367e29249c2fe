"""Every published figure with the file it comes from, the place in that file, and the file's hash.

Each value is read from its source file, so a figure that no file of the run holds cannot enter it.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonpointer import resolve_pointer

from helpers.evidence.kpis import KPIS, Verdicts, format_figure
from helpers.load.records import Capacity, LoadReport, PhaseReport
from helpers.run import Record, Run
from helpers.scenario import Settings
from helpers.telemetry.records import Telemetry

PROFILE, MANIFEST, LOAD = "profile.yaml", "manifest.json", LoadReport.path()
PHASE_UNITS = {
    "requests": "requests", "ok": "good answers", "requested_rps": "requests/s",
    "throughput_rps": "requests/s", "error_rate_pct": "%", "mean_ms": "ms", "max_ms": "ms",
}  # fmt: skip
STEP_UNITS = {"rate": "requests/s", "throughput_rps": "requests/s", "p50_ms": "ms", "p95_ms": "ms",
              "p99_ms": "ms"}  # fmt: skip
CALIBRATION_UNITS = {"delay_ms": "ms", "rate": "requests/s", "added_p50_ms": "ms",
                     "added_p99_ms": "ms"}  # fmt: skip
COST_PARTS = ("total", "spot", "on demand", "saved", "per 1,000 inferences")

Place = tuple[str, str, str, str]  # name, unit, source and pointer of a claim


class Claim(Settings):
    """One figure and its source."""

    name: str  # such as `soak.p99`
    text: str  # with its unit, as pages show it
    value: float  # as the file holds it
    unit: str
    source: str  # the file, relative to the run's folder
    pointer: str  # the place in it, as a JSON pointer (RFC 6901)
    sha256: str  # of the file when the ledger was written


class Ledger(Record, stage="07", name="ledger"):
    """Every figure that page, case study, write-up and README may show."""

    claims: tuple[Claim, ...]


def write(run: Run) -> Ledger:
    """Read every figure from its source file, and save the ledger with the run."""
    claims = []
    for name, unit, source, pointer in _places(run):
        value = read_value(run.folder, source, pointer)
        if isinstance(value, int | float):
            shown = f"{value:,g}" if source == PROFILE else format_figure(value)
            claims.append(Claim(name=name, text=f"{shown} {unit}", value=value, unit=unit,
                                source=source, pointer=pointer,
                                sha256=file_digest(run.folder / source)))  # fmt: skip
    return run.save(Ledger(claims=tuple(claims)))


def read_value(folder: Path, source: str, pointer: str) -> Any:
    """The value at a place of a run's file; None where file or place is missing or torn."""
    path = folder / source
    try:
        text = path.read_text()
        value: Any = yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)
    except (OSError, json.JSONDecodeError, yaml.YAMLError):
        return None
    return resolve_pointer(value, pointer, None)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def differences(folder: Path, claims: Sequence[Claim]) -> list[str]:
    """One sentence for each source file that changed, and for each figure it no longer holds."""
    sentences = []
    for source, known in {claim.source: claim.sha256 for claim in claims}.items():
        if not (folder / source).is_file():
            sentences.append(f"{source} is missing")
        elif file_digest(folder / source) != known:
            sentences.append(f"{source} has changed since the ledger was written")
    for claim in claims:
        value = read_value(folder, claim.source, claim.pointer)
        if value != claim.value:
            ours = f"{claim.name}: the ledger says {claim.value:g}"
            sentences.append(f"{ours}, {claim.source} says {value}")
    return sentences


def _places(run: Run) -> Iterator[Place]:
    for key, (_, unit, _) in KPIS.items():
        yield f"target.{key}", unit, PROFILE, f"/kpis/{key}"
    yield "machine.cores", "cores", MANIFEST, "/machine/cores"
    yield "machine.memory", "GiB", MANIFEST, "/machine/memory_gib"
    for key in ("cpu_utilisation", "gpu_utilisation"):
        yield key, "%", Telemetry.path(), f"/{key}_pct"
    report = run.readable(LoadReport)
    for number, scenario in enumerate(report.scenarios if report else ()):
        here = f"/scenarios/{number}"
        yield from _phase_places(scenario.name, scenario.measured, f"{here}/measured")
        for position, phase in enumerate(scenario.phases):
            name = f"{scenario.name}.{phase.name}"
            yield from _phase_places(name, phase, f"{here}/phases/{position}")
        for key, unit in (("queue_ms", "ms"), ("compute_ms", "ms"), ("mean_batch", "images")):
            yield f"{scenario.name}.{key}", unit, LOAD, f"{here}/server/{key}"
    for number, calibration in enumerate(report.calibrations if report else ()):
        for key, unit in CALIBRATION_UNITS.items():
            name = f"calibration.{calibration.wire}.{key}"
            yield name, unit, LOAD, f"/calibrations/{number}/{key}"
    yield "capacity.rate", "requests/s", Capacity.path(), "/capacity_rps"
    yield "capacity.objective", "ms", Capacity.path(), "/objective_p99_ms"
    capacity = run.readable(Capacity)
    for number in range(len(capacity.steps) if capacity else 0):
        for key, unit in STEP_UNITS.items():
            yield f"capacity.{number}.{key}", unit, Capacity.path(), f"/steps/{number}/{key}"
    yield "cap", "US$", PROFILE, "/infrastructure/gpu/max_price_usd"
    yield "cost.saved", "%", Verdicts.path(), "/saved_pct"
    for part in COST_PARTS:
        yield f"cost.{part}", "US$", Verdicts.path(), f"/cost_usd/{part}"
    for part in ("queue", "compute", "network and client"):
        yield f"split.{part}", "ms", Verdicts.path(), f"/split_ms/{part}"


def _phase_places(name: str, phase: PhaseReport, pointer: str) -> Iterator[Place]:
    for key, unit in PHASE_UNITS.items():
        yield f"{name}.{key}", unit, LOAD, f"{pointer}/{key}"
    for percentile in phase.latency:
        for suffix, key in (("", "ms"), (".low", "low_ms"), (".high", "high_ms")):
            here = f"{pointer}/latency/{percentile}/{key}"
            yield f"{name}.{percentile}{suffix}", "ms", LOAD, here
