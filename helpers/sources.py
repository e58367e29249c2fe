"""The sources behind figures and pictures, as digests: whether a sample is of this code."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from helpers.paths import ROOT

# what measures is fixed when a run begins; what draws, when its evidence is drawn
MEASURES = ("helpers/load", "helpers/serving", "model", "profiles/rehearsal.yaml")
DRAWS = ("helpers/evidence", "helpers/style.py")


def measuring() -> str:
    """SHA-256 of everything that decides about the figures of a rehearsal."""
    return _digest(MEASURES)


def drawing() -> str:
    """SHA-256 of everything that decides about its pictures and pages."""
    return _digest(DRAWS)


def _digest(places: tuple[str, ...]) -> str:
    total = hashlib.sha256()
    for path in _files(places):
        total.update(str(path.relative_to(ROOT)).encode())
        total.update(path.read_bytes())
    return total.hexdigest()


def _files(places: tuple[str, ...]) -> Iterator[Path]:
    for place in places:
        path = ROOT / place
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (one for one in found if one.is_file() and "__pycache__" not in one.parts)
