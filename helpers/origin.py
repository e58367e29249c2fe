"""What a run is made of and on: commit, machine, versions of what measures."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from helpers import sources
from helpers.paths import ROOT

VERSIONS_OF = ("torch", "onnx", "onnxruntime", "tritonclient", "numpy", "pandas", "papermill")


def facts() -> dict[str, Any]:
    """What a manifest says of it."""
    return {
        "git": _git_state(),
        "measured_by": sources.measuring(),
        "machine": _machine(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in VERSIONS_OF},
    }


def _git_state() -> dict[str, Any]:
    def ask(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "clean": not ask("status", "--porcelain")}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "clean": None}


def _machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
    }


def _processor() -> str:
    """The processor's name; Linux tells it in a file only."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"
