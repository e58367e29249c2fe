"""Opt-in: a real API server answers deletions as the scripted one does.

`tests.cluster.control_plane` says what it needs.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from helpers.cluster import client, dry_run, removal, volumes
from helpers.cluster.client import Cluster
from helpers.cluster.waits import Pace

from . import control_plane, scenes
from .test_removal import claim, held, service, volume

pytestmark = pytest.mark.skipif(bool(control_plane.absent()), reason=control_plane.absent())
SOON = Pace(60, 0.1, lambda _: None)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with control_plane.running(tmp_path_factory.mktemp("control-plane")) as config:
        found = client.of_context(control_plane.CONTEXT, str(config))
        for name in ("triton", "monitoring"):
            client.ensure_namespace(found, name, {})
        yield found


def test_an_object_that_a_finalizer_holds_is_deleted_all_the_same(cluster: Cluster) -> None:
    body: Any = held(scenes.ingress("triton"))
    del body["status"]
    cluster.networking.create_namespaced_ingress("triton", body)
    services: list[Any] = [held(service("LoadBalancer")), service("ClusterIP", "inside")]
    for one in services:
        cluster.core.create_namespaced_service("triton", one)
    assert removal._balanced(cluster) == (("triton/triton",), ("triton/triton",))
    removal._delete(cluster.networking.delete_namespaced_ingress, "Ingress", "triton/triton")
    removal._delete(cluster.core.delete_namespaced_service, "Service", "triton/triton")
    for read in (cluster.networking.read_namespaced_ingress, cluster.core.read_namespaced_service):
        meta = cluster.plain(read("triton", "triton"))["metadata"]
        assert meta["deletionTimestamp"] and meta["finalizers"]
    removal._delete(cluster.core.delete_namespaced_service, "Service", "triton/gone")


def test_a_claim_goes_and_its_volume_is_waited_for(cluster: Cluster) -> None:
    made: Any = volume("pv-1", "Delete")
    asked: Any = claim("data", "pv-1")
    made["spec"]["claimRef"] = {"namespace": "monitoring", "name": "data"}
    cluster.core.create_persistent_volume(made)
    cluster.core.create_namespaced_persistent_volume_claim("monitoring", asked)
    freed = volumes.release(cluster)
    assert freed.claims == ("monitoring/data",) and freed.going == {"pv-1"}
    client.delete(cluster.core.delete_persistent_volume, "pv-1")  # as its driver does
    volumes.wait_gone(cluster, freed.going, SOON)


def test_a_namespace_of_a_dry_run_is_gone_again(cluster: Cluster) -> None:
    with dry_run.namespace(cluster, "for-a-while", {"a": "b"}):
        found = cluster.plain(cluster.core.read_namespace("for-a-while"))
        assert found["metadata"]["labels"]["a"] == "b"
    left = cluster.plain(cluster.core.list_namespace())["items"]
    ends = {one["metadata"]["name"]: one["metadata"].get("deletionTimestamp") for one in left}
    assert ends.get("for-a-while", "gone")
