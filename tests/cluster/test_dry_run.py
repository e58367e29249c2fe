"""An installation into somebody's own cluster leaves nothing behind, however it ends."""

import pytest

from helpers import programs
from helpers.cluster import contract, dry_run, rollout_wait
from helpers.cluster.client import Cluster
from helpers.cluster.lock import Lock
from helpers.errors import Problem
from helpers.run import Run

from .api_server import Server

pytestmark = pytest.mark.skipif(programs.find("helm") is None, reason="no helm: 'make setup'")
IMAGE = "r.example/x@sha256:" + "1" * 64


def _kinds(server: Server) -> set[tuple[str, str]]:
    return {(body["kind"], body["metadata"]["name"]) for body in server.objects.values()}


def test_an_installation_that_fails_half_way_is_taken_back(
    server: Server, cluster: Cluster, patient: Run
) -> None:
    before = _kinds(server)
    server.refuse("PATCH", "/deployments/", 403, "deployments.apps is forbidden")
    with pytest.raises(Problem, match=r"The installation of triton-\w+ failed"):
        dry_run.install(patient, cluster, IMAGE, ["m"])
    # some of its objects were there, one of them of the whole cluster
    asked = {path.split("/")[-2] for method, path in server.asked if method == "DELETE"}
    assert {"services", "priorityclasses"} <= asked
    assert _kinds(server) == before


def test_its_namespace_is_judged_by_pod_security_as_tritons_own(
    server: Server, cluster: Cluster, patient: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, str]] = []

    def look(asked: Cluster, release: str, *_: object) -> int:
        made = server.get("Namespace", release)
        assert made is not None
        seen.append(made["metadata"]["labels"])
        raise Problem("far enough")

    monkeypatch.setattr(rollout_wait, "wait", look)
    with pytest.raises(Problem, match="far enough"):
        dry_run.install(patient, cluster, IMAGE, ["m"])
    own = contract.load().namespaces.triton
    (labels,) = [one.labels for one in Lock.load().namespaces if one.name == own]
    assert labels.items() <= seen[0].items() and labels
