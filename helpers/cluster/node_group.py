"""The GPU node group as AWS has it: asked, not taken from Terraform's word."""

import base64
import email
from collections.abc import Iterable
from typing import Any

import yaml

from helpers.cloud.account import Account, asking
from helpers.cloud.reports import Stack
from helpers.cluster import contract, managed_groups
from helpers.cluster.live_reports import NodeGroup
from helpers.errors import Problem
from helpers.run import Run

NODE_CONFIG = "application/node.eks.aws"
EKS_EFFECTS = {
    "NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute", "PREFER_NO_SCHEDULE": "PreferNoSchedule"
}  # fmt: skip


def read(run: Run, account: Account) -> NodeGroup:
    """Read the GPU node group back and record it.

    Args:
        run: Whose stack stands.
        account: Where it stands; the emulator in a rehearsal.

    Raises:
        Problem: There is no such group, or AWS refuses.
    """
    stack = run.load(Stack)
    with asking("the GPU node group"):
        group = _group(account, stack.gpu_asg_name)
        template = _template(account, group)
        capped = stack.gpu_capacity == "spot-capped"
        managed = {} if capped else _managed(account, stack)
    labels, taints = registration(template) if capped else _of_managed(managed)
    disk: dict[str, Any] = next((one["Ebs"] for one in template.get("BlockDeviceMappings", [])), {})
    policy = group.get("MixedInstancesPolicy", {})
    found = NodeGroup(
        emulated=account.emulated,
        group=group["AutoScalingGroupName"],
        capacity=stack.gpu_capacity,
        instance_types=_types(policy, managed),
        max_price_usd=_cap(policy),
        spot_only=_spot_only(policy) if capped else managed.get("capacityType") == "SPOT",
        sizes=(group["MinSize"], group["DesiredCapacity"], group["MaxSize"]),
        labels=labels,
        taints=taints,
        tags=_tags(group.get("Tags", [])),
        instance_tags=_instance_tags(template),
        disk_gib=disk.get("VolumeSize", 0),
        encrypted=bool(disk.get("Encrypted")),
        imdsv2=template.get("MetadataOptions", {}).get("HttpTokens") == "required",
    )
    run.save(found)
    return found


def agrees(found: NodeGroup) -> bool:
    """Whether the group registers its nodes as the contract says."""
    agreed = contract.load().gpu
    return (
        found.labels.get(agreed.label.key) == agreed.label.value
        and str(agreed.taint) in found.taints
        and set(found.instance_types) == set(agreed.instance_types)
    )


def registration(template: dict[str, Any]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Labels and taints that a launch template's nodes register with: nodeadm's kubelet flags.

    Raises:
        Problem: The user data hold no NodeConfig.
    """
    message = email.message_from_bytes(base64.b64decode(template.get("UserData", "")))
    parts = [one for one in message.walk() if one.get_content_type() == NODE_CONFIG]
    if not parts:
        raise Problem(
            "The launch template of the GPU nodes has no NodeConfig: its nodes would not join.",
            "Apply stage 01 again.",
        )
    flags = yaml.safe_load(str(parts[0].get_payload()))["spec"].get("kubelet", {}).get("flags", [])
    given = dict(flag.removeprefix("--").split("=", 1) for flag in flags)
    labels = dict(one.split("=", 1) for one in given.get("node-labels", "").split(",") if one)
    taints = tuple(one for one in given.get("register-with-taints", "").split(",") if one)
    return labels, taints


def _group(account: Account, name: str) -> dict[str, Any]:
    groups = account.client("autoscaling").describe_auto_scaling_groups(
        AutoScalingGroupNames=[name]
    )["AutoScalingGroups"]
    if not groups:
        raise Problem(f"There is no Auto Scaling group {name}.", "Apply stage 01 again.")
    found: dict[str, Any] = groups[0]
    return found


def _template(account: Account, group: dict[str, Any]) -> dict[str, Any]:
    mixed = group.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
    wanted = mixed.get("LaunchTemplateSpecification") or group.get("LaunchTemplate", {})
    versions = account.client("ec2").describe_launch_template_versions(
        LaunchTemplateId=wanted["LaunchTemplateId"], Versions=[wanted.get("Version", "$Default")]
    )["LaunchTemplateVersions"]
    data: dict[str, Any] = versions[0]["LaunchTemplateData"]
    return data


def _managed(account: Account, stack: Stack) -> dict[str, Any]:
    for group in managed_groups.read(account, stack.cluster_name):
        scaling = group.get("resources", {}).get("autoScalingGroups", [])
        if stack.gpu_asg_name in [one["name"] for one in scaling]:
            return group
    raise Problem("EKS knows no node group for the GPU nodes.", "Apply stage 01 again.")


def _of_managed(group: dict[str, Any]) -> tuple[dict[str, str], tuple[str, ...]]:
    taints = tuple(
        f"{one['key']}={one.get('value', '')}:{EKS_EFFECTS[one['effect']]}"
        for one in group.get("taints", [])
    )
    return dict(group.get("labels", {})), taints


def _types(policy: dict[str, Any], managed: dict[str, Any]) -> tuple[str, ...]:
    overrides = policy.get("LaunchTemplate", {}).get("Overrides", [])
    return tuple(managed.get("instanceTypes", [])) or tuple(
        one["InstanceType"] for one in overrides
    )


def _cap(policy: dict[str, Any]) -> float | None:
    price = policy.get("InstancesDistribution", {}).get("SpotMaxPrice")
    return float(price) if price else None


def _spot_only(policy: dict[str, Any]) -> bool:
    distribution = policy.get("InstancesDistribution", {})
    shares = ("OnDemandBaseCapacity", "OnDemandPercentageAboveBaseCapacity")
    return [distribution.get(one) for one in shares] == [0, 0]


def _tags(tags: Iterable[dict[str, str]]) -> dict[str, str]:
    return {one["Key"]: one["Value"] for one in tags}


def _instance_tags(template: dict[str, Any]) -> dict[str, str]:
    found = template.get("TagSpecifications", [])
    return next((_tags(one["Tags"]) for one in found if one["ResourceType"] == "instance"), {})
