"""What a release is waited for: each kind of object, before it is there, and once it is."""

import base64
from copy import deepcopy
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
    return scenes.daemon_set("d", wanted, ready)


def deployment(available: int) -> Body:
    made = scenes.deployment(available=available)
    made["metadata"] |= {"name": "d", "namespace": "kube-system"}
    return made


def stateful_set(ready: int) -> Body:
    status = {"readyReplicas": ready}
    return scenes.body(
        "apps/v1", "StatefulSet", "d", "kube-system", spec={"replicas": 1}, status=status
    )


def conditioned(version: str, kind: str, condition: str, status: str) -> Body:
    conditions = [{"type": condition, "status": status, "message": "not yet"}]
    return scenes.body(version, kind, "d", spec={}, status={"conditions": conditions})


def crd(status: str) -> Body:
    kind = "CustomResourceDefinition"
    return conditioned("apiextensions.k8s.io/v1", kind, "Established", status)


def api_service(status: str) -> Body:
    return conditioned("apiregistration.k8s.io/v1", "APIService", "Available", status)


def endpoints(ready: bool) -> Body:
    return scenes.body(
        "discovery.k8s.io/v1", "EndpointSlice", "d-1", "kube-system", addressType="IPv4",
        labels={"kubernetes.io/service-name": "d"},
        endpoints=[{"addresses": ["192.0.2.1"], "conditions": {"ready": ready}}],
    )  # fmt: skip


# kind and state that is waited for, the object before and after, and what is said meanwhile
CASES: list[tuple[str, str, Body, Body, str]] = [
    ("Deployment", "available", deployment(0), deployment(1), ""),
    ("StatefulSet", "ready", stateful_set(0), stateful_set(1), ""),
    ("CustomResourceDefinition", "established", crd("False"), crd("True"), ""),
    ("APIService", "available", api_service("False"), api_service("True"), ""),
    ("Endpoints", "ready", endpoints(False), endpoints(True), ""),
    # Helm is content with it: it wants no pod, and has none
    ("DaemonSet", "on every GPU node", daemon_set(0, 0), daemon_set(1, 1),
     ".*0 Ready of 0 wanted, on 1 GPU nodes"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "until", "before", "after", "meanwhile"), CASES)
def test_what_is_missing_is_waited_for_and_named_and_then_lets_the_next_begin(
    server: Server, cluster: Cluster, kind: str, until: str, before: Body, after: Body,
    meanwhile: str,
) -> None:  # fmt: skip
    waiting = release(kind, "d", until)
    server.put(scenes.node("gpu-1", gpu=True, gpus=1), deepcopy(before))
    with pytest.raises(Problem, match=f"r: {kind} d {until}{meanwhile}"):
        releases.wait_for_release(cluster, waiting, NEVER)
    server.put(deepcopy(after))
    releases.wait_for_release(cluster, waiting, SOON)


def test_gpus_are_waited_for_on_the_nodes_themselves(server: Server, cluster: Cluster) -> None:
    server.put(scenes.node("gpu-1", gpu=True))
    wanted = release("Node", "nvidia.com/gpu", "allocatable")
    with pytest.raises(Problem, match="on 0 of 1 GPU nodes"):
        releases.wait_for_release(cluster, wanted, NEVER)
    server.put(scenes.node("gpu-1", gpu=True, gpus=1))
    releases.wait_for_release(cluster, wanted, SOON)


def test_a_kind_that_nothing_can_wait_for_is_refused(cluster: Cluster) -> None:
    with pytest.raises(Problem, match="waits for a Moon"):
        releases.wait_for_release(cluster, release("Moon", "d", "full"), NEVER)


PLUGIN = "nvidia-device-plugin"


def packaged(folder: Path, name: str, version: str) -> None:
    """A chart of one ConfigMap that shows a value it was given."""
    source = folder / "source" / name
    (source / "templates").mkdir(parents=True)
    (source / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: {version}\n")
    shown = "{{ .Values.nodeSelector | toJson | quote }}"
    (source / "templates" / "map.yaml").write_text(
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
    release = locked.model_copy(update={"digest": None, "contents": helm.chart_contents(archive)})
    lock = Lock(namespaces=(), releases=(release,))
    monkeypatch.setattr(Lock, "load", classmethod(lambda cls: lock))
    contract = {"contract": yaml.safe_load(CONTRACT.read_text())}
    monkeypatch.setattr(releases, "values_facts", lambda run, account: contract)
    monkeypatch.setenv(helm.LOCAL_CHARTS, str(tmp_path))
    server.put(scenes.node("gpu-1", gpu=True, gpus=1), scenes.daemon_set(PLUGIN, 1, 1))
    record = releases.install(patient, cluster, account)
    assert [(done.name, done.label) for done in record.releases] == [(PLUGIN, "REAL")]
    assert patient.load(type(record)) == record
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
    secret = server.get("Secret", "grafana")
    assert secret
    data: dict[str, Any] = secret["data"]
    return data
