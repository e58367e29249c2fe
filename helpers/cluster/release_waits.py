"""What a release is waited for: one look for each kind of object in the lock file."""

from collections.abc import Callable
from typing import Any

from kubernetes.dynamic.exceptions import NotFoundError, ResourceNotFoundError

from helpers.cluster import client, contract, diagnose, match, nodes, waits
from helpers.cluster.client import Cluster
from helpers.cluster.lock import Release, Wait
from helpers.cluster.waits import Pace, Seen
from helpers.errors import Problem

VERSIONS = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "APIService": "apiregistration.k8s.io/v1",
}


def wait(cluster: Cluster, release: Release, pace: Pace) -> None:
    """Wait for everything that the lock file names for a release, in its order.

    Raises:
        Problem: Something does not come about in time; the sentence says why.
    """
    for one in release.waits:
        waits.until(
            f"{release.name}: {one.kind} {one.name} {one.until}",
            _look_of(cluster, release, one),
            _why_of(cluster, release, one),
            pace,
        )


def read(cluster: Cluster, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
    """An object as the API's JSON; None where it, or its kind, is not there (yet).

    Raises:
        Problem: The cluster refuses or cannot be reached.
    """
    with client.asking(f"{kind} {name}", namespace=namespace):
        try:
            resource = cluster.dynamic().resources.get(api_version=VERSIONS[kind], kind=kind)
            found = resource.get(name=name, namespace=namespace if resource.namespaced else None)
        except (NotFoundError, ResourceNotFoundError):
            return None
    body: dict[str, Any] = found.to_dict()
    return body


def available(body: dict[str, Any]) -> Seen:
    """A Deployment whose every wanted pod is available; an API service that answers."""
    status, spec = body.get("status", {}), body.get("spec", {})
    if "service" in spec or body["kind"] == "APIService":
        return condition(body, "Available")
    wanted, found = spec.get("replicas", 1), status.get("availableReplicas", 0)
    seen = status.get("observedGeneration", 0) >= body["metadata"].get("generation", 0)
    return Seen(seen and wanted > 0 and found >= wanted, f"{found} of {wanted} pods available")


def ready(body: dict[str, Any]) -> Seen:
    """A StatefulSet whose every wanted pod is Ready."""
    wanted = body.get("spec", {}).get("replicas", 1)
    found = body.get("status", {}).get("readyReplicas", 0)
    return Seen(wanted > 0 and found >= wanted, f"{found} of {wanted} pods Ready")


def condition(body: dict[str, Any], kind: str) -> Seen:
    """A condition that is True."""
    for one in body.get("status", {}).get("conditions", []):
        if one["type"] == kind:
            said = "" if one["status"] == "True" else f": {one.get('message', '')}"
            return Seen(one["status"] == "True", f"{kind} is {one['status']}{said}")
    return Seen(False, f"{kind} is not known yet")


def on_nodes(body: dict[str, Any], gpu_nodes: int) -> Seen:
    """A DaemonSet with a Ready pod on every GPU node; Helm is content with none at all."""
    status = body.get("status", {})
    wanted, found = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    text = f"{found} Ready of {wanted} wanted, on {gpu_nodes} GPU nodes"
    return Seen(wanted >= gpu_nodes and found >= wanted, text)


def _look_of(cluster: Cluster, release: Release, one: Wait) -> Callable[[], Seen]:
    judges: dict[str, Callable[[dict[str, Any]], Seen]] = {
        "Deployment": available,
        "APIService": available,
        "StatefulSet": ready,
        "CustomResourceDefinition": lambda body: condition(body, "Established"),
        "DaemonSet": lambda body: on_nodes(body, sum(each.gpu for each in nodes.read(cluster))),
    }
    looks: dict[str, Callable[[], Seen]] = {
        "Node": lambda: _allocatable(cluster),
        "Endpoints": lambda: _answering(cluster, one.name, release.namespace),
    }
    if one.kind in looks:
        return looks[one.kind]
    if one.kind not in judges:
        raise Problem(f"k8s/releases.yaml waits for a {one.kind}, which nothing here can do.")
    judge = judges[one.kind]
    return lambda: _judged(read(cluster, one.kind, one.name, release.namespace), judge)


def _judged(body: dict[str, Any] | None, judge: Callable[[dict[str, Any]], Seen]) -> Seen:
    return judge(body) if body else Seen(False, "not there yet")


def _allocatable(cluster: Cluster) -> Seen:
    agreed = contract.load().gpu
    found = [one for one in nodes.read(cluster) if one.gpu]
    offering = sum(one.gpus >= agreed.per_node for one in found)
    return Seen(offering == len(found), f"on {offering} of {len(found)} GPU nodes")


def _answering(cluster: Cluster, service: str, namespace: str) -> Seen:
    """A Service with a ready endpoint: what a webhook needs to answer."""
    with client.asking(f"The endpoints of {service}", namespace=namespace):
        slices = cluster.plain(
            cluster.discovery.list_namespaced_endpoint_slice(
                namespace, label_selector=f"{match.SERVICE_OF_SLICE}={service}"
            )
        )["items"]
    ends = [end for one in slices for end in one.get("endpoints") or []]
    found = sum(end.get("conditions", {}).get("ready", False) is True for end in ends)
    return Seen(found > 0, f"{found} endpoints ready")


def _why_of(cluster: Cluster, release: Release, one: Wait) -> Callable[[], str]:
    def why() -> str:
        name = release.name
        troubles = [
            *diagnose.of_pods(cluster, release.namespace, f"app.kubernetes.io/instance={name}"),
            *diagnose.of_events(cluster, release.namespace, one.name),
        ]
        return diagnose.told(troubles) or (
            f"Nothing has reported an error: kubectl -n {release.namespace} get events"
        )

    return why
