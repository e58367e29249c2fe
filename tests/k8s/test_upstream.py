"""Upstream charts with our values, where their sources are unpacked on this machine.

The charts are not part of this repository. `GPU_E2E_CHARTS` names a folder that holds each as the
lock file calls it (`helm pull --untar`); without it these tests are skipped.
"""

import os
from functools import cache
from pathlib import Path

import pytest
import yaml

from helpers.cluster import contract
from helpers.cluster.planned_nodes import PlannedNode, keeps_out
from tests.k8s import charts
from tests.k8s.charts import Object, Objects

FOLDER = os.environ.get("GPU_E2E_CHARTS", "")
UPSTREAM = [name for name, one in charts.releases().items() if "repository" in one]

pytestmark = pytest.mark.skipif(
    not FOLDER, reason="GPU_E2E_CHARTS names no folder of unpacked upstream charts"
)


@cache
def rendered(name: str) -> Objects:
    """A release with our values."""
    release = charts.releases()[name]
    chart = Path(FOLDER) / release["chart"]
    if not chart.is_dir():
        pytest.skip(f"{FOLDER} holds no {release['chart']}")
    values = charts.filled(charts.K8S / f"values/{name}.yaml")
    path = chart.parent / f".{name}-values.yaml"
    path.write_text(values)
    try:
        namespace = f"--namespace={release['namespace']}"
        version = f"--kube-version={charts.KUBERNETES}"
        text = charts.helm("template", name, chart, namespace, version, f"--values={path}")
        return Objects.of(text)
    finally:
        path.unlink()


def lands_on_the_gpu_node(pod: Object) -> bool:
    """Whether it may run on our tainted node, and on no other."""
    gpu = contract.load().gpu
    known = {"kubernetes.io/os": "linux"}
    node = PlannedNode("gpu", known | gpu.label.selector, (gpu.taint.object,), {})
    other = PlannedNode("system", known, (), {})
    return not keeps_out(pod, node) and bool(keeps_out(pod, other))


@pytest.mark.parametrize("name", UPSTREAM)
def test_every_key_we_set_is_one_that_the_chart_knows(name: str) -> None:
    """These charts have no schema: a typo would pass in silence."""
    chart = Path(FOLDER) / charts.releases()[name]["chart"]
    if not chart.is_dir():
        pytest.skip(f"{FOLDER} holds no {chart.name}")
    ours = yaml.safe_load(charts.filled(charts.K8S / f"values/{name}.yaml"))
    theirs = (chart / "values.yaml").read_text()
    for path in _keys(ours):
        assert f"{path[-1]}:" in theirs or _in_subchart(chart, path), f"{name}: {'.'.join(path)}"


def _keys(values: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(values, dict):
        return []
    free = {"annotations", "labels", "nodeSelector", "daemonsetNodeSelector", "extraArgs"}
    free |= {"defaultTags", "resources", "limits", "requests", "emptyDir", "securityContext"}
    free |= {"containerSecurityContext"}
    found = []
    for key, part in values.items():
        found.append((*path, key))
        if key not in free:
            found += _keys(part, (*path, key))
    return found


def _in_subchart(chart: Path, path: tuple[str, ...]) -> bool:
    values = chart / "charts" / path[0] / "values.yaml"
    return values.is_file() and f"{path[-1]}:" in values.read_text()


@pytest.mark.parametrize("name", UPSTREAM)
def test_what_is_waited_for_is_made_by_the_release(name: str) -> None:
    made = {(one["kind"], one["metadata"]["name"]) for one in rendered(name)}
    for wait in charts.releases()[name]["waits"]:
        if wait["kind"] in ("Deployment", "DaemonSet", "APIService"):
            assert (wait["kind"], wait["name"]) in made
        if wait["kind"] == "Endpoints":
            assert ("Service", wait["name"]) in made


@pytest.mark.parametrize(
    "name", ["nvidia-device-plugin", "dcgm-exporter", "aws-node-termination-handler"]
)
def test_a_gpu_daemonset_lands_on_our_node(name: str) -> None:
    assert lands_on_the_gpu_node(rendered(name).pod("DaemonSet", name))


def test_dcgm_keeps_the_names_of_the_pods_that_use_the_gpu() -> None:
    objects = rendered("dcgm-exporter")
    (endpoint,) = objects.one("ServiceMonitor", "dcgm-exporter")["spec"]["endpoints"]
    assert endpoint["honorLabels"] is True
    (container,) = objects.pod("DaemonSet", "dcgm-exporter")["containers"]
    assert container["resources"]["limits"]["memory"] == "1Gi"


def test_prometheus_takes_every_monitor_and_scrapes_nothing_that_eks_hides() -> None:
    objects = rendered("kube-prometheus-stack")
    spec = objects.one("Prometheus", "kube-prometheus-stack-prometheus")["spec"]
    for selector in ("serviceMonitor", "podMonitor", "probe", "rule", "scrapeConfig"):
        assert spec[f"{selector}Selector"] == {}
    monitors = {one["metadata"]["name"] for one in objects if one["kind"] == "ServiceMonitor"}
    hidden = ("controller-manager", "scheduler", "etcd", "kube-proxy")
    assert not [name for name in monitors if name.endswith(hidden)]
    assert "PersistentVolumeClaim" not in objects.kinds()
    assert not [one for one in objects.kinds() if one.endswith("WebhookConfiguration")]


def test_controllers_run_as_the_accounts_that_their_roles_trust() -> None:
    accounts = charts.contract()["serviceAccounts"]
    for name, key in (
        ("aws-load-balancer-controller", "albController"),
        ("cluster-autoscaler", "clusterAutoscaler"),
    ):
        account = rendered(name).one("ServiceAccount", accounts[key])
        role = account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]
        assert role.startswith("arn:aws:iam::123456789012:role/")
        assert rendered(name).pod("Deployment", name)["serviceAccountName"] == accounts[key]


def test_no_webhook_stands_between_a_service_and_the_cluster() -> None:
    objects = rendered("aws-load-balancer-controller")
    webhooks = [
        one
        for found in objects
        if found["kind"] == "MutatingWebhookConfiguration"
        for one in found["webhooks"]
    ]
    assert webhooks
    assert not [one["name"] for one in webhooks if one["name"].startswith("mservice")]


def test_the_adapter_offers_the_metric_of_the_hpa() -> None:
    objects = rendered("prometheus-adapter")
    config = yaml.safe_load(objects.one("ConfigMap", "prometheus-adapter")["data"]["config.yaml"])
    (rule,) = config["rules"]
    spec = charts.triton().one("HorizontalPodAutoscaler")["spec"]
    assert rule["name"]["as"] == spec["metrics"][0]["pods"]["metric"]["name"]
