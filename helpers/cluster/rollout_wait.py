"""A Deployment's rollout, watched until its new pods serve."""

from typing import Any

from helpers.cluster import client, diagnose, explain, waits
from helpers.cluster.client import Cluster
from helpers.cluster.diagnose import Trouble
from helpers.cluster.waits import Pace, Seen
from helpers.errors import Problem

REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"


def wait(cluster: Cluster, namespace: str, name: str, pace: Pace) -> int:
    """Wait until every pod of the newest revision is available.

    Args:
        cluster: Where.
        namespace: Of the Deployment.
        name: Of the Deployment.
        pace: Time-out, interval, and where progress goes.

    Returns:
        How many pods serve.

    Raises:
        Problem: It is not done in time, or cannot be; the sentence says why.
    """
    waits.until(
        f"rollout of {name}",
        lambda: _look(cluster, namespace, name),
        lambda: _why(cluster, namespace, name),
        pace,
    )
    return int(_deployment(cluster, namespace, name)["status"].get("availableReplicas", 0))


def troubles(cluster: Cluster, namespace: str, deployment: dict[str, Any]) -> list[Trouble]:
    """What keeps the pods of the newest revision from being Ready; older ones are on their way."""
    selector = ",".join(
        f"{key}={value}" for key, value in deployment["spec"]["selector"]["matchLabels"].items()
    )
    newest = _newest_hash(cluster, namespace, selector)
    return diagnose.of_pods(cluster, namespace, f"{selector},{HASH}={newest}") if newest else []


def _look(cluster: Cluster, namespace: str, name: str) -> Seen:
    found = _deployment(cluster, namespace, name)
    status, wanted = found.get("status", {}), found["spec"].get("replicas", 1)
    if status.get("observedGeneration", 0) < found["metadata"]["generation"]:
        return Seen(False, "the change has not been seen yet")
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    old = status.get("replicas", 0) - updated
    text = f"{updated} of {wanted} pods made, {available} available"
    text += f", {old} old ones left" if old else ""
    if updated >= wanted and available >= wanted and not old:
        return Seen(True, text)
    met = troubles(cluster, namespace, found)
    text += f"; {met[0].where}: {met[0].said}" if met else ""
    final = [one for one in met if one.hopeless]
    return Seen(False, text, diagnose.told(final))


def _why(cluster: Cluster, namespace: str, name: str) -> str:
    found = _deployment(cluster, namespace, name)
    met = troubles(cluster, namespace, found)
    if not met:
        met = diagnose.of_events(cluster, namespace, name)
    conditions = [
        Trouble(f"deployment {name}", f"{one.get('reason')}: {one.get('message')}",
                explain.recognise(one.get("message", "")))
        for one in found.get("status", {}).get("conditions", [])
        if one["status"] == "False" or one["type"] == "ReplicaFailure"
    ]  # fmt: skip
    return diagnose.told([*met, *conditions]) or (
        f"Its pods run and do not get ready: kubectl -n {namespace} describe pods"
    )


def _deployment(cluster: Cluster, namespace: str, name: str) -> dict[str, Any]:
    with client.asking(f"The deployment {name}", namespace=namespace):
        answer = cluster.apps.read_namespaced_deployment(name, namespace)
    body: dict[str, Any] = cluster.plain(answer)
    if "spec" not in body:
        raise Problem(f"The deployment {name} has no specification.")
    return body


def _newest_hash(cluster: Cluster, namespace: str, selector: str) -> str:
    with client.asking("The replica sets", namespace=namespace):
        answer = cluster.apps.list_namespaced_replica_set(namespace, label_selector=selector)
    sets = cluster.plain(answer)["items"]
    newest = max(sets, key=_revision, default=None)
    return str(newest["metadata"].get("labels", {}).get(HASH, "")) if newest else ""


def _revision(replica_set: dict[str, Any]) -> int:
    return int(replica_set["metadata"].get("annotations", {}).get(REVISION, 0))
