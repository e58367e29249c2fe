"""Releases at a scripted API server: real Helm installs them; waits, locks and removal."""

import base64
import gzip
import json
import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from helpers import programs
from helpers.cloud.account import Account
from helpers.cluster import helm, nodes, releases
from helpers.cluster.chart_checks import CHART
from helpers.cluster.client import Cluster
from helpers.cluster.contract import CONTRACT
from helpers.cluster.helm import Helm
from helpers.cluster.releases import Lock, Namespace, Release, Secret
from helpers.cluster.waits import Pace
from helpers.errors import Problem
from helpers.run import Run

from . import scenes
from .api_server import GLOBAL, Body, Server

pytestmark = pytest.mark.skipif(programs.find("helm") is None, reason="no helm: 'make setup'")
SOON, NEVER = Pace(timeout_s=20, every_s=0.05), Pace(timeout_s=0.1, every_s=0.05)


def release(*wait: str, **changes: str | None) -> Release:
    """A release; it may wait for an object of a kind and name until it is in a state."""
    waits = [dict(zip(("kind", "name", "until"), wait, strict=True))] if wait else []
    given = {"name": "r", "stage": "02", "chart": "c", "version": "1.0.0", "reason": "R.",
             "repository": "https://charts.invalid", "namespace": "kube-system", "digest": None,
             "waits": waits}  # fmt: skip
    return Release.model_validate(given | changes)


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
    ("Node", "allocatable", ".*on 0 of 1 GPU nodes",
     [scenes.node("gpu-1", gpu=True, gpus=count) for count in (0, 1)]),
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


@pytest.mark.parametrize(
    ("kind", "seen"),
    [("DaemonSet", "0 Ready of 0 wanted, on 0 GPU nodes"), ("Node", "on 0 of 0 GPU nodes")],
)
def test_without_a_gpu_node_nothing_for_them_is_there(
    server: Server, cluster: Cluster, kind: str, seen: str
) -> None:
    server.put(scenes.daemon_set("d", 0, 0))
    with pytest.raises(Problem, match=seen):
        releases.wait_for_release(cluster, release(kind, "d", "on every GPU node"), NEVER)


def test_a_kind_that_nothing_can_wait_for_is_refused() -> None:
    with pytest.raises(ValidationError, match="kind"):
        release("Moon", "d", "full")


PLUGIN = "nvidia-device-plugin"


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
    assert Helm(cluster).state(PLUGIN, "kube-system") == ("deployed", 2)
    assert releases.uninstall(patient, cluster) == ((PLUGIN,), ())
    assert server.get("ConfigMap", PLUGIN) is None
    assert Helm(cluster).state(PLUGIN, "kube-system") is None
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
    first = server.get("Secret", "grafana")
    releases.prepare(cluster, lock)
    assert first and server.get("Secret", "grafana") == first
    assert base64.b64decode(first["data"]["user"]) == b"admin"
    assert len(base64.b64decode(first["data"]["password"])) >= releases.PASSWORD_BYTES
    made = server.get("Namespace", "new")
    assert made and made["metadata"]["labels"]["a"] == "b"


IMAGE = "r/x@sha256:" + "1" * 64


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """The chart's CPU values with an image."""
    chosen = tmp_path / "image.yaml"
    chosen.write_text(json.dumps({"image": releases.image_parts(IMAGE)}))
    return [CONTRACT, CHART / "values-cpu.yaml", chosen]


@pytest.mark.parametrize("status", ["pending-install", "pending-upgrade"])
def test_a_release_that_is_stuck_is_explained_before_anything_is_tried(
    server: Server, cluster: Cluster, files: list[Path], status: str
) -> None:
    server.put(_stored_release(status))
    with pytest.raises(Problem, match=r"stuck in a pending state.*helm -n triton rollback triton"):
        Helm(cluster).apply("triton", CHART, "triton", files)
    assert not {method for method, _ in server.asked} & {"PATCH", "POST"}


def test_somebody_elses_change_is_named_with_field_and_manager(
    server: Server, cluster: Cluster, files: list[Path]
) -> None:
    conflict = 'Apply failed with 1 conflict: conflict with "kubectl-edit" using apps/v1: .spec.x'
    server.refuse("PATCH", "/deployments/triton$", 409, conflict)
    with pytest.raises(Problem, match=r"'kubectl-edit' has set \.spec\.x.*--force-conflicts"):
        Helm(cluster).apply("triton", CHART, "triton", files)


def test_a_missing_crd_and_a_dead_webhook_are_told_apart(
    server: Server, cluster: Cluster, files: list[Path], tmp_path: Path
) -> None:
    server.hidden.add("monitoring.coreos.com/v1")
    monitored = tmp_path / "m.yaml"
    monitored.write_text("serviceMonitor: {enabled: true}\n")
    with pytest.raises(
        Problem, match=r"does not know the kind ServiceMonitor.*Install the release"
    ):
        Helm(cluster).apply("triton", CHART, "triton", [*files, monitored])
    dead = 'failed calling webhook "m.elbv2.k8s.aws": no endpoints available for service "w"'
    server.refuse("PATCH", "/services/triton$", 500, dead)
    with pytest.raises(Problem, match=r"webhook m\.elbv2\.k8s\.aws does not answer"):
        Helm(cluster).apply("triton", CHART, "triton", files)


def test_the_api_server_judges_every_object_and_stores_none(
    server: Server, cluster: Cluster, files: list[Path]
) -> None:
    text = Helm().template("triton", CHART, "triton", files, "1.35")
    objects = [body for body in yaml.safe_load_all(text) if body]
    before = set(server.objects)
    judge, refusals = helm.server_dry_run(cluster, objects)
    assert refusals == [] and f"judged {len(objects)} objects" in judge
    invalid = 'Service "triton" is invalid: spec.ports: Required value'
    server.refuse("PATCH", "/services/triton$", 422, invalid)
    elsewhere = {**objects[0], "metadata": {"name": "x", "namespace": "nowhere"}}
    judge, refusals = helm.server_dry_run(cluster, [*objects, elsewhere])
    assert len(refusals) == 1 and "spec.ports: Required value" in refusals[0]
    assert "as it has no nowhere" in judge
    assert set(server.objects) == before


def _stored_release(status: str) -> dict[str, object]:
    """A release as Helm stores it: JSON, gzip, base64, in a Secret."""
    release = {
        "name": "triton", "namespace": "triton", "version": 1, "manifest": "",
        "info": {"status": status, "first_deployed": "2026-11-25T00:00:00Z"},
        "chart": {"metadata": {"name": "triton", "version": "1.0.0", "apiVersion": "v2"}},
    }  # fmt: skip
    packed = base64.b64encode(gzip.compress(json.dumps(release).encode()))
    labels = {"owner": "helm", "name": "triton", "status": status, "version": "1"}
    return scenes.body(
        "v1", "Secret", "sh.helm.release.v1.triton.v1", "triton", type="helm.sh/release.v1",
        labels=labels, data={"release": base64.b64encode(packed).decode()},
    )  # fmt: skip


def test_a_chart_is_locked_by_its_contents_or_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = scenes.chart(tmp_path / "source", "some")
    first, second = tmp_path / "first", tmp_path / "second"
    Helm()("Packaging", "package", str(source), "--destination", str(first))
    (source / "Chart.yaml").write_text("name: some\nversion: 1.0.0\napiVersion: v2\n")
    os.utime(source / "templates" / "map.yaml", (1, 1))
    Helm()("Packaging", "package", str(source), "--destination", str(second))
    archives = [folder / "some-1.0.0.tgz" for folder in (first, second)]
    assert archives[0].read_bytes() != archives[1].read_bytes()
    locked = helm.chart_contents(archives[0])
    assert helm.chart_contents(archives[1]) == locked
    monkeypatch.setenv(helm.LOCAL_CHARTS, str(second))
    assert helm.fetch_chart(release(chart="some", contents=locked)).compared.endswith("as locked")
    with pytest.raises(Problem, match=r"is not the locked one: its contents is"):
        helm.fetch_chart(release(chart="some", contents="sha256:" + "0" * 64))
    fetched = helm.fetch_chart(release(chart="some"))
    assert "not compared" in fetched.compared
    locked_by_digest = release(chart="some", digest=fetched.digest)
    assert helm.fetch_chart(locked_by_digest).compared.endswith("as locked")
    with pytest.raises(Problem, match="is not the locked one: its digest is"):
        helm.fetch_chart(release(chart="some", digest="sha256:" + "0" * 64))


def test_values_that_ask_for_what_is_not_known_are_named(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("a: {{ outputs.nothing }}\n")
    with pytest.raises(Problem, match=r"x\.yaml cannot be filled.*nothing"):
        releases.fill(file, {"outputs": {}})
    with pytest.raises(Problem, match="has no release 'gone'"):
        Lock.load().named("gone")
    with pytest.raises(Problem, match="not named by its digest"):
        releases.image_parts("r/x:latest")
