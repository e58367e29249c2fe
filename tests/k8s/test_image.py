"""The Dockerfile and the chart mean the same container."""

import re

from helpers.serving import builders, image
from tests.k8s import charts
from tests.k8s.charts import Objects

LINES = [
    line
    for line in builders.DOCKERFILE.read_text().splitlines()
    if line and not line.startswith("#")
]


def _instruction(name: str) -> str:
    (found,) = (line for line in LINES if line.startswith(f"{name} "))
    return found.removeprefix(f"{name} ")


def test_the_base_is_nvidias_image_by_digest() -> None:
    assert re.fullmatch(r"nvcr\.io/nvidia/tritonserver@sha256:[0-9a-f]{64}", builders.base_image())
    assert _instruction("FROM") == "${BASE}"


def test_the_chart_states_the_release_of_the_base() -> None:
    version = charts.helm("show", "chart", charts.TRITON)
    (stated,) = re.findall(r'appVersion: "?([\d.]+)', version)
    assert f"tritonserver:{stated}-py3" in builders.DOCKERFILE.read_text()


def test_the_models_lie_where_the_chart_looks_for_them(gpu: Objects) -> None:
    source, target = _instruction("COPY").split()[-2:]
    assert source == f"{image.FOLDER}/"
    assert f"--model-repository={target.rstrip('/')}" in gpu.server()["args"]


def test_image_and_pod_name_the_same_user(gpu: Objects) -> None:
    pod = gpu.pod()["securityContext"]
    assert _instruction("USER") == f"{pod['runAsUser']}:{pod['runAsGroup']}"


def test_nothing_runs_while_the_image_is_built() -> None:
    assert not [line for line in LINES if line.startswith(("RUN ", "ADD "))]


def test_the_servers_files_cannot_be_changed_by_the_server() -> None:
    assert "--chown=0:0" in _instruction("COPY")
