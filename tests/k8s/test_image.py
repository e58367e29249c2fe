"""The Dockerfile and the chart mean the same container."""

import re

from helpers.serving import builders, image
from tests.k8s import charts
from tests.k8s.charts import Objects

DOCKERFILE = builders.DOCKERFILE.read_text()


def _instruction(name: str) -> str:
    (arguments,) = re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)
    return str(arguments)


def test_the_base_is_nvidias_image_by_digest_and_the_chart_states_its_release() -> None:
    assert re.fullmatch(r"nvcr\.io/nvidia/tritonserver@sha256:[0-9a-f]{64}", builders.base_image())
    assert _instruction("FROM") == "${BASE}"
    version = charts.helm("show", "chart", charts.TRITON)
    (stated,) = re.findall(r'appVersion: "?([\d.]+)', version)
    assert f"tritonserver:{stated}-py3" in DOCKERFILE


def test_models_and_user_are_those_of_the_pod_and_nothing_runs_in_the_build(gpu: Objects) -> None:
    source, target = _instruction("COPY").split()[-2:]
    assert source == f"{image.FOLDER}/" and "--chown=0:0" in _instruction("COPY")
    assert f"--model-repository={target.rstrip('/')}" in gpu.server()["args"]
    pod = gpu.pod()["securityContext"]
    assert _instruction("USER") == f"{pod['runAsUser']}:{pod['runAsGroup']}"
    assert not re.search(r"^(RUN|ADD) ", DOCKERFILE, re.MULTILINE)
