"""The real Helm against a scripted API server: installed, upgraded, stuck, removed."""

import base64
import gzip
import json
import os
import tarfile
from pathlib import Path

import pytest

from helpers import programs
from helpers.cluster import charts, dry_run, lock, values
from helpers.cluster.client import Cluster
from helpers.cluster.contract import CONTRACT
from helpers.cluster.helm import Helm
from helpers.cluster.lock import Lock, Release
from helpers.cluster.rendering import CHART
from helpers.errors import Problem

from . import scenes
from .api_server import Server

pytestmark = pytest.mark.skipif(programs.find("helm") is None, reason="no helm: 'make setup'")
IMAGE = "r/x@sha256:" + "1" * 64


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """The chart's CPU values with an image."""
    chosen = tmp_path / "image.yaml"
    chosen.write_text(json.dumps({"image": values.image_parts(IMAGE)}))
    return [CONTRACT, dry_run.CPU_VALUES, chosen]


def test_a_release_is_installed_upgraded_and_removed(
    server: Server, cluster: Cluster, files: list[Path]
) -> None:
    helm = Helm.of(cluster)
    assert helm.state("triton", "triton") is None
    assert helm.apply("triton", CHART, "triton", files).revision == 1
    made = server.get("Deployment", "triton")
    assert made and made["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE
    assert helm.apply("triton", CHART, "triton", files).revision == 2
    assert helm.remove("triton", "triton") and not helm.remove("triton", "triton")
    assert server.get("Deployment", "triton") is None


@pytest.mark.parametrize("status", ["pending-install", "pending-upgrade"])
def test_a_release_that_is_stuck_is_explained_before_anything_is_tried(
    server: Server, cluster: Cluster, files: list[Path], status: str
) -> None:
    server.put(_stored_release(status))
    with pytest.raises(Problem, match=r"stuck in a pending state.*helm -n triton rollback triton"):
        Helm.of(cluster).apply("triton", CHART, "triton", files)
    assert not [one for one in server.asked if one[0] in ("PATCH", "POST")]


def test_somebody_elses_change_is_named_with_field_and_manager(
    server: Server, cluster: Cluster, files: list[Path]
) -> None:
    said = 'Apply failed with 1 conflict: conflict with "kubectl-edit" using apps/v1: .spec.x'
    server.refuse("PATCH", "/deployments/triton$", 409, said)
    with pytest.raises(Problem, match=r"'kubectl-edit' has set \.spec\.x.*--force-conflicts"):
        Helm.of(cluster).apply("triton", CHART, "triton", files)


def test_a_missing_crd_and_a_dead_webhook_are_told_apart(
    server: Server, cluster: Cluster, files: list[Path], tmp_path: Path
) -> None:
    server.hidden.add("monitoring.coreos.com/v1")
    monitored = tmp_path / "m.yaml"
    monitored.write_text("serviceMonitor: {enabled: true}\n")
    with pytest.raises(
        Problem, match=r"does not know the kind ServiceMonitor.*Install the release"
    ):
        Helm.of(cluster).apply("triton", CHART, "triton", [*files, monitored])
    dead = 'failed calling webhook "m.elbv2.k8s.aws": no endpoints available for service "w"'
    server.refuse("PATCH", "/services/triton$", 500, dead)
    with pytest.raises(Problem, match=r"webhook m\.elbv2\.k8s\.aws does not answer"):
        Helm.of(cluster).apply("triton", CHART, "triton", files)


def test_a_dry_run_asks_for_every_object_and_stores_none(server: Server, cluster: Cluster) -> None:
    before = set(server.objects)
    good, bad = scenes.deployment(), scenes.ingress("bad")
    said = 'Ingress "bad" is invalid: spec.rules: Required value'
    server.refuse("PATCH", "/ingresses/bad$", 422, said)
    unknown = {"apiVersion": "x.y/v1", "kind": "Nothing", "metadata": {"name": "n"}}
    answer = dry_run.ask(cluster, [good, bad, unknown])
    (refused,) = answer.refused
    assert (refused.object, refused.field) == ("Ingress triton/bad", "spec.rules")
    assert [one.kind for one in answer.unknown] == ["Nothing"]
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
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "helm.sh/release.v1",
        "metadata": {"name": "sh.helm.release.v1.triton.v1", "namespace": "triton",
                     "labels": labels},
        "data": {"release": base64.b64encode(packed).decode()},
    }  # fmt: skip


def _release(**changes: str | None) -> Release:
    given = {"name": "c", "stage": "02", "chart": "c", "version": "1.0.0", "namespace": "n",
             "repository": "https://charts.invalid", "reason": "r", "digest": None}  # fmt: skip
    return Release.model_validate(given | changes)


def test_a_chart_may_be_locked_by_its_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source" / "some"
    (source / "templates").mkdir(parents=True)
    (source / "Chart.yaml").write_text("apiVersion: v2\nname: some\nversion: 1.0.0\n")
    (source / "templates" / "one.yaml").write_text("kind: ConfigMap\n")
    first, second = tmp_path / "first", tmp_path / "second"
    Helm()("Packaging", "package", str(source), "--destination", str(first))
    (source / "Chart.yaml").write_text("name: some\nversion: 1.0.0\napiVersion: v2\n")
    os.utime(source / "templates" / "one.yaml", (1, 1))
    Helm()("Packaging", "package", str(source), "--destination", str(second))
    archives = [folder / "some-1.0.0.tgz" for folder in (first, second)]
    assert archives[0].read_bytes() != archives[1].read_bytes()
    locked = charts.contents(archives[0])
    assert charts.contents(archives[1]) == locked
    monkeypatch.setenv(charts.LOCAL, str(second))
    release = _release(chart="some", version="1.0.0", contents=locked)
    assert charts.fetch(release).compared.endswith("as locked")
    with pytest.raises(Problem, match=r"is not the locked one: its contents is"):
        charts.fetch(_release(chart="some", version="1.0.0", contents="sha256:" + "0" * 64))


def test_a_chart_with_another_digest_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "c-1.0.0.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(CHART / "Chart.yaml", "c/Chart.yaml")
    monkeypatch.setenv(charts.LOCAL, str(tmp_path))
    found = charts.fetch(_release())
    assert "not compared" in found.compared
    assert charts.fetch(_release(digest=found.digest)).compared.endswith("as locked")
    with pytest.raises(Problem, match="is not the locked one"):
        charts.fetch(_release(digest="sha256:" + "0" * 64))


def test_the_lock_file_is_filled_from_the_contract_and_in_order() -> None:
    found = Lock.load()
    names = [one.name for one in found.releases]
    assert names.index("aws-load-balancer-controller") < names.index("triton")
    assert names.index("kube-prometheus-stack") < names.index("dcgm-exporter")
    assert found.named("triton").own and found.named("nvidia-device-plugin").namespace
    with pytest.raises(Problem, match="has no release 'gone'"):
        found.named("gone")


def test_values_that_ask_for_what_is_not_known_are_named(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("a: {{ outputs.nothing }}\n")
    with pytest.raises(Problem, match=r"x\.yaml cannot be filled.*nothing"):
        lock.fill(file, {"outputs": {}})
    with pytest.raises(Problem, match="not named by its digest"):
        values.image_parts("r/x:latest")
