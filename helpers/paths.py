"""Paths: the checkout, its tools, and the folder of runs."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
PROFILES = ROOT / "profiles"
MODEL = ROOT / "model"
TOOLS = ROOT / ".tools"
CACHE = ROOT / ".cache"
OUTPUTS = Path(os.environ.get("GPU_E2E_OUTPUTS", ROOT / "outputs")).resolve()
