"""Opt-in: a real API server, where somebody has one.

`GPU_E2E_KUBECONTEXT` names a context of your kubeconfig (kind, minikube). `GPU_E2E_KUBEIMAGE` names
an image by digest that its nodes can pull and that holds the model `mobilenetv2` for a CPU.
"""

import os
from pathlib import Path

import pytest
import yaml

from helpers.cluster import client, dry_run
from helpers.cluster.contract import CONTRACT
from helpers.cluster.helm import Helm
from helpers.cluster.rendering import CHART
from helpers.run import Run

CONTEXT, IMAGE = os.environ.get("GPU_E2E_KUBECONTEXT", ""), os.environ.get("GPU_E2E_KUBEIMAGE", "")
needs_context = pytest.mark.skipif(not CONTEXT, reason="GPU_E2E_KUBECONTEXT names no context")
needs_image = pytest.mark.skipif(not IMAGE, reason="GPU_E2E_KUBEIMAGE names no image")


@needs_context
@pytest.mark.parametrize("given", [dry_run.CPU_VALUES, CHART / "ci/gpu-values.yaml"])
def test_a_real_api_server_takes_every_object(given: Path) -> None:
    text = Helm().template("triton", CHART, "triton", [CONTRACT, given])
    objects = [one for one in yaml.safe_load_all(text) if one]
    answer = dry_run.ask(client.of_context(CONTEXT), objects)
    assert not answer.refused
    assert {one.kind for one in answer.unknown} <= {"ServiceMonitor"}  # of another release's CRDs


@needs_context
@needs_image
def test_the_chart_is_installed_without_a_gpu_and_infers(patient: Run) -> None:
    log = dry_run.install(patient, client.of_context(CONTEXT), IMAGE, ["mobilenetv2"])
    assert "mobilenetv2" in log
