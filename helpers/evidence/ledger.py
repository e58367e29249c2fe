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

from helpers.evidence.kpis import format_figure
from helpers.run import Record, Run
from helpers.scenario import Settings

PROFILE = "profile.yaml"
PLACES = Path(__file__).with_suffix(".yaml")


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
    """Read every figure of `ledger.yaml` from its source file, and save the ledger with the run."""
    claims = []
    for source, places in yaml.safe_load(PLACES.read_text()).items():
        content = read_value(run.folder, source, "")
        for place, (name, unit) in places.items():
            for labels, pointer, value in _matches(content, place.split("/")[1:]):
                shown = f"{value:,g}" if source == PROFILE else format_figure(value)
                claims.append(Claim(
                    name=name.replace("*", "{}").format(*labels), text=f"{shown} {unit}",
                    value=value, unit=unit, source=source, pointer=pointer,
                    sha256=file_digest(run.folder / source),
                ))  # fmt: skip
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


def _matches(
    value: Any, parts: list[str], labels: tuple[str, ...] = (), pointer: str = ""
) -> Iterator[tuple[tuple[str, ...], str, float]]:
    """Numbers at a place: what its `*` stand for, the pointer, and the number."""
    if not parts:
        if isinstance(value, int | float):
            yield labels, pointer, value
        return
    items = dict(enumerate(value)) if isinstance(value, list) else value
    for key, item in items.items() if isinstance(items, dict) else ():
        if parts[0] == "*":
            named = item if isinstance(item, dict) else {}
            label = str(named.get("name") or named.get("wire") or key)
            yield from _matches(item, parts[1:], (*labels, label), f"{pointer}/{key}")
        elif parts[0] == key:
            yield from _matches(item, parts[1:], labels, f"{pointer}/{key}")
