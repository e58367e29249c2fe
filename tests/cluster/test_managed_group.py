"""A managed spot group: read back from EKS, and asked for its reason when no node comes."""

from typing import Any

import pytest
from moto.eks.models import eks_backends

from helpers.cloud.account import Account
from helpers.cloud.stack import Stack
from helpers.cluster import contract, nodes
from helpers.cluster.client import Cluster
from helpers.errors import Problem
from helpers.run import Run

from . import scenes
from .api_server import Server

AGREED = contract.load().gpu
ROLE = "arn:aws:iam::123456789012:role/nodes"
EFFECTS = {effect: name for name, effect in nodes.EKS_EFFECTS.items()}
SPOT = (
    "Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill capacity due to "
    "your request configuration. Please adjust your request and try again."
)


def _template(aws: Account) -> dict[str, str]:
    """A launch template like that of infra/gpu.tf."""
    tags = [{"Key": "project", "Value": "gpu-e2e"}]
    made = aws.client("ec2").create_launch_template(
        LaunchTemplateName="gpu-e2e-gpu",
        LaunchTemplateData={
            "BlockDeviceMappings": [
                {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 100, "Encrypted": True}}
            ],
            "MetadataOptions": {"HttpTokens": "required"},
            "TagSpecifications": [{"ResourceType": "instance", "Tags": tags}],
        },
    )["LaunchTemplate"]  # fmt: skip
    return {"id": made["LaunchTemplateId"], "version": "1"}


def _group(aws: Account, stack: Stack, name: str, **further: Any) -> dict[str, Any]:
    made: dict[str, Any] = aws.client("eks").create_nodegroup(
        clusterName=stack.cluster_name, nodegroupName=name, nodeRole=ROLE,
        subnets=list(stack.public_subnet_ids),
        scalingConfig={"minSize": 0, "desiredSize": 1, "maxSize": 2}, **further,
    )["nodegroup"]  # fmt: skip
    return made


@pytest.fixture
def managed(aws: Account, stack: Stack) -> Stack:
    """The stack with a system group, and GPU nodes in a group of EKS."""
    aws.client("eks").create_cluster(
        name=stack.cluster_name, version="1.35", roleArn=ROLE,
        resourcesVpcConfig={"subnetIds": list(stack.public_subnet_ids)},
    )  # fmt: skip
    _group(aws, stack, "system", instanceTypes=["t3.large"], capacityType="ON_DEMAND")
    gpu = _group(
        aws, stack, "gpu", instanceTypes=list(AGREED.instance_types), capacityType="SPOT",
        labels=AGREED.label.selector, amiType="AL2023_x86_64_NVIDIA",
        taints=[AGREED.taint.object | {"effect": EFFECTS[AGREED.taint.effect]}],
        launchTemplate=_template(aws),
    )  # fmt: skip
    scaling = gpu["resources"]["autoScalingGroups"][0]["name"]
    return stack.model_copy(update={"gpu_capacity": "managed-spot", "gpu_asg_name": scaling})


@pytest.fixture
def run(managed: Stack, patient: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(Run, "load", lambda self, kind: managed)
    return patient


def _stored(stack: Stack, name: str) -> Any:
    """A group as the emulator keeps it."""
    clusters = eks_backends["123456789012"]["us-east-1"].clusters
    return clusters[stack.cluster_name].nodegroups[name]


def _issue(code: str, message: str, *concerned: str) -> dict[str, Any]:
    return {"code": code, "message": message, "resourceIds": list(concerned)}


def test_a_managed_group_is_read_back_from_eks(aws: Account, run: Run, managed: Stack) -> None:
    group = nodes.read_gpu_group(run, aws)
    assert (group.capacity, group.spot_only, group.max_price_usd) == ("managed-spot", True, None)
    assert "no price cap" in group.summary
    assert (group.labels, group.taints) == (AGREED.label.selector, (str(AGREED.taint),))
    assert group.instance_types == AGREED.instance_types
    assert (group.sizes, group.disk_gib, group.encrypted) == ((0, 1, 2), 100, True)
    assert group.imdsv2 and group.instance_tags == {"project": "gpu-e2e"}
    assert nodes.system_nodes(aws, managed) == 1  # those without the label
    _stored(managed, "gpu").capacity_type = "ON_DEMAND"
    assert not nodes.read_gpu_group(run, aws).spot_only
    aws.client("eks").delete_nodegroup(clusterName=managed.cluster_name, nodegroupName="gpu")
    with pytest.raises(Problem, match="There is no Auto Scaling group"):
        nodes.read_gpu_group(run, aws)


def test_why_no_node_comes_is_what_eks_says_of_every_group(
    aws: Account, managed: Stack, server: Server, cluster: Cluster
) -> None:
    _stored(managed, "gpu").health = {"issues": [
        _issue("AsgInstanceLaunchFailures", SPOT, managed.gpu_asg_name),
        _issue("NodeCreationFailure", "Instances failed to join", "i-1", "i-2"),
        _issue("Unknown", "something new"),
    ]}  # fmt: skip
    addresses = _issue("InsufficientFreeAddresses", "not enough IP addresses")
    _stored(managed, "system").health = {"issues": [addresses]}
    troubles = nodes.managed_group_troubles(aws, managed.cluster_name)
    assert any(managed.gpu_asg_name in trouble.said for trouble in troubles)
    rules = {(each.where, each.explanation and each.explanation.name) for each in troubles}
    assert rules == {
        ("node group gpu", "no-spot-capacity"),
        ("node group gpu", "node-not-joined"),
        ("node group gpu", None),
        ("node group system", "no-addresses"),
    }
    server.put(scenes.node("system"))
    reason = nodes.missing_reason(cluster, aws, managed)
    assert "no spot capacity for these instance types" in reason
