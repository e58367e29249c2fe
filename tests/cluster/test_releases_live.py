"""The real Helm against a scripted API server: installed, upgraded, stuck, removed."""

import base64
import gzip
import json
import os
from pathlib import Path

import pytest
import yaml

from helpers import programs
from helpers.cluster import helm, releases
from helpers.cluster.chart_checks import CHART
from helpers.cluster.client import Cluster
from helpers.cluster.contract import CONTRACT
from helpers.cluster.helm import Helm
from helpers.cluster.releases import Lock, Release
from helpers.errors import Problem

from . import scenes
from .api_server import Server

pytestmark = pytest.mark.skipif(programs.find("helm") is None, reason="no helm: 'make setup'")
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
        Helm.for_cluster(cluster).apply("triton", CHART, "triton", files)
    assert not {method for method, _ in server.asked} & {"PATCH", "POST"}


def test_somebody_elses_change_is_named_with_field_and_manager(
    server: Server, cluster: Cluster, files: list[Path]
) -> None:
    conflict = 'Apply failed with 1 conflict: conflict with "kubectl-edit" using apps/v1: .spec.x'
    server.refuse("PATCH", "/deployments/triton$", 409, conflict)
    with pytest.raises(Problem, match=r"'kubectl-edit' has set \.spec\.x.*--force-conflicts"):
        Helm.for_cluster(cluster).apply("triton", CHART, "triton", files)


def test_a_missing_crd_and_a_dead_webhook_are_told_apart(
    server: Server, cluster: Cluster, files: list[Path], tmp_path: Path
) -> None:
    server.hidden.add("monitoring.coreos.com/v1")
    monitored = tmp_path / "m.yaml"
    monitored.write_text("serviceMonitor: {enabled: true}\n")
    with pytest.raises(
        Problem, match=r"does not know the kind ServiceMonitor.*Install the release"
    ):
        Helm.for_cluster(cluster).apply("triton", CHART, "triton", [*files, monitored])
    dead = 'failed calling webhook "m.elbv2.k8s.aws": no endpoints available for service "w"'
    server.refuse("PATCH", "/services/triton$", 500, dead)
    with pytest.raises(Problem, match=r"webhook m\.elbv2\.k8s\.aws does not answer"):
        Helm.for_cluster(cluster).apply("triton", CHART, "triton", files)


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


def _release(**changes: str | None) -> Release:
    given = {"name": "c", "stage": "02", "chart": "c", "version": "1.0.0", "namespace": "n",
             "repository": "https://charts.invalid", "reason": "r", "digest": None}  # fmt: skip
    return Release.model_validate(given | changes)


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
    release = _release(chart="some", contents=locked)
    assert helm.fetch_chart(release).compared.endswith("as locked")
    with pytest.raises(Problem, match=r"is not the locked one: its contents is"):
        helm.fetch_chart(_release(chart="some", contents="sha256:" + "0" * 64))
    fetched = helm.fetch_chart(_release(chart="some"))
    assert "not compared" in fetched.compared
    locked_by_digest = _release(chart="some", digest=fetched.digest)
    assert helm.fetch_chart(locked_by_digest).compared.endswith("as locked")
    with pytest.raises(Problem, match="is not the locked one: its digest is"):
        helm.fetch_chart(_release(chart="some", digest="sha256:" + "0" * 64))


def test_values_that_ask_for_what_is_not_known_are_named(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("a: {{ outputs.nothing }}\n")
    with pytest.raises(Problem, match=r"x\.yaml cannot be filled.*nothing"):
        releases.fill(file, {"outputs": {}})
    with pytest.raises(Problem, match="has no release 'gone'"):
        Lock.load().named("gone")
    with pytest.raises(Problem, match="not named by its digest"):
        releases.image_parts("r/x:latest")
