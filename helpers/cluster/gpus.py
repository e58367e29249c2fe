"""GPUs that pods may ask for, and the proof that the taint keeps other pods out."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from helpers.cloud.account import Account
from helpers.cloud.reports import Stack
from helpers.cluster import client, contract, diagnose, nodes, waits
from helpers.cluster.client import Cluster
from helpers.cluster.contract import Gpu
from helpers.cluster.live_reports import Gpus, NodeFacts, TaintProof
from helpers.cluster.waits import Seen
from helpers.run import Run

PLUGIN = "app.kubernetes.io/name=nvidia-device-plugin"
# a few hundred kilobytes, and on every node already: it is what holds a pod's namespaces
PAUSE = (
    "registry.k8s.io/pause:3.10"
    "@sha256:ee6521f290b2168b6e0935a181d4cff9be1ac3f505666ef0e3c98fae8199917a"
)
PROOF = "taint-proof"


def wait_allocatable(run: Run, cluster: Cluster, account: Account | None = None) -> Gpus:
    """Wait until every GPU node offers its GPUs to pods, and record them.

    Helm says "deployed" of a device plugin that runs nowhere; what counts is the node.

    Args:
        run: Which records it.
        cluster: Where.
        account: Asked for the reason where no node comes; None outside AWS.

    Raises:
        Problem: They are not allocatable in time; the sentence says why.
    """
    agreed, begin = contract.load().gpu, time.monotonic()
    waits.until(
        f"{agreed.resource} allocatable",
        lambda: _look(_gpu_nodes(cluster), agreed),
        lambda: _reason(run, cluster, account),
        nodes.pace(run, run.profile.cluster.gpu_s),
    )
    found = Gpus(
        resource=agreed.resource,
        nodes=_gpu_nodes(cluster),
        per_node=agreed.per_node,
        label=str(agreed.label),
        taint=str(agreed.taint),
        seconds=time.monotonic() - begin,
    )
    run.save(found)
    return found


def prove_taint(run: Run, cluster: Cluster) -> TaintProof:
    """Show that the taint, and nothing else, keeps a pod off the GPU nodes.

    Two pods that differ in one toleration ask for a node with the contract's label: the one
    without must stay pending with the scheduler naming the taint, the one with must get a node.
    Both are removed again.

    Raises:
        Problem: The scheduler says neither in time, or the cluster refuses.
    """
    agreed = contract.load()
    namespace, taint = agreed.namespaces.triton, agreed.gpu.taint
    pace = nodes.pace(run, run.profile.cluster.gpu_s)
    with _pod(cluster, namespace, f"{PROOF}-without", pod(agreed.gpu, tolerant=False)) as name:
        without = waits.until(
            "a pod without toleration",
            lambda: _kept_out(_read(cluster, namespace, name)),
            lambda: "The scheduler has not looked at it: is it running?",
            pace,
        )
    with _pod(cluster, namespace, f"{PROOF}-with", pod(agreed.gpu, tolerant=True)) as name:
        waits.until(
            "the same pod with toleration",
            lambda: _let_in(_read(cluster, namespace, name)),
            lambda: diagnose.told(diagnose.of_pod(cluster, _read(cluster, namespace, name))),
            pace,
        )
        node = _read(cluster, namespace, name)["spec"]["nodeName"]
    proof = TaintProof(
        taint=str(taint), image=PAUSE, kept_out="untolerated taint" in without.text,
        message=without.text, let_in=node,
    )  # fmt: skip
    run.save(proof)
    return proof


def pod(agreed: Gpu, *, tolerant: bool) -> dict[str, Any]:
    """A pod that computes nothing and asks for a node with the contract's label."""
    return {
        "nodeSelector": agreed.label.selector,
        "tolerations": [agreed.taint.toleration] if tolerant else [],
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": 65535, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "pause",
                "image": PAUSE,
                "resources": {
                    "requests": {"cpu": "10m", "memory": "16Mi"},
                    "limits": {"cpu": "10m", "memory": "16Mi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }  # fmt: skip


@contextmanager
def _pod(cluster: Cluster, namespace: str, name: str, spec: dict[str, Any]) -> Iterator[str]:
    """A pod that is gone again when the block ends."""
    meta = {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/name": PROOF}}
    body: Any = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
    with client.asking(f"The pod {name}", namespace=namespace):
        _remove(cluster, namespace, name)
        cluster.core.create_namespaced_pod(namespace, body)
    try:
        yield name
    finally:
        with client.asking(f"The removal of pod {name}", namespace=namespace):
            _remove(cluster, namespace, name)


def _remove(cluster: Cluster, namespace: str, name: str) -> None:
    at_once = partial(cluster.core.delete_namespaced_pod, grace_period_seconds=0)
    client.delete(at_once, name, namespace)


def _read(cluster: Cluster, namespace: str, name: str) -> dict[str, Any]:
    with client.asking(f"The pod {name}", namespace=namespace):
        body: dict[str, Any] = cluster.plain(cluster.core.read_namespaced_pod(name, namespace))
    return body


def _kept_out(body: dict[str, Any]) -> Seen:
    if node := body["spec"].get("nodeName"):
        return Seen(False, f"it was given to {node}", "The GPU nodes do not carry the taint.")
    for one in body.get("status", {}).get("conditions", []):
        if one["type"] == "PodScheduled" and one.get("reason") == "Unschedulable":
            message = diagnose.why_pending(one.get("message", ""))
            return Seen("untolerated taint" in message, message)
    return Seen(False, "the scheduler has not looked at it yet")


def _let_in(body: dict[str, Any]) -> Seen:
    node = body["spec"].get("nodeName", "")
    return Seen(bool(node), f"given to {node}" if node else "pending")


def _gpu_nodes(cluster: Cluster) -> tuple[NodeFacts, ...]:
    return tuple(one for one in nodes.read(cluster) if one.gpu)


def _look(found: tuple[NodeFacts, ...], agreed: Gpu) -> Seen:
    offering = sum(one.gpus >= agreed.per_node for one in found)
    text = f"on {offering} of {len(found)} nodes with {agreed.label}"
    return Seen(bool(found) and offering == len(found), text)


def _reason(run: Run, cluster: Cluster, account: Account | None) -> str:
    """Why no GPU is allocatable: no node, a plugin that runs nowhere, or one that fails."""
    found, stack = _gpu_nodes(cluster), run.find(Stack)
    if not found and account and stack:
        return nodes.reason(cluster, account, stack)
    if not found:
        label = contract.load().gpu.label
        return f"No node carries the label {label}: label the GPU nodes, or add some."
    namespace = contract.load().namespaces.system
    with client.asking("The device plugin", namespace=namespace):
        answer = cluster.apps.list_namespaced_daemon_set(namespace, label_selector=PLUGIN)
    sets = cluster.plain(answer)["items"]
    if not sets:
        return "The device plugin is not installed: install its release first."
    if not any(one.get("status", {}).get("desiredNumberScheduled") for one in sets):
        return (
            "The device plugin wants no pod at all: no node fits its affinity, node selector and "
            "tolerations. Compare k8s/values/nvidia-device-plugin.yaml with k8s/contract.yaml."
        )
    troubles = diagnose.told(diagnose.of_pods(cluster, namespace, PLUGIN))
    return troubles or (
        "The device plugin runs and reports no GPU: is the AMI one with NVIDIA's driver? Its log: "
        f"kubectl -n {namespace} logs -l {PLUGIN}"
    )
