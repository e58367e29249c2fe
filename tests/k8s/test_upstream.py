"""Upstream charts know every key we set, where their sources are unpacked on this machine.

The charts are not part of this repository. `GPU_E2E_CHARTS` names a folder that holds each as the
lock file calls it (`helm pull --untar`); without it the test is skipped.
"""

import os
from pathlib import Path

import pytest
import yaml

from tests.k8s import charts

FOLDER = os.environ.get("GPU_E2E_CHARTS", "")
UPSTREAM = [name for name, release in charts.releases().items() if "repository" in release]
# mappings whose keys are ours to choose
FREE = {"annotations", "labels", "nodeSelector", "daemonsetNodeSelector", "extraArgs",
        "defaultTags", "resources", "limits", "requests", "emptyDir", "securityContext",
        "containerSecurityContext"}  # fmt: skip


@pytest.mark.skipif(not FOLDER, reason="GPU_E2E_CHARTS names no folder of unpacked charts")
@pytest.mark.parametrize("name", UPSTREAM)
def test_every_key_we_set_is_one_that_the_chart_knows(name: str) -> None:
    """These charts have no schema: nothing else notices a typo."""
    chart = Path(FOLDER, charts.releases()[name]["chart"])
    for path in _keys(yaml.safe_load(charts.filled(charts.K8S / f"values/{name}.yaml"))):
        files = [chart / "values.yaml", chart / "charts" / path[0] / "values.yaml"]
        known = "".join(file.read_text() for file in files if file.is_file())
        assert f"{path[-1]}:" in known, f"{name}: {'.'.join(path)}"


def _keys(values: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(values, dict):
        return []
    return [
        place
        for key, part in values.items()
        for place in [(*path, key), *([] if key in FREE else _keys(part, (*path, key)))]
    ]
