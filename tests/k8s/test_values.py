"""What the chart refuses, and whether it says what would be right."""

import re

import pytest

from tests.k8s import charts
from tests.k8s.charts import Refused

# what is set, and what the sentence must name
WRONG = {
    "autoscaling.minReplica=2": "minReplica",
    "image.repository=": "image.repository is empty",
    "image.digest=latest": "/image/digest",
    "resources.limits.memory=8GB": "/resources/limits/memory",
    "resources.limits.nvidia\\.com/gpu=1": "nvidia.com/gpu",
    "gpu.taint.effect=Never": "'NoSchedule', 'NoExecute'",
    "gpu.perPod=2": "gpu.perNode",
    "device=tpu": "'gpu', 'cpu'",
    "modelRepository.source=s3": "modelRepository.s3.bucket",
    "modelRepository.load=": "/modelRepository/load",
    "shutdown.gracePeriodSeconds=200": "want 110",
    "shutdown.gracePeriodSeconds=50": "shutdown.preStopSeconds 20 + triton.exitTimeoutSeconds 30",
    "strategy.maxUnavailable=0": "both 0",
    "autoscaling.minReplicas=3": "autoscaling.maxReplicas 2",
    "replicas=0": "autoscaling.enabled=false",
    "ingress.inboundCidrs={0.0.0.0/0}": "whole world",
    "ingress.httpPaths={/v2/repository}": "/ingress/httpPaths/0",
    "ingress.grpcMethods={RepositoryModelUnload}": "/ingress/grpcMethods/0",
    "ingress.healthCheck.timeoutSeconds=10": "ingress.healthCheck.intervalSeconds 10",
    "ingress.deregistrationDelaySeconds=100": "still serves",
    "serviceMonitor.scrapeTimeout=9s": "serviceMonitor.interval 5s",
    "triton.extraArgs={--model-control-mode=poll}": "--model-control-mode",
    "sharedMemory=9Gi": "resources.limits.memory 8Gi",
    "temporary=9000Mi": "resources.limits.ephemeral-storage 8Gi",
}


@pytest.mark.parametrize(("setting", "named"), WRONG.items())
def test_a_wrong_value_is_refused_and_named(setting: str, named: str) -> None:
    with pytest.raises(Refused, match=re.escape(named)):
        charts.triton(setting)


def test_what_the_chart_cannot_know_is_asked_for() -> None:
    with pytest.raises(Refused, match=r"add '-f k8s/contract\.yaml'"):
        charts.triton(values=(charts.GPU,))
    image = ("image.repository=example", f"image.digest=sha256:{'1' * 64}")
    with pytest.raises(Refused, match=r"modelRepository\.load is empty"):
        charts.triton(*image, values=(charts.CONTRACT,))
    with pytest.raises(Refused, match="install with '--namespace triton'"):
        charts.triton(namespace="default")


def test_a_load_balancer_needs_callers_tags_and_a_way_to_the_pods() -> None:
    settings = ["ingress.enabled=true"]
    for missing, answer in (
        ("ingress.inboundCidrs is empty", "ingress.inboundCidrs={203.0.113.7/32}"),
        ("lacks 'project'", "ingress.tags.project=gpu-e2e"),
        ("lacks 'owner'", "ingress.tags.owner=Nancy"),
        ("lacks 'run'", "ingress.tags.run=example"),
        ("VPC's CIDR", "networkPolicy.loadBalancerCidrs={10.42.0.0/16}"),
    ):
        with pytest.raises(Refused, match=missing):
            charts.triton(*settings, values=(charts.CONTRACT, charts.CPU))
        settings.append(answer)
    objects = charts.triton(*settings, values=(charts.CONTRACT, charts.CPU))
    assert "Ingress" in objects.kinds()
