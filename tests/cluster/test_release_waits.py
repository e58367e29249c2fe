"""What a release is waited for: each kind of object, before it is there, and once it is."""

import base64
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import programs
from helpers.cloud.account import Account
from helpers.cluster import helm, nodes, releases
from helpers.cluster.client import Cluster
from helpers.cluster.contract import CONTRACT
from helpers.cluster.helm import Helm
from helpers.cluster.releases import Lock, Namespace, Release, Secret, Wait
from helpers.cluster.waits import Pace
from helpers.errors import Problem
from helpers.run import Run

from . import scenes
from .api_server import GLOBAL, Body, Server

SOON, NEVER = Pace(timeout_s=20, every_s=0.05), Pace(timeout_s=0.1, every_s=0.05)


def release(kind: str, name: str, until: str) -> Release:
    return Release(
        name="r", stage="02", chart="c", version="1.0.0", repository="https://charts.invalid",
        namespace="kube-system", reason="R.", waits=(Wait(kind=kind, name=name, until=until),),
    )  # fmt: skip


def deployment(available: int) -> Body:
    made = scenes.deployment(available=available)
    made["metadata"] |= {"name": "d", "namespace": "kube-system"}
    return made


def thing(version: str, kind: str, **parts: Any) -> Body:
    space = "" if kind in GLOBAL.get(version, "") else "kube-system"
    return scenes.body(version, kind, "d", space, **parts)


def conditioned(version: str, kind: str, condition: str) -> list[Body]:
    """An object before it is in a condition, and in it."""
    conditions = ({"type": condition, "status": status} for status in ("False", "True"))
    return [thing(version, kind, spec={}, status={"conditions": [each]}) for each in conditions]


def endpoints(ready: bool) -> Body:
    return thing(
        "discovery.k8s.io/v1", "EndpointSlice", addressType="IPv4",
        labels={"kubernetes.io/service-name": "d"},
        endpoints=[{"addresses": ["192.0.2.1"], "conditions": {"ready": ready}}],
    )  # fmt: skip


# kind and state that is waited for, what the message says meanwhile, the object before and after
CASES: list[tuple[str, str, str, list[Body]]] = [
    ("Deployment", "available", "", [deployment(count) for count in (0, 1)]),
    ("StatefulSet", "ready", "",
     [thing("apps/v1", "StatefulSet", spec={"replicas": 1}, status={"readyReplicas": count})
      for count in (0, 1)]),
    ("CustomResourceDefinition", "established", "",
     conditioned("apiextensions.k8s.io/v1", "CustomResourceDefinition", "Established")),
    ("APIService", "available", "",
     conditioned("apiregistration.k8s.io/v1", "APIService", "Available")),
    ("Endpoints", "ready", "", [endpoints(ready) for ready in (False, True)]),
    # Helm is content with it: it wants no pod, and has none
    ("DaemonSet", "on every GPU node", ".*0 Ready of 0 wanted, on 1 GPU nodes",
     [scenes.daemon_set("d", count, count) for count in (0, 1)]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "until", "meanwhile", "bodies"), CASES)
def test_what_is_missing_is_waited_for_and_named_and_then_lets_the_next_begin(
    server: Server, cluster: Cluster, kind: str, until: str, meanwhile: str, bodies: list[Body]
) -> None:
    before, after = deepcopy(bodies)
    waiting = release(kind, "d", until)
    server.put(scenes.node("gpu-1", gpu=True, gpus=1), before)
    with pytest.raises(Problem, match=f"r: {kind} d {until}{meanwhile}"):
        releases.wait_for_release(cluster, waiting, NEVER)
    server.put(after)
    releases.wait_for_release(cluster, waiting, SOON)


def test_gpus_are_waited_for_on_the_nodes_themselves(server: Server, cluster: Cluster) -> None:
    wanted = release("Node", "nvidia.com/gpu", "allocatable")
    with pytest.raises(Problem, match="on 0 of 0 GPU nodes"):
        releases.wait_for_release(cluster, wanted, NEVER)
    server.put(scenes.node("gpu-1", gpu=True))
    with pytest.raises(Problem, match="on 0 of 1 GPU nodes"):
        releases.wait_for_release(cluster, wanted, NEVER)
    server.put(scenes.node("gpu-1", gpu=True, gpus=1))
    releases.wait_for_release(cluster, wanted, SOON)


def test_without_a_gpu_node_a_daemon_set_for_them_is_not_there(
    server: Server, cluster: Cluster
) -> None:
    server.put(scenes.daemon_set("d", 0, 0))
    with pytest.raises(Problem, match="0 Ready of 0 wanted, on 0 GPU nodes"):
        releases.wait_for_release(cluster, release("DaemonSet", "d", "on every GPU node"), NEVER)


def test_a_kind_that_nothing_can_wait_for_is_refused(cluster: Cluster) -> None:
    with pytest.raises(Problem, match="waits for a Moon"):
        releases.wait_for_release(cluster, release("Moon", "d", "full"), NEVER)


PLUGIN = "nvidia-device-plugin"


@pytest.mark.skipif(programs.find("helm") is None, reason="no helm: 'make setup'")
def test_a_release_is_installed_with_its_values_then_waited_for_and_removed(
    server: Server, cluster: Cluster, account: Account, patient: Run, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    locked = Lock.load().named(PLUGIN)
    shown = "{selector: {{ .Values.nodeSelector | toJson | quote }}}"
    source = scenes.chart(tmp_path / "source", PLUGIN, locked.version, shown)
    Helm()("Packaging", "package", str(source), "--destination", str(tmp_path))
    archive = tmp_path / f"{PLUGIN}-{locked.version}.tgz"
    release = locked.model_copy(update={"digest": None, "contents": helm.chart_contents(archive)})
    lock = Lock(namespaces=(), releases=(release,))
    monkeypatch.setattr(Lock, "load", classmethod(lambda cls: lock))
    contract = {"contract": yaml.safe_load(CONTRACT.read_text())}
    monkeypatch.setattr(releases, "values_facts", lambda run, account: contract)
    monkeypatch.setenv(helm.LOCAL_CHARTS, str(tmp_path))
    server.put(scenes.node("gpu-1", gpu=True, gpus=1), scenes.daemon_set(PLUGIN, 1, 1))
    server.autoscale(count=2)  # the first look finds the nodes to hold
    record = releases.install(patient, cluster, account)
    assert [(done.name, done.label) for done in record.releases] == [(PLUGIN, "RAN")]
    assert patient.load(type(record)) == record
    made = server.get("ConfigMap", PLUGIN)
    assert made and "accelerator" in made["data"]["selector"]
    releases.install(patient, cluster, account)
    assert Helm.for_cluster(cluster).state(PLUGIN, "kube-system") == ("deployed", 2)
    assert releases.uninstall(patient, cluster) == ((PLUGIN,), ())
    assert server.get("ConfigMap", PLUGIN) is None
    assert Helm.for_cluster(cluster).state(PLUGIN, "kube-system") is None
    assert releases.uninstall(patient, cluster) == ((), ())


def test_a_gpu_node_is_held_until_it_is_let_go(server: Server, cluster: Cluster) -> None:
    server.put(scenes.node("system"), scenes.node("gpu-1", gpu=True, gpus=1))
    nodes.hold(cluster)
    server.autoscale(count=2)
    assert [node.name for node in nodes.read_nodes(cluster)] == ["gpu-1", "system"]
    assert "gpu-1" in nodes.let_go(cluster)
    server.autoscale(count=4)
    assert [node.name for node in nodes.read_nodes(cluster)] == ["system"]
    assert "no GPU node was held" in nodes.let_go(None)


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
    secret = server.get("Secret", "grafana")
    assert secret
    data: dict[str, Any] = secret["data"]
    return data
