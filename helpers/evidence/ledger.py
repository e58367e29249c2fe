"""The ledger: every figure that is claimed, with the file, the place in it, and the file's hash.

A figure is looked up where its source says it stands, and shown as it was found there; what no
file of the run holds cannot be claimed.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from helpers.errors import Problem
from helpers.evidence import numbers
from helpers.evidence.kpis import Verdicts
from helpers.load.report import Capacity, LoadReport, PhaseReport
from helpers.run import Record, Run
from helpers.scenario import Settings
from helpers.telemetry.report import Telemetry

PROFILE, MANIFEST, LOAD = "profile.yaml", "manifest.json", LoadReport.path()
LATENCIES = ("p50", "p95", "p99")
OF_PHASE = (
    ("requests", "requests"),
    ("ok", "good answers"),
    ("requested_rps", "requests/s"),
    ("throughput_rps", "requests/s"),
    ("error_rate_pct", "%"),
    ("mean_ms", "ms"),
    ("max_ms", "ms"),
)
OF_STEP = (("rate", "requests/s"), ("throughput_rps", "requests/s"), ("p50_ms", "ms"),
           ("p95_ms", "ms"), ("p99_ms", "ms"))  # fmt: skip
OF_CALIBRATION = (("delay_ms", "ms"), ("rate", "requests/s"), ("added_p50_ms", "ms"),
                  ("added_p99_ms", "ms"))  # fmt: skip


class Claim(Settings):
    """One figure, and where it stands.

    Attributes:
        name: What it is called in templates, such as `soak.p99`.
        text: As it is shown, with its unit.
        value: As the file holds it.
        unit: Its unit.
        source: The file, relative to the run's folder.
        pointer: The place in it, as a JSON pointer (RFC 6901).
        sha256: Of the file when the ledger was written.
    """

    name: str
    text: str
    value: float
    unit: str
    source: str
    pointer: str
    sha256: str


class Ledger(Record, stage="07", name="ledger"):
    """Every figure that page, case study, write-up and README may show."""

    claims: tuple[Claim, ...]

    def text(self, name: str) -> str:
        """A figure as it is shown.

        Raises:
            Problem: No file of the run holds it.
        """
        for one in self.claims:
            if one.name == name:
                return one.text
        raise Problem(f"No record of the run holds the figure '{name}'.")

    def has(self, name: str) -> bool:
        """Whether there is such a figure."""
        return any(one.name == name for one in self.claims)


def write(run: Run) -> Ledger:
    """Look every figure up, and keep the ledger with the run."""
    ledger = Ledger(claims=tuple(_claims(run)))
    run.save(ledger)
    return ledger


def look_up(folder: Path, source: str, pointer: str) -> Any:
    """What a file of a run holds at a place; None where file or place is missing or torn."""
    path = folder / source
    try:
        text = path.read_text()
        value: Any = yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)
    except (OSError, json.JSONDecodeError, yaml.YAMLError):
        return None
    for step in pointer.split("/")[1:]:
        if isinstance(value, list):
            value = value[int(step)] if int(step) < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _claims(run: Run) -> Iterator[Claim]:
    for name, unit, source, pointer in _places(run):
        value = look_up(run.folder, source, pointer)
        if isinstance(value, int | float):
            show = numbers.chosen if source == PROFILE else numbers.measured
            yield Claim(
                name=name,
                text=f"{show(value)} {unit}",
                value=value,
                unit=unit,
                source=source,
                pointer=pointer,
                sha256=digest(run.folder / source),
            )


def _places(run: Run) -> Iterator[tuple[str, str, str, str]]:
    """Name, unit, source and pointer of every figure that a run may hold."""
    yield from _targets()
    yield "machine.cores", "cores", MANIFEST, "/machine/cores"
    yield "machine.memory", "GiB", MANIFEST, "/machine/memory_gib"
    for name in ("cpu_utilisation_pct", "gpu_utilisation_pct"):
        yield name.removesuffix("_pct"), "%", Telemetry.path(), f"/{name}"
    report = run.readable(LoadReport)
    for number, one in enumerate(report.scenarios if report else ()):
        yield from _phase(one.name, one.measured, f"/scenarios/{number}/measured")
        for place, phase in enumerate(one.phases):
            pointer = f"/scenarios/{number}/phases/{place}"
            yield from _phase(f"{one.name}.{phase.name}", phase, pointer)
        for part in ("queue_ms", "compute_ms", "mean_batch"):
            unit = "ms" if part.endswith("_ms") else "images"
            yield f"{one.name}.{part}", unit, LOAD, f"/scenarios/{number}/server/{part}"

    for number, calibration in enumerate(report.calibrations if report else ()):
        for key, unit in OF_CALIBRATION:
            name = f"calibration.{calibration.wire}.{key}"
            yield name, unit, LOAD, f"/calibrations/{number}/{key}"
    yield from _capacity(run)
    yield "cap", "US$", PROFILE, "/infrastructure/gpu/max_price_usd"
    yield "cost.saved", "%", Verdicts.path(), "/saved_pct"
    for part in ("total", "spot", "on demand", "saved", "per 1,000 inferences"):
        yield f"cost.{part}", "US$", Verdicts.path(), f"/cost_usd/{part}"
    for part in ("queue", "compute", "network and client"):
        yield f"split.{part}", "ms", Verdicts.path(), f"/split_ms/{part}"


def _capacity(run: Run) -> Iterator[tuple[str, str, str, str]]:
    found, path = run.readable(Capacity), Capacity.path()
    yield "capacity.rate", "requests/s", path, "/capacity_rps"
    yield "capacity.objective", "ms", path, "/objective_p99_ms"
    for number in range(len(found.steps) if found else 0):
        for key, unit in OF_STEP:
            yield f"capacity.{number}.{key}", unit, path, f"/steps/{number}/{key}"


def _targets() -> Iterator[tuple[str, str, str, str]]:
    units = {"throughput_rps": "requests/s", "error_rate_pct": "%", "gpu_utilisation_pct": "%",
             "cost_usd": "US$"}  # fmt: skip
    for name in (*(f"{one}_ms" for one in LATENCIES), *units):
        yield f"target.{name}", units.get(name, "ms"), PROFILE, f"/kpis/{name}"


def _phase(name: str, phase: PhaseReport, pointer: str) -> Iterator[tuple[str, str, str, str]]:
    for key, unit in OF_PHASE:
        yield f"{name}.{key}", unit, LOAD, f"{pointer}/{key}"
    for key in phase.latency:
        for part in ("ms", "low_ms", "high_ms"):
            suffix = "" if part == "ms" else f".{part.removesuffix('_ms')}"
            yield f"{name}.{key}{suffix}", "ms", LOAD, f"{pointer}/latency/{key}/{part}"


def differences(folder: Path, claims: Sequence[Claim]) -> list[str]:
    """One sentence for each figure that its file no longer holds, or whose file has changed."""
    found = []
    for source in dict.fromkeys(one.source for one in claims):
        path = folder / source
        known = next(one.sha256 for one in claims if one.source == source)
        if not path.is_file():
            found.append(f"{source} is missing")
        elif digest(path) != known:
            found.append(f"{source} has changed since the ledger was written")
    for one in claims:
        value = look_up(folder, one.source, one.pointer)
        if value != one.value:
            found.append(f"{one.name}: the ledger says {one.value:g}, {one.source} says {value}")
    return found
