"""What a release is waited for: each kind of object, before it is there, and once it is."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import programs
from helpers.cloud.account import Account
from helpers.cluster import helm, releases
from helpers.cluster.client import Cluster
from helpers.cluster.contract import CONTRACT
from helpers.cluster.helm import Helm
from helpers.cluster.releases import Lock, Namespace, Release, Secret, Wait
from helpers.cluster.waits import Pace
from helpers.errors import Problem
from helpers.run import Run

from . import scenes
from .api_server import Body, Server

SOON, NEVER = Pace(timeout_s=20, every_s=0.05), Pace(timeout_s=0.1, every_s=0.05)


def release(kind: str, name: str, until: str) -> Release:
    return Release(
        name="r", stage="02", chart="c", version="1.0.0", repository="https://charts.invalid",
        namespace="kube-system", reason="R.", waits=(Wait(kind=kind, name=name, until=until),),
    )  # fmt: skip


def daemon_set(wanted: int, ready: int) -> Body:
    return {
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "d", "namespace": "kube-system"},
        "status": {"desiredNumberScheduled": wanted, "numberReady": ready},
    }  # fmt: skip


def deployment(available: int) -> Body:
    made = scenes.deployment(available=available)
    made["metadata"] |= {"name": "d", "namespace": "kube-system"}
    return made


def stateful_set(ready: int) -> Body:
    return {
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "d", "namespace": "kube-system"},
        "spec": {"replicas": 1}, "status": {"readyReplicas": ready},
    }  # fmt: skip


def conditioned(version: str, kind: str, condition: str, status: str) -> Body:
    return {
        "apiVersion": version, "kind": kind, "metadata": {"name": "d"},
        "spec": {}, "status": {"conditions": [{"type": condition, "status": status,
                                               "message": "not yet"}]},
    }  # fmt: skip


def crd(status: str) -> Body:
    kind = "CustomResourceDefinition"
    return conditioned("apiextensions.k8s.io/v1", kind, "Established", status)


def api_service(status: str) -> Body:
    return conditioned("apiregistration.k8s.io/v1", "APIService", "Available", status)


def endpoints(ready: bool) -> Body:
    labels = {"kubernetes.io/service-name": "d"}
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "d-1", "namespace": "kube-system", "labels": labels},
        "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": ready}}],
    }  # fmt: skip


CASES: dict[str, tuple[Wait, Body, Body]] = {
    "Deployment": (Wait(kind="Deployment", name="d", until="available"),
                   deployment(0), deployment(1)),
    "StatefulSet": (Wait(kind="StatefulSet", name="d", until="ready"),
                    stateful_set(0), stateful_set(1)),
    "CRD": (Wait(kind="CustomResourceDefinition", name="d", until="established"),
            crd("False"), crd("True")),
    "APIService": (Wait(kind="APIService", name="d", until="available"),
                   api_service("False"), api_service("True")),
    "Endpoints": (Wait(kind="Endpoints", name="d", until="ready"),
                  endpoints(False), endpoints(True)),
    "DaemonSet": (Wait(kind="DaemonSet", name="d", until="on every GPU node"),
                  daemon_set(0, 0), daemon_set(1, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_missing_is_waited_for_and_named_and_then_lets_the_next_begin(
    server: Server, cluster: Cluster, name: str
) -> None:
    one, before, after = CASES[name]
    waiting = release(one.kind, one.name, one.until)
    server.put(scenes.node("gpu-1", gpu=True, gpus=1), before)
    with pytest.raises(Problem, match=f"r: {one.kind} {one.name} {one.until}"):
        releases.wait_for_release(cluster, waiting, NEVER)
    server.put(after)
    releases.wait_for_release(cluster, waiting, SOON)


def test_a_daemon_set_that_runs_nowhere_is_not_enough(server: Server, cluster: Cluster) -> None:
    """Helm is content with it: it wants no pod, and has none."""
    server.put(scenes.node("gpu-1", gpu=True, gpus=1), daemon_set(0, 0))
    with pytest.raises(Problem, match="0 Ready of 0 wanted, on 1 GPU nodes"):
        releases.wait_for_release(cluster, release("DaemonSet", "d", "on every GPU node"), NEVER)


@pytest.mark.parametrize(("gpus", "comes"), [(0, False), (1, True)])
def test_gpus_are_waited_for_on_the_nodes_themselves(
    server: Server, cluster: Cluster, gpus: int, comes: bool
) -> None:
    server.put(scenes.node("gpu-1", gpu=True, gpus=gpus))
    wanted = release("Node", "nvidia.com/gpu", "allocatable")
    if comes:
        releases.wait_for_release(cluster, wanted, SOON)
    else:
        with pytest.raises(Problem, match="on 0 of 1 GPU nodes"):
            releases.wait_for_release(cluster, wanted, NEVER)


def test_a_kind_that_nothing_can_wait_for_is_refused(cluster: Cluster) -> None:
    with pytest.raises(Problem, match="waits for a Moon"):
        releases.wait_for_release(cluster, release("Moon", "d", "full"), NEVER)


def test_every_wait_of_the_lock_file_can_be_waited_for() -> None:
    known = {*releases.KINDS, "Node", "Endpoints"}
    upstream = [one for one in Lock.load().releases if not one.own]
    assert upstream and {one.kind for found in upstream for one in found.waits} <= known


PLUGIN = "nvidia-device-plugin"


def packaged(folder: Path, name: str, version: str) -> None:
    """A chart of one ConfigMap that shows a value it was given."""
    source = folder / "source" / name
    (source / "templates").mkdir(parents=True)
    (source / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: {version}\n")
    shown = "{{ .Values.nodeSelector | toJson | quote }}"
    (source / "templates" / "one.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: shown\n"
        f"  namespace: kube-system\ndata:\n  selector: {shown}\n"
    )
    Helm()("Packaging", "package", str(source), "--destination", str(folder))


@pytest.mark.skipif(programs.find("helm") is None, reason="no helm: 'make setup'")
def test_a_release_is_installed_with_its_values_then_waited_for_and_removed(
    server: Server, cluster: Cluster, account: Account, patient: Run, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    locked = Lock.load().named(PLUGIN)
    packaged(tmp_path, PLUGIN, locked.version)
    archive = tmp_path / f"{PLUGIN}-{locked.version}.tgz"
    one = locked.model_copy(update={"digest": None, "contents": helm.chart_contents(archive)})
    lock = Lock(namespaces=(), releases=(one,))
    monkeypatch.setattr(Lock, "load", classmethod(lambda cls: lock))
    contract = {"contract": yaml.safe_load(CONTRACT.read_text())}
    monkeypatch.setattr(releases, "values_facts", lambda run, account: contract)
    monkeypatch.setenv(helm.LOCAL_CHARTS, str(tmp_path))
    plugin = daemon_set(1, 1)
    plugin["metadata"]["name"] = PLUGIN
    server.put(scenes.node("gpu-1", gpu=True, gpus=1), plugin)
    found = releases.install(patient, cluster, account)
    assert [(done.name, done.label) for done in found.releases] == [(PLUGIN, "REAL")]
    assert patient.load(type(found)) == found
    made = server.get("ConfigMap", "shown")
    assert made and "accelerator" in made["data"]["selector"]
    assert releases.uninstall(patient, cluster) == ((PLUGIN,), ())
    assert server.get("ConfigMap", "shown") is None


def test_namespaces_and_secrets_are_made_once(server: Server, cluster: Cluster) -> None:
    lock = Lock(
        namespaces=(Namespace(name="new", labels={"a": "b"}),),
        secrets=(Secret(name="grafana", namespace="new", keys={"user": "admin",
                                                               "password": "random"}),),
        releases=(),
    )  # fmt: skip
    releases.prepare(cluster, lock)
    first = _secret(server)
    releases.prepare(cluster, lock)
    assert _secret(server) == first
    assert base64.b64decode(first["user"]) == b"admin"
    assert len(base64.b64decode(first["password"])) >= releases.PASSWORD_BYTES
    made = server.get("Namespace", "new")
    assert made and made["metadata"]["labels"]["a"] == "b"


def _secret(server: Server) -> dict[str, Any]:
    found = server.get("Secret", "grafana")
    assert found
    data: dict[str, Any] = found["data"]
    return data
