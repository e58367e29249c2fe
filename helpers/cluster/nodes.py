"""The cluster's nodes and their groups in AWS: read, waited for, and why some are missing."""

import base64
import email
import json
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import yaml

from helpers import promises
from helpers.cloud import prices, zero
from helpers.cloud.account import Account, asking
from helpers.cloud.stack import Stack
from helpers.cluster import client, contract, explain, waits
from helpers.cluster.client import Cluster
from helpers.cluster.records import GpuNodeGroup, NodeFacts, Nodes
from helpers.cluster.waits import Trouble, WaitState
from helpers.errors import Problem, Unavailable
from helpers.promises import Status
from helpers.run import Run

LAST_ACTIVITIES = 10
# "How can I prevent Cluster Autoscaler from scaling down a particular node?" in its FAQ
HELD = "cluster-autoscaler.kubernetes.io/scale-down-disabled"
CNI = "aws-node"  # the VPC CNI's DaemonSet, and its container
REPAIR = "Apply stage 01 again."
NODE_CONFIG = "application/node.eks.aws"


def claim_connectivity(run: Run, account: Account) -> str:
    """Wait for the nodes, tick the promise of stage 01, and return what was seen, one sentence."""
    promise = "01.connectivity"
    try:
        record = wait_ready(run, account)
    except Unavailable as reason:
        promises.tick(run, promise, Status.NOT_RUN, note=str(reason))
        return f"NOT RUN: {reason}"
    ready = len(record.nodes) >= record.wanted and all(node.ready for node in record.nodes)
    claim(run, promise, record, ready)
    return record.summary


def claim(run: Run, promise: str, record: Any, holds: bool, note: str = "") -> None:
    """Tick a promise by a record, with its summary unless there is a note."""
    note = note or record.summary
    promises.claim(run, promise, holds=holds, evidence=record.path(), note=note)


def read_nodes(cluster: Cluster) -> tuple[NodeFacts, ...]:
    """Every node, sorted by name."""
    nodes = map(_node_facts, cluster.list("nodes"))
    return tuple(sorted(nodes, key=lambda node: node.name))


def record_pulled_images(run: Run, cluster: Cluster) -> None:
    """Log how many GB each node has pulled through NAT, as it reports itself: 50 images at most.

    containerd gives the size of the compressed layers (containerd/containerd#9261). Layers from
    ECR come through the free endpoint of S3.
    """
    for node in cluster.list("nodes"):
        sizes = (image.get("sizeBytes", 0) for image in node["status"].get("images", ())
                 if not any(".dkr.ecr." in name for name in image.get("names") or ()))  # fmt: skip
        run.event("images-pulled", "05", node=node["metadata"]["name"], gb=sum(sizes) / 1e9)


def _node_facts(body: Mapping[str, Any]) -> NodeFacts:
    gpu = contract.load().gpu
    labels = body["metadata"].get("labels", {})
    status, spec = body.get("status", {}), body.get("spec", {})
    conditions = {each["type"]: each["status"] for each in status.get("conditions", [])}
    return NodeFacts(
        name=body["metadata"]["name"],
        ready=conditions.get("Ready") == "True" and not spec.get("unschedulable", False),
        gpu=labels.get(gpu.label.key) == gpu.label.value,
        instance_type=labels.get("node.kubernetes.io/instance-type", ""),
        zone=labels.get("topology.kubernetes.io/zone", ""),
        taints=tuple(
            f"{taint['key']}={taint.get('value', '')}:{taint['effect']}"
            for taint in spec.get("taints", [])
        ),
        gpus=int(status.get("allocatable", {}).get(gpu.resource, 0)),
        kubelet=status.get("nodeInfo", {}).get("kubeletVersion", ""),
    )


def hold(cluster: Cluster) -> None:
    """Forbid the autoscaler to remove the GPU nodes while nothing uses them yet."""
    for node in _marked(cluster, "true"):
        print(f"node {node}: the autoscaler keeps it until the load has ended")


def let_go(cluster: Cluster | None) -> str:
    """Let the autoscaler remove GPU nodes that nothing uses; one sentence of what that means."""
    if cluster is None:
        return "No cluster: no GPU node was held."
    names = ", ".join(_marked(cluster, None)) or "none is there"
    return f"The autoscaler may remove GPU nodes again that run no pod with a GPU ({names})."


def _marked(cluster: Cluster, value: str | None) -> list[str]:
    """Set the annotation of every GPU node, or remove it (None); the nodes' names."""
    names = [node.name for node in read_nodes(cluster) if node.gpu]
    for name in names:
        with client.asking(f"The annotation of node {name}"):
            cluster.core.patch_node(name, {"metadata": {"annotations": {HELD: value}}})
    return names


def wait_ready(run: Run, account: Account) -> Nodes:
    """Wait until as many nodes are Ready as the node groups should have, and record them."""
    cluster, stack = client.connect(run, account), run.load(Stack)
    if cluster.own:
        tag_interfaces(cluster, stack.tags)
    gpu, system = run.profile.infrastructure.gpu.desired_nodes, system_nodes(account, stack)
    begin = time.monotonic()

    def check() -> WaitState:
        nodes = read_nodes(cluster)
        with_gpu = sum(node.gpu for node in nodes if node.ready)
        others = sum(node.ready for node in nodes) - with_gpu
        late = [node.name for node in nodes if not node.ready]
        text = f"{others} of {system} without GPU, {with_gpu} of {gpu} with GPU"
        text += f"; not Ready: {', '.join(late)}" if late else ""
        return WaitState(with_gpu >= gpu and others >= system and not late, text)

    def why() -> str:
        reason, command = missing_reason(cluster, account, stack), "workbook run --only 06 --run"
        if "Spot Instances" in reason:
            with suppress(Problem):  # the reason matters more than its prices
                prices.record_spot_prices(run, account, stack.gpu_instance_types)
                table = prices.spot_frame(run)[["type", "zone", "now, US$/h", "under the cap"]]
                reason += f"\n{table.to_string(index=False)}"
        return (f"{reason}\nThe rest of the stack costs {zero.hourly_price(run)} until it is "
                f"removed: {command} {run.run_id}")  # fmt: skip

    waits.until("nodes Ready", check, why, waits.pace(run, run.profile.cluster.nodes_s))
    seconds = time.monotonic() - begin
    record = run.save(Nodes(nodes=read_nodes(cluster), wanted=gpu + system, seconds=seconds))
    for node in record.nodes:
        run.event("node-added", "01", node=node.name, gpu=node.gpu, source="kubernetes")
    return record


def tag_interfaces(cluster: Cluster, tags: Mapping[str, str]) -> None:
    """Give the network interfaces that the VPC CNI makes for pods the run's tags.

    Else they bear the cluster's name only; and some outlive their node (amazon-vpc-cni-k8s#608).
    """
    variable = {"name": "ADDITIONAL_ENI_TAGS", "value": json.dumps(dict(tags), sort_keys=True)}
    container = {"name": CNI, "env": [variable]}
    part = {"spec": {"template": {"spec": {"containers": [container]}}}}
    cluster.patch("daemonsets", CNI, contract.load().namespaces.system, part)


def system_nodes(account: Account, stack: Stack) -> int:
    """How many nodes the managed groups without GPU should have."""
    label, groups = contract.load().gpu.label, managed_groups(account, stack.cluster_name)
    return sum(group["scalingConfig"]["desiredSize"] for group in groups
               if group.get("labels", {}).get(label.key) != label.value)  # fmt: skip


def managed_groups(account: Account, cluster: str) -> tuple[dict[str, Any], ...]:
    """Every managed node group of a cluster, as EKS describes it."""
    eks = account.client("eks")
    with asking("the node groups"):
        pages = eks.get_paginator("list_nodegroups").paginate(clusterName=cluster)
        return tuple(eks.describe_nodegroup(clusterName=cluster, nodegroupName=name)["nodegroup"]
                     for page in pages for name in page["nodegroups"])  # fmt: skip


def missing_reason(cluster: Cluster, account: Account, stack: Stack) -> str:
    """Why nodes are missing or not Ready: what Auto Scaling, EKS and the nodes themselves say."""

    def ask(source: Callable[[], list[Trouble]]) -> str:
        try:  # a source that cannot be asked must not hide what the others say
            return waits.troubles_text(source())
        except Problem as reason:
            return str(reason)

    reasons = [ask(lambda: scaling_troubles(account, stack.gpu_asg_name)),
               ask(lambda: managed_group_troubles(account, stack.cluster_name))]  # fmt: skip
    reasons += [f"node {node['metadata']['name']}: {each.get('reason')}: {each.get('message')}"
                for node in cluster.list("nodes")
                for each in node.get("status", {}).get("conditions", [])
                if each["type"] == "Ready" and each["status"] != "True"]  # fmt: skip
    return "\n".join(filter(None, reasons)) or (
        "No node has reported a fault: it has not registered. Its kubelet's log is in the system "
        "log of the instance ('aws ec2 get-console-output'); the access entry of its role and its "
        "way out of the private subnet (NAT) are the usual causes."
    )


def scaling_troubles(account: Account, group: str) -> list[Trouble]:
    """The last failures of an Auto Scaling group, newest first: spot capacity, price, quota."""
    with asking("the activities of the GPU node group"):
        activities = account.client("autoscaling").describe_scaling_activities(
            AutoScalingGroupName=group, MaxRecords=LAST_ACTIVITIES
        )["Activities"]
    messages = dict.fromkeys(each.get("StatusMessage") or each.get("Description", "")
                             for each in activities
                             if each["StatusCode"] in ("Failed", "Cancelled"))  # fmt: skip
    return [Trouble(f"group {group}", text, explain.recognise(text)) for text in messages if text]


def managed_group_troubles(account: Account, cluster: str) -> list[Trouble]:
    """What EKS says is wrong with its managed node groups: capacity, roles, subnets.

    A group that once had no capacity keeps saying so until it scales out again
    (aws/containers-roadmap#2326), so this is asked only when nodes are missing.
    """
    troubles = []
    for group in managed_groups(account, cluster):
        for issue in group.get("health", {}).get("issues", []):
            text = f"{issue.get('code', 'Unknown')}: {issue.get('message', 'no reason given')}"
            resources = ", ".join(issue.get("resourceIds", []))
            text += f" ({resources})" if resources else ""
            where = f"node group {group['nodegroupName']}"
            troubles.append(Trouble(where, text, explain.recognise(text)))
    return troubles


def read_gpu_group(run: Run, account: Account) -> GpuNodeGroup:
    """Read the GPU node group back from AWS (or its emulator), and record it."""
    stack = run.load(Stack)
    with asking("the GPU node group"):
        groups = account.client("autoscaling").describe_auto_scaling_groups(
            AutoScalingGroupNames=[stack.gpu_asg_name]
        )["AutoScalingGroups"]
        if not groups:
            raise Problem(f"There is no Auto Scaling group {stack.gpu_asg_name}.", REPAIR)
        group: dict[str, Any] = groups[0]
        policy = group.get("MixedInstancesPolicy", {})
        launch = policy.get("LaunchTemplate", {})
        chosen = launch.get("LaunchTemplateSpecification") or group.get("LaunchTemplate", {})
        identity, version = chosen["LaunchTemplateId"], chosen.get("Version", "$Default")
        template = account.client("ec2").describe_launch_template_versions(
            LaunchTemplateId=identity, Versions=[version]
        )["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    labels, taints = node_registration(template)
    disks = template.get("BlockDeviceMappings", [])
    disk: dict[str, Any] = disks[0]["Ebs"] if disks else {}
    spread = policy.get("InstancesDistribution", {})
    shares = ("OnDemandBaseCapacity", "OnDemandPercentageAboveBaseCapacity")
    on_demand, price = [spread.get(share) for share in shares], spread.get("SpotMaxPrice")
    instance_tags = [each["Tags"] for each in template.get("TagSpecifications", [])
                     if each["ResourceType"] == "instance"]  # fmt: skip
    return run.save(GpuNodeGroup(
        emulated=account.emulated,
        group=group["AutoScalingGroupName"],
        instance_types=tuple(each["InstanceType"] for each in launch.get("Overrides", [])),
        max_price_usd=float(price) if price else None,
        spot_only=on_demand == [0, 0],
        sizes=(group["MinSize"], group["DesiredCapacity"], group["MaxSize"]),
        labels=labels,
        taints=taints,
        tags=_tags(group.get("Tags", [])),
        instance_tags=_tags(next(iter(instance_tags), [])),
        disk_gib=disk.get("VolumeSize", 0),
        encrypted=bool(disk.get("Encrypted")),
        imdsv2=template.get("MetadataOptions", {}).get("HttpTokens") == "required",
    ))  # fmt: skip


def node_registration(template: Mapping[str, Any]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Labels and taints that a launch template's nodes register with: nodeadm's kubelet flags."""
    message = email.message_from_bytes(base64.b64decode(template.get("UserData", "")))
    parts = [part for part in message.walk() if part.get_content_type() == NODE_CONFIG]
    if not parts:
        what = "The launch template of the GPU nodes has no NodeConfig: its nodes would not join."
        raise Problem(what, REPAIR)
    kubelet = yaml.safe_load(str(parts[0].get_payload()))["spec"].get("kubelet", {})
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in kubelet.get("flags", []))
    labels = dict(pair.split("=", 1) for pair in flags.get("node-labels", "").split(",") if pair)
    return labels, tuple(filter(None, flags.get("register-with-taints", "").split(",")))


def _tags(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}
