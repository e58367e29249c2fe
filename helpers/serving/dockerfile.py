"""What `model/Dockerfile` says: the one place that names Triton's image for the cluster."""

from pathlib import Path

from helpers.errors import Problem
from helpers.paths import MODEL

DOCKERFILE = MODEL / "Dockerfile"


def base_of(dockerfile: Path = DOCKERFILE) -> str:
    """The base image that a Dockerfile names as its default.

    Raises:
        Problem: It names none by digest.
    """
    for line in dockerfile.read_text().splitlines() if dockerfile.is_file() else ():
        if line.startswith("ARG BASE=") and "@sha256:" in line:
            return line.removeprefix("ARG BASE=").strip().strip('"')
    raise Problem(
        f"{dockerfile.name} names no base image by digest.",
        "Write 'ARG BASE=nvcr.io/nvidia/tritonserver:…@sha256:…' into it.",
    )
