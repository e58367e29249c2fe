"""Exported networks on disk, each named by the digest of its bytes; many runs share one."""

import hashlib
from pathlib import Path

from helpers.errors import Problem
from helpers.paths import CACHE
from helpers.run import Run
from helpers.serving.reports import Models

FOLDER = CACHE / "onnx"


def path_of(sha256: str) -> Path:
    """Where the file with this digest lies, or would."""
    return FOLDER / f"{sha256}.onnx"


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_of(run: Run, name: str) -> Path:
    """The exported file of a served model.

    Raises:
        Problem: The run has not exported it, or the cached file is gone.
    """
    facts = next((one for one in run.load(Models).models if one.name == name), None)
    path = path_of(facts.sha256) if facts else FOLDER
    if facts is None or not path.is_file():
        raise Problem(f"The exported file of '{name}' is not here.", "Run stage 03 again.")
    return path
