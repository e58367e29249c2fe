"""The lock file of upstream charts, and their values files."""

import re
from pathlib import Path

import pytest
import yaml

from helpers.cluster.releases import Lock
from tests.k8s import charts

VALUES = charts.K8S / "values"
LOCK = Lock.load()
RELEASES = {release.name: release for release in LOCK.releases}
GPU = charts.contract()["gpu"]
DIGEST = r"sha256:[0-9a-f]{64}"


@pytest.mark.parametrize("name", RELEASES)
def test_a_release_is_pinned_and_its_waits_can_be_waited_for(name: str) -> None:
    release = RELEASES[name]
    assert release.reason.endswith(".")
    assert release.namespace in charts.contract()["namespaces"].values()
    if release.own:
        return
    assert re.fullmatch(r"\d+\.\d+\.\d+", release.version)
    assert re.match(r"https://|oci://", release.repository)
    if release.digest is None:
        assert release.unproven and re.fullmatch(DIGEST, release.contents)
    else:
        assert re.fullmatch(DIGEST, release.digest) and release.digest_from


def test_what_others_need_comes_first() -> None:
    names = list(RELEASES)
    assert names[0] == "aws-load-balancer-controller"
    for first, second in (
        *(("kube-prometheus-stack", each) for each in ("dcgm-exporter", "triton", "observability")),
        ("nvidia-device-plugin", "dcgm-exporter"),
        ("prometheus-adapter", "triton"),
    ):
        assert names.index(first) < names.index(second)
    waits = [(wait.kind, wait.name) for wait in RELEASES["nvidia-device-plugin"].waits]
    assert ("Node", GPU["resource"]) in waits


def test_tritons_namespace_is_restricted_and_gates_readiness_on_the_load_balancer() -> None:
    (labels,) = [each.labels for each in LOCK.namespaces if each.name == "triton"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert labels["elbv2.k8s.aws/pod-readiness-gate-inject"] == "enabled"


@pytest.mark.parametrize("path", sorted(VALUES.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_values_file_is_filled_by_expressions_alone(path: Path) -> None:
    assert path.stem in RELEASES
    assert "{%" not in path.read_text()
    assert isinstance(yaml.safe_load(charts.filled(path)), dict)


@pytest.mark.parametrize(
    ("name", "node", "taints"),
    [
        ("nvidia-device-plugin", "nodeSelector", "tolerations"),
        ("dcgm-exporter", "nodeSelector", "tolerations"),
        ("aws-node-termination-handler", "daemonsetNodeSelector", "daemonsetTolerations"),
    ],
)
def test_gpu_daemonsets_are_aimed_by_the_contract(name: str, node: str, taints: str) -> None:
    values = yaml.safe_load(charts.filled(VALUES / f"{name}.yaml"))
    assert values[node] == {GPU["label"]["key"]: GPU["label"]["value"]}
    assert values[taints] == [{**GPU["taint"], "operator": "Equal"}]


def test_our_own_values_install_tritons_chart(tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(charts.filled(VALUES / "triton.yaml"))
    objects = charts.triton(values=(charts.CONTRACT, path))
    assert {"Ingress", "HorizontalPodAutoscaler", "ServiceMonitor"} <= objects.kinds()
    assert objects.server()["image"] == f"registry.example/gpu-e2e@sha256:{'2' * 64}"
    assert "annotations" not in objects.get("ServiceAccount")["metadata"]


def test_prometheus_takes_every_monitor_and_scrapes_nothing_that_eks_hides() -> None:
    values = yaml.safe_load(charts.filled(VALUES / "kube-prometheus-stack.yaml"))
    spec = values["prometheus"]["prometheusSpec"]
    for selector in ("serviceMonitor", "podMonitor", "probe", "rule", "scrapeConfig"):
        assert spec[f"{selector}SelectorNilUsesHelmValues"] is False
    for hidden in ("ControllerManager", "Scheduler", "Etcd", "Proxy"):
        assert values[f"kube{hidden}"] == {"enabled": False}
    assert list(spec["storageSpec"]) == ["emptyDir"]


@pytest.mark.parametrize(
    ("name", "key", "role"),
    [
        ("aws-load-balancer-controller", "albController", "alb_controller"),
        ("cluster-autoscaler", "clusterAutoscaler", "cluster_autoscaler"),
    ],
)
def test_a_controller_runs_as_the_account_that_its_role_trusts(
    name: str, key: str, role: str
) -> None:
    values = yaml.safe_load(charts.filled(VALUES / f"{name}.yaml"))
    assert values.get("rbac", values)["serviceAccount"] == {
        "name": charts.contract()["serviceAccounts"][key],
        "annotations": {"eks.amazonaws.com/role-arn": charts.OUTPUTS["role_arns"][role]},
    }
