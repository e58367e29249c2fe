"""Upstream charts with our values, where their sources are unpacked on this machine.

The charts are not part of this repository. `GPU_E2E_CHARTS` names a folder that holds each as the
lock file calls it (`helm pull --untar`); without it these tests are skipped.
"""

import os
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.k8s import charts
from tests.k8s.charts import Objects

FOLDER = os.environ.get("GPU_E2E_CHARTS", "")
UPSTREAM = [name for name, release in charts.releases().items() if "repository" in release]
# mappings whose keys are ours to choose
FREE = {"annotations", "labels", "nodeSelector", "daemonsetNodeSelector", "extraArgs",
        "defaultTags", "resources", "limits", "requests", "emptyDir", "securityContext",
        "containerSecurityContext"}  # fmt: skip

pytestmark = pytest.mark.skipif(
    not FOLDER, reason="GPU_E2E_CHARTS names no folder of unpacked upstream charts"
)


def unpacked(name: str) -> Path:
    chart = Path(FOLDER, charts.releases()[name]["chart"])
    if not chart.is_dir():
        pytest.skip(f"{FOLDER} holds no {chart.name}")
    return chart


@cache
def rendered(name: str) -> Objects:
    """A release with our values."""
    chart, namespace = unpacked(name), charts.releases()[name]["namespace"]
    path = chart.parent / f".{name}-values.yaml"
    path.write_text(charts.filled(charts.K8S / f"values/{name}.yaml"))
    try:
        return Objects.of(charts.helm(
            "template", name, chart, f"--namespace={namespace}", f"--values={path}",
            f"--kube-version={charts.KUBERNETES}",
        ))  # fmt: skip
    finally:
        path.unlink()


@pytest.mark.parametrize("name", UPSTREAM)
def test_every_key_we_set_is_one_that_the_chart_knows(name: str) -> None:
    """These charts have no schema: nothing else notices a typo."""
    chart = unpacked(name)
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


@pytest.mark.parametrize("name", UPSTREAM)
def test_what_is_waited_for_is_made_by_the_release(name: str) -> None:
    made = {(body["kind"], body["metadata"]["name"]) for body in rendered(name)}
    for wait in charts.releases()[name]["waits"]:
        kind = "Service" if wait["kind"] == "Endpoints" else wait["kind"]
        if kind in ("Deployment", "DaemonSet", "APIService", "Service"):
            assert (kind, wait["name"]) in made
