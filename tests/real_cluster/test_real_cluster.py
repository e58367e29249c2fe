"""The chart against a real API server, where somebody has one.

`GPU_E2E_KUBECONTEXT` names a context of your kubeconfig (kind, minikube, envtest with kubelets).
`GPU_E2E_KUBEIMAGE` names an image by digest that its nodes can pull and that holds the model
`mobilenetv2` for a CPU; without it nothing is installed.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.cluster import client, helm, removal, triton_release
from helpers.cluster.chart_checks import CHART
from helpers.cluster.client import Cluster
from helpers.cluster.contract import CONTRACT
from helpers.cluster.helm import Helm
from helpers.cluster.waits import Pace
from tests.cluster import scenes

CONTEXT, IMAGE = os.environ.get("GPU_E2E_KUBECONTEXT", ""), os.environ.get("GPU_E2E_KUBEIMAGE", "")
pytestmark = pytest.mark.skipif(not CONTEXT, reason="GPU_E2E_KUBECONTEXT names no context")
VALUES = {"cpu": CHART / "values-cpu.yaml", "gpu": CHART / "ci/gpu-values.yaml"}
PACE = Pace(300, 1)


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return client.context_cluster(CONTEXT)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace with Triton's pod security level, which is removed again."""
    name = f"triton-{uuid.uuid4().hex[:6]}"
    level = {"pod-security.kubernetes.io/enforce": "restricted"}
    client.ensure_namespace(cluster, name, level)
    yield name
    cluster.delete("namespaces", name)


@pytest.mark.parametrize("values", VALUES)
def test_the_api_server_accepts_every_object_and_refuses_a_wrong_one(
    cluster: Cluster, values: str
) -> None:
    text = Helm().template("triton", CHART, "triton", [CONTRACT, VALUES[values]], "1.35")
    objects = [body for body in yaml.safe_load_all(text) if body]
    assert helm.server_dry_run(cluster, objects)[1] == []
    deployment = next(body for body in objects if body["kind"] == "Deployment")
    deployment["spec"]["selector"]["matchLabels"] = {"other": "pods"}
    assert "selector" in " ".join(helm.server_dry_run(cluster, objects)[1])


def test_a_claim_goes_and_its_volume_is_waited_for(cluster: Cluster, namespace: str) -> None:
    volume: Any = scenes.volume(f"{namespace}-pv", "Retain")
    claim: Any = scenes.claim("data", f"{namespace}-pv", namespace)
    cluster.core.create_persistent_volume(volume)
    cluster.core.create_namespaced_persistent_volume_claim(namespace, claim)
    claims: list[str] = []
    faults: list[str] = []
    removal.release_volumes(cluster, claims, faults, PACE)
    assert f"{namespace}/data" in claims
    assert any(f"vol-{namespace}-pv stays" in fault for fault in faults)
    cluster.delete("persistentvolumes", f"{namespace}-pv")


@pytest.mark.skipif(not IMAGE, reason="GPU_E2E_KUBEIMAGE names no image")
def test_the_chart_is_installed_without_a_gpu_and_infers(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    repository, _, digest = IMAGE.partition("@")
    chosen = tmp_path / "values.yaml"
    image = {"repository": repository, "digest": digest}
    chosen.write_text(
        yaml.safe_dump({"image": image, "modelRepository": {"load": ["mobilenetv2"]}})
    )
    program = Helm(cluster)
    try:  # an installation that fails half-way leaves objects of the whole cluster, too
        program.apply(namespace, CHART, namespace, [CONTRACT, VALUES["cpu"], chosen])
        assert triton_release.wait_for_rollout(cluster, namespace, namespace, PACE) == 1
        printed = program("The test", "test", namespace, "--namespace", namespace, timeout_s=300)
        assert "Succeeded" in printed
    finally:
        program.remove(namespace, namespace)
