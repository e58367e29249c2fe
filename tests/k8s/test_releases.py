"""The lock file of upstream charts, and their values files."""

import re
from pathlib import Path

import pytest
import yaml

from tests.k8s import charts
from tests.k8s.charts import Object

VALUES = charts.K8S / "values"
OURS = ("triton", "observability")
UPSTREAM = [name for name in charts.releases() if name not in OURS]
# where a digest that nobody computed comes from → how k8s/README.md says it
NOT_COMPUTED = {
    "its repository's index": "repository's index",
    "other projects' locks": "not computed here",
}
WAITS = {
    ("Deployment", "available"),
    ("Deployment", "rolled out"),
    ("StatefulSet", "ready"),
    ("DaemonSet", "on every GPU node"),
    ("Endpoints", "ready"),
    ("CustomResourceDefinition", "established"),
    ("APIService", "available"),
    ("Node", "allocatable"),
    ("Ingress", "address"),
}


@pytest.mark.parametrize("name", UPSTREAM)
def test_an_upstream_release_is_pinned(name: str) -> None:
    release = charts.releases()[name]
    assert re.fullmatch(r"\d+\.\d+\.\d+", release["version"])
    assert re.match(r"https://|oci://", release["repository"])
    if release["digest"] is None:
        assert release["unproven"]
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", release["contents"])
        assert "digest_from" not in release
    else:
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", release["digest"])
        assert release["digest_from"] in ("computed", *NOT_COMPUTED)


def test_the_readme_says_which_digests_were_not_computed() -> None:
    readme = (charts.K8S / "README.md").read_text()
    (said,) = (line for line in readme.splitlines() if line.startswith("Digests are"))
    for name in UPSTREAM:
        origin = charts.releases()[name].get("digest_from", "none")
        told = {"computed": "computed from", "none": "has none", **NOT_COMPUTED}[origin]
        assert any(name in part and told in part for part in re.split(r"[.;] ", said)), name


@pytest.mark.parametrize("name", charts.releases())
def test_a_release_says_why_it_is_there_and_what_is_waited_for(name: str) -> None:
    release = charts.releases()[name]
    assert release["reason"].endswith(".")
    assert release["namespace"] in charts.contract()["namespaces"].values()
    for wait in release["waits"]:
        assert (wait["kind"], wait["until"]) in WAITS


def _before(first: str, second: str) -> bool:
    names = list(charts.releases())
    return names.index(first) < names.index(second)


def test_what_others_need_comes_first() -> None:
    assert next(iter(charts.releases())) == "aws-load-balancer-controller"
    for monitored in ("dcgm-exporter", "triton", "observability"):  # have CRDs of the operator
        assert _before("kube-prometheus-stack", monitored)
    assert _before("nvidia-device-plugin", "dcgm-exporter")
    assert _before("prometheus-adapter", "triton")


def test_the_device_plugin_is_done_when_gpus_are_allocatable() -> None:
    gate = {"kind": "Node", "name": charts.contract()["gpu"]["resource"], "until": "allocatable"}
    assert gate in charts.releases()["nvidia-device-plugin"]["waits"]


def test_tritons_namespace_is_restricted_and_gates_readiness_on_the_load_balancer() -> None:
    found = {one["name"]: one["labels"] for one in charts.lock()["namespaces"]}
    labels = found[charts.contract()["namespaces"]["triton"]]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert labels["elbv2.k8s.aws/pod-readiness-gate-inject"] == "enabled"


@pytest.mark.parametrize("path", sorted(VALUES.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_values_file_is_filled_by_expressions_alone(path: Path) -> None:
    assert path.stem in charts.releases()
    assert "{%" not in path.read_text()
    assert isinstance(yaml.safe_load(charts.filled(path)), dict)


@pytest.mark.parametrize("name", UPSTREAM)
def test_every_value_that_differs_has_a_reason_beside_it(name: str) -> None:
    lines = (VALUES / f"{name}.yaml").read_text().splitlines()
    reasons = 0
    for number, line in enumerate(lines):
        top = re.match(r"[a-zA-Z-]+:", line)
        if not top:
            continue
        block = [line, *_inner(lines[number + 1 :])]
        assert any("#" in one for one in block), f"{name}: {line}"
        reasons += 1
    assert reasons


def _inner(lines: list[str]) -> list[str]:
    end = next((i for i, one in enumerate(lines) if not one.startswith(" ")), len(lines))
    return lines[:end]


def test_gpu_daemonsets_are_aimed_by_the_contract() -> None:
    gpu = charts.contract()["gpu"]
    for name, node, taints in (
        ("nvidia-device-plugin", "nodeSelector", "tolerations"),
        ("dcgm-exporter", "nodeSelector", "tolerations"),
        ("aws-node-termination-handler", "daemonsetNodeSelector", "daemonsetTolerations"),
    ):
        values: Object = yaml.safe_load(charts.filled(VALUES / f"{name}.yaml"))
        assert values[node] == {gpu["label"]["key"]: gpu["label"]["value"]}
        assert values[taints] == [{**gpu["taint"], "operator": "Equal"}]


def test_our_own_values_install_tritons_chart(tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(charts.filled(VALUES / "triton.yaml"))
    objects = charts.triton(values=(charts.CONTRACT, path))
    assert {"Ingress", "HorizontalPodAutoscaler", "ServiceMonitor"} <= objects.kinds()
    assert objects.server()["image"] == f"registry.example/gpu-e2e@sha256:{'2' * 64}"
    assert "annotations" not in objects.one("ServiceAccount")["metadata"]
