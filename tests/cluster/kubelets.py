"""What kubelets would tell a control plane, for nodes that are objects alone.

Pods that were bound run and become Ready at once; those of jobs and Helm's tests succeed; deleted
ones go. Nothing is pulled and no container runs, so nothing here says that an image works.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from kubernetes.client import V1DeleteOptions
from kubernetes.client.exceptions import ApiException

from helpers.cluster.capacity import NONE, Node
from helpers.cluster.client import Cluster

LOOK_S = 0.1
NOW = "2026-01-01T00:00:00Z"


def join(cluster: Cluster, nodes: Sequence[Node]) -> None:
    """Make the nodes known, Ready, with what is taken already off their allocatable."""
    for node in nodes:
        amounts = {name: _quantity(amount - node.taken.get(name, NONE))
                   for name, amount in node.allocatable.items()}  # fmt: skip
        body: Any = {
            "metadata": {"name": node.name, "labels": dict(node.labels)},
            "spec": {"taints": list(node.taints), "unschedulable": node.unschedulable},
        }
        cluster.core.create_node(body)
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
                 "lastHeartbeatTime": NOW, "lastTransitionTime": NOW}  # fmt: skip
        status = {"allocatable": amounts, "capacity": amounts, "conditions": [ready]}
        cluster.core.patch_node_status(node.name, {"status": status})
        # controllers give a new node `not-ready` until they have seen it Ready
        cluster.core.patch_node(node.name, {"spec": {"taints": list(node.taints)}})


def _quantity(amount: Fraction) -> str:
    return f"{int(amount * 1000)}m" if amount.denominator > 1 else str(amount)


def leave(cluster: Cluster) -> None:
    """Take every node away."""
    cluster.core.delete_collection_node()


@contextlib.contextmanager
def running(cluster: Cluster) -> Iterator[None]:
    """Play the kubelets of every node until the block ends."""
    ended = threading.Event()

    def play() -> None:
        while not ended.wait(LOOK_S):
            for pod in cluster.plain(cluster.core.list_pod_for_all_namespaces())["items"]:
                with contextlib.suppress(ApiException):  # changed meanwhile; the next look sees it
                    _play(cluster, pod)

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _play(cluster: Cluster, pod: dict[str, Any]) -> None:
    meta, status = pod["metadata"], pod.get("status", {})
    if not pod["spec"].get("nodeName"):
        return
    if meta.get("deletionTimestamp"):
        now = V1DeleteOptions(grace_period_seconds=0)
        cluster.core.delete_namespaced_pod(meta["name"], meta["namespace"], body=now)
    elif status.get("phase") == "Pending":
        body = {"status": _status(pod)}
        cluster.core.patch_namespaced_pod_status(meta["name"], meta["namespace"], body)


def _status(pod: dict[str, Any]) -> dict[str, Any]:
    ends = pod["spec"].get("restartPolicy") in ("Never", "OnFailure")
    held = "False" if ends else "True"
    gates = [one["conditionType"] for one in pod["spec"].get("readinessGates", [])]
    kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready", *gates)
    ran = {"terminated": {"exitCode": 0, "reason": "Completed"}} if ends else {
        "running": {"startedAt": NOW}}  # fmt: skip
    return {
        "phase": "Succeeded" if ends else "Running",
        "podIP": "10.1.0.1",
        "podIPs": [{"ip": "10.1.0.1"}],
        "startTime": NOW,
        "conditions": [
            {"type": kind, "status": held if "Ready" in kind else "True",
             "lastTransitionTime": NOW}
            for kind in kinds
        ],
        "containerStatuses": [
            {"name": one["name"], "image": one.get("image", ""), "imageID": "", "restartCount": 0,
             "ready": not ends, "started": not ends, "state": ran}
            for one in pod["spec"]["containers"]
        ],
    }  # fmt: skip
