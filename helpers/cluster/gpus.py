"""Stage 02: the GPU node group, what is installed beside Triton, allocatable GPUs, the taint."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pandas as pd
import yaml

from helpers import promises
from helpers.cloud.account import Account
from helpers.cloud.stack import Stack
from helpers.cluster import chart_checks, client, contract, nodes, releases, waits
from helpers.cluster.client import Cluster
from helpers.cluster.contract import CONTRACT
from helpers.cluster.records import AllocatableGpus, GpuNodeGroup, NodeFacts, Releases, TaintProof
from helpers.cluster.releases import Release
from helpers.cluster.waits import WaitState
from helpers.errors import Problem
from helpers.promises import Status
from helpers.run import Run

PLUGIN = "nvidia-device-plugin"
NO_GPU = "no GPU node: a rehearsal has no cluster"
POD = releases.K8S / "taint-proof.yaml"
WITH, WITHOUT = "taint-proof-with", "taint-proof-without"


def read_group(run: Run, account: Account) -> GpuNodeGroup:
    """Read the node group back and tick what it shows: price cap, taint and label."""
    group, gpu = nodes.read_gpu_group(run, account), contract.load().gpu
    seen = " as the launch template has it; no node was seen" if account.emulated else ""
    nodes.claim(run, "02.spot", group, group.spot_only and group.max_price_usd is not None)
    nodes.claim(run, "02.taint", group, str(gpu.taint) in group.taints, f"{gpu.taint}{seen}")
    has_label = group.labels.get(gpu.label.key) == gpu.label.value
    nodes.claim(run, "02.label", group, has_label, f"{gpu.label}{seen}")
    return group


def group_frame(group: GpuNodeGroup) -> pd.DataFrame:
    """The node group as a table."""
    low, wanted, high = group.sizes
    rows = {
        "group": f"{group.group} ({'EMULATED' if group.emulated else 'AWS'})",
        "instance types": ", ".join(group.instance_types),
        "most an hour may cost": "no cap"
        if group.max_price_usd is None
        else f"{group.max_price_usd} $",
        "spot only": "yes" if group.spot_only else "no",
        "nodes": f"{low} to {high}, {wanted} wanted",
        "labels": ", ".join(f"{key}={value}" for key, value in group.labels.items()),
        "taints": ", ".join(group.taints),
        "root disk": f"{group.disk_gib} GiB{', encrypted' if group.encrypted else ''}",
        "metadata service": "IMDSv2 only" if group.imdsv2 else "IMDSv1 too",
        "tags of instances": ", ".join(f"{k}={v}" for k, v in group.instance_tags.items()),
    }
    return pd.DataFrame({"": list(rows), "value": list(rows.values())})


def install(run: Run, account: Account) -> Releases:
    """Install the stage's releases on AWS, or render and check them; tick the plugin's promise."""
    if run.profile.target == "aws":
        record = releases.install(run, client.connect(run, account), account)
    else:
        record = releases.rehearse(run, account, partial(check_upstream, run))
    plugin = next(release for release in record.releases if release.name == PLUGIN)
    status = plugin.label if plugin.label is not Status.RAN else Status.VERIFIED
    promises.tick(run, "02.device-plugin", status, evidence=record.path(), note=plugin.note)
    return record


def check_upstream(run: Run, release: Release, objects: list[dict[str, Any]]) -> str:
    """Check an upstream release's objects against the API's schemas; one sentence."""
    kubernetes = run.profile.infrastructure.kubernetes_version
    for body in objects:
        body["metadata"].setdefault("namespace", release.namespace)
    faults, _ = chart_checks.schema_findings(objects, kubernetes)
    if faults:
        raise Problem(f"{len(faults)} faults, first: {faults[0]}.")
    return f"{len(objects)} objects have the schema of Kubernetes {kubernetes}"


def observe(run: Run, account: Account) -> str:
    """On AWS: wait for the GPUs, prove the taint, and tick what was seen; one sentence."""
    if run.profile.target != "aws":
        promises.tick(run, "02.gpu", Status.NOT_RUN, note=NO_GPU)
        return f"NOT RUN: {NO_GPU}."
    cluster = client.connect(run, account)
    gpus = wait_allocatable(run, cluster, account)
    nodes.hold(cluster)  # one may have come since the autoscaler was installed
    proof = prove_taint(run, cluster)
    tainted = gpus.every(lambda node: gpus.taint in node.taints)
    nodes.claim(run, "02.gpu", gpus, gpus.every(lambda node: node.gpus >= gpus.per_node))
    nodes.claim(run, "02.label", gpus, gpus.every(lambda node: node.gpu), f"{gpus.label} on nodes")
    nodes.claim(run, "02.taint", proof, tainted and proof.kept_out and proof.let_in != "")
    return f"{gpus.summary}; {proof.summary}"


def wait_allocatable(run: Run, cluster: Cluster, account: Account | None = None) -> AllocatableGpus:
    """Wait until every GPU node offers its GPUs to pods, and record them.

    AWS, if there is an account, is asked for the reason if no node comes.
    """
    gpu, begin = contract.load().gpu, time.monotonic()

    def gpu_nodes() -> tuple[NodeFacts, ...]:
        return tuple(node for node in nodes.read_nodes(cluster) if node.gpu)

    def check() -> WaitState:
        there = gpu_nodes()
        offering = sum(node.gpus >= gpu.per_node for node in there)
        text = f"on {offering} of {len(there)} nodes with {gpu.label}"
        return WaitState(bool(there) and offering == len(there), text)

    def why() -> str:
        if gpu_nodes():
            return _plugin_reason(cluster)
        if account and (stack := run.find(Stack)):
            return nodes.missing_reason(cluster, account, stack)
        return f"No node carries the label {gpu.label}: label the GPU nodes, or add some."

    waits.until(f"{gpu.resource} allocatable", check, why,
                waits.pace(run, run.profile.cluster.gpu_s))  # fmt: skip
    record = AllocatableGpus(
        resource=gpu.resource, nodes=gpu_nodes(), per_node=gpu.per_node, label=str(gpu.label),
        taint=str(gpu.taint), seconds=time.monotonic() - begin,
    )  # fmt: skip
    run.save(record)
    return record


def _plugin_reason(cluster: Cluster) -> str:
    """Why GPU nodes offer no GPU: the device plugin runs nowhere, or fails."""
    namespace, selector = contract.load().namespaces.system, f"app.kubernetes.io/name={PLUGIN}"
    daemon_sets = cluster.list("daemonsets", namespace, labelSelector=selector)
    if not daemon_sets:
        return "The device plugin is not installed: install its release first."
    if not any(each.get("status", {}).get("desiredNumberScheduled") for each in daemon_sets):
        return (
            "The device plugin wants no pod at all: no node fits its affinity, node selector and "
            "tolerations. Compare k8s/values/nvidia-device-plugin.yaml with k8s/contract.yaml."
        )
    return waits.troubles_text(waits.pod_troubles(cluster, namespace, selector)) or (
        "The device plugin runs and reports no GPU: is the AMI one with NVIDIA's driver? Its log: "
        f"kubectl -n {namespace} logs -l {selector}"
    )


def prove_taint(run: Run, cluster: Cluster) -> TaintProof:
    """Show that the taint, and nothing else, keeps a pod off the GPU nodes.

    Of two pods that differ in one toleration, one stays pending with the scheduler naming the
    taint, the other gets a node. Both are removed again.
    """
    taint, pace = contract.load().gpu.taint, waits.pace(run, run.profile.cluster.gpu_s)
    bodies = pod(WITHOUT, []), pod(WITH, [taint.toleration])

    def read(name: str) -> dict[str, Any]:
        space = bodies[0]["metadata"]["namespace"]
        return cluster.get("pods", name, space) or {"spec": {}, "metadata": {"name": name}}

    def kept_out() -> WaitState:
        body = read(WITHOUT)
        if node := body["spec"].get("nodeName"):
            return WaitState(False, f"it was given to {node}", "The GPU nodes have no such taint.")
        for condition in body.get("status", {}).get("conditions", []):
            if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
                message = waits.pending_reason(condition.get("message", ""))
                return WaitState("untolerated taint" in message, message)
        return WaitState(False, "the scheduler has not looked at it yet")

    def let_in() -> WaitState:
        node = read(WITH)["spec"].get("nodeName", "")
        return WaitState(bool(node), f"given to {node}" if node else "pending")

    def why() -> str:
        return waits.troubles_text(waits.troubles_of_pod(cluster, read(WITH)))

    with _made(cluster, bodies[0]):
        unseen = "The scheduler has not looked at it: is it running?"
        without = waits.until("a pod without toleration", kept_out, lambda: unseen, pace)
    with _made(cluster, bodies[1]):
        given = waits.until("the same pod with toleration", let_in, why, pace)
    return run.save(TaintProof(
        taint=str(taint), image=bodies[0]["spec"]["containers"][0]["image"],
        kept_out=without.done, message=without.text, let_in=given.text.removeprefix("given to "),
    ))  # fmt: skip


def pod(name: str, tolerations: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """A pod that computes nothing and asks for a node with the contract's label."""
    facts = {"contract": yaml.safe_load(CONTRACT.read_text()), "name": name,
             "tolerations": list(tolerations)}  # fmt: skip
    body: dict[str, Any] = yaml.safe_load(releases.fill(POD, facts))
    return body


@contextmanager
def _made(cluster: Cluster, body: Any) -> Iterator[None]:
    """A pod that is gone again when the block ends."""
    name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
    cluster.delete("pods", name, namespace, grace_s=0)
    with client.asking(f"The pod {name}", namespace=namespace):
        cluster.core.create_namespaced_pod(namespace, body)
    try:
        yield
    finally:
        cluster.delete("pods", name, namespace, grace_s=0)
