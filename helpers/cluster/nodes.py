"""The cluster's nodes: read, and waited for until they are Ready."""

import time
from collections.abc import Callable
from typing import Any

from helpers.cloud.account import Account
from helpers.cloud.reports import Stack
from helpers.cluster import client, contract, diagnose, managed_groups, waits
from helpers.cluster.client import Cluster
from helpers.cluster.diagnose import Trouble
from helpers.cluster.live_reports import NodeFacts, Nodes
from helpers.cluster.waits import Pace, Seen
from helpers.errors import Problem
from helpers.run import Run

INSTANCE_TYPE = "node.kubernetes.io/instance-type"
ZONE = "topology.kubernetes.io/zone"


def pace(run: Run, timeout_s: float) -> Pace:
    """How a wait of this run goes."""
    return Pace(timeout_s, run.profile.cluster.poll_s)


def read(cluster: Cluster) -> tuple[NodeFacts, ...]:
    """Every node, by name.

    Raises:
        Problem: The cluster cannot be asked.
    """
    agreed = contract.load().gpu
    with client.asking("The list of nodes"):
        answer = cluster.core.list_node()
    facts = [facts_of(one, agreed) for one in cluster.plain(answer)["items"]]
    return tuple(sorted(facts, key=lambda one: one.name))


def facts_of(node: dict[str, Any], agreed: contract.Gpu) -> NodeFacts:
    """One node, from the API's JSON."""
    labels = node["metadata"].get("labels", {})
    status, spec = node.get("status", {}), node.get("spec", {})
    conditions = {one["type"]: one["status"] for one in status.get("conditions", [])}
    taints = spec.get("taints", [])
    return NodeFacts(
        name=node["metadata"]["name"],
        ready=conditions.get("Ready") == "True" and not spec.get("unschedulable", False),
        gpu=labels.get(agreed.label.key) == agreed.label.value,
        instance_type=labels.get(INSTANCE_TYPE, ""),
        zone=labels.get(ZONE, ""),
        taints=tuple(f"{one['key']}={one.get('value', '')}:{one['effect']}" for one in taints),
        gpus=int(status.get("allocatable", {}).get(agreed.resource, 0)),
        kubelet=status.get("nodeInfo", {}).get("kubeletVersion", ""),
    )


def wait_ready(run: Run, account: Account) -> Nodes:
    """Wait until as many nodes are Ready as the node groups should have, and record them.

    Args:
        run: Whose stack stands.
        account: Where it stands.

    Raises:
        Unavailable: The run has no cluster.
        Problem: They are not Ready in time; the sentence says what Auto Scaling, or the nodes
            themselves, give as the reason.
    """
    cluster, stack = client.connect(run, account), run.load(Stack)
    gpu, system = run.profile.infrastructure.gpu.desired_nodes, system_nodes(account, stack)
    begin = time.monotonic()
    waits.until(
        "nodes Ready",
        lambda: _look(read(cluster), gpu, system),
        lambda: reason(cluster, account, stack),
        pace(run, run.profile.cluster.nodes_s),
    )
    found = Nodes(
        nodes=read(cluster), wanted=gpu + system, seconds=time.monotonic() - begin
    )  # fmt: skip
    run.save(found)
    for one in found.nodes:
        run.event("node-added", "01", node=one.name, gpu=one.gpu, source="kubernetes")
    run.event("gpu-nodes", "01", count=sum(one.gpu for one in found.nodes), source="kubernetes")
    return found


def system_nodes(account: Account, stack: Stack) -> int:
    """How many nodes the managed groups without GPU should have.

    Raises:
        Problem: AWS refuses, or cannot be reached.
    """
    groups = managed_groups.read(account, stack.cluster_name)
    label = contract.load().gpu.label
    return sum(
        one["scalingConfig"]["desiredSize"]
        for one in groups
        if one.get("labels", {}).get(label.key) != label.value
    )


def reason(cluster: Cluster, account: Account, stack: Stack) -> str:
    """Why nodes are missing or not Ready: what Auto Scaling, EKS and the nodes themselves say."""
    groups = (
        _said(lambda: diagnose.of_group(account, stack.gpu_asg_name)),
        _said(lambda: diagnose.of_managed_groups(account, stack.cluster_name)),
    )
    with client.asking("The list of nodes"):
        nodes = cluster.plain(cluster.core.list_node())["items"]
    said = [_not_ready(node) for node in nodes]
    if any((*groups, *said)):
        return "\n".join(one for one in (*groups, *said) if one)
    return (
        "No node has reported a fault: it has not registered. Its kubelet's log is in the system "
        "log of the instance ('aws ec2 get-console-output'); the access entry of its role and its "
        "way out of the private subnet (NAT) are the usual causes."
    )


def _said(ask: Callable[[], list[Trouble]]) -> str:
    """What one source says; that it cannot be asked must not hide what the others say."""
    try:
        return diagnose.told(ask())
    except Problem as reason:
        return str(reason)


def _look(nodes: tuple[NodeFacts, ...], gpu: int, system: int) -> Seen:
    ready = [one for one in nodes if one.ready]
    with_gpu = sum(one.gpu for one in ready)
    others = len(ready) - with_gpu
    text = f"{others} of {system} without GPU, {with_gpu} of {gpu} with GPU"
    late = [one.name for one in nodes if not one.ready]
    text += f"; not Ready: {', '.join(late)}" if late else ""
    return Seen(with_gpu >= gpu and others >= system and not late, text)


def _not_ready(node: dict[str, Any]) -> str:
    for one in node.get("status", {}).get("conditions", []):
        if one["type"] == "Ready" and one["status"] != "True":
            return f"node {node['metadata']['name']}: {one.get('reason')}: {one.get('message')}"
    return ""
