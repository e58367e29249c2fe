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


def _sick(stack: Stack, name: str, *issues: dict[str, Any]) -> None:
    """What EKS finds wrong with a group, as the emulator keeps it."""
    backend = eks_backends["123456789012"]["us-east-1"]
    backend.clusters[stack.cluster_name].nodegroups[name].health = {"issues": list(issues)}


def _issue(code: str, message: str, *concerned: str) -> dict[str, Any]:
    return {"code": code, "message": message, "resourceIds": list(concerned)}


def test_a_managed_group_is_read_back_from_eks(aws: Account, run: Run) -> None:
    found = nodes.read_gpu_group(run, aws)
    assert (found.capacity, found.spot_only, found.max_price_usd) == ("managed-spot", True, None)
    assert not found.capped and "no price cap" in found.summary
    assert (found.labels, found.taints) == (AGREED.label.selector, (str(AGREED.taint),))
    assert found.instance_types == AGREED.instance_types
    assert (found.sizes, found.disk_gib, found.encrypted) == ((0, 1, 2), 100, True)
    assert found.imdsv2 and found.instance_tags == {"project": "gpu-e2e"}


def test_a_managed_group_on_demand_is_not_called_spot(
    aws: Account, run: Run, managed: Stack
) -> None:
    backend = eks_backends["123456789012"]["us-east-1"]
    backend.clusters[managed.cluster_name].nodegroups["gpu"].capacity_type = "ON_DEMAND"
    assert not nodes.read_gpu_group(run, aws).spot_only


def test_a_group_that_eks_does_not_know_is_said(aws: Account, run: Run, managed: Stack) -> None:
    aws.client("eks").delete_nodegroup(clusterName=managed.cluster_name, nodegroupName="gpu")
    with pytest.raises(Problem, match="There is no Auto Scaling group"):
        nodes.read_gpu_group(run, aws)


def test_the_system_nodes_are_those_without_the_label(aws: Account, managed: Stack) -> None:
    assert nodes.system_nodes(aws, managed) == 1


def test_missing_capacity_is_what_eks_says_of_the_group(
    aws: Account, managed: Stack, server: Server, cluster: Cluster
) -> None:
    _sick(managed, "gpu", _issue("AsgInstanceLaunchFailures", SPOT, managed.gpu_asg_name))
    (found,) = nodes.managed_group_troubles(aws, managed.cluster_name)
    assert found.where == "node group gpu" and managed.gpu_asg_name in found.said
    assert found.explanation is not None and found.explanation.rule == "no-spot-capacity"
    server.put(scenes.node("system"))
    assert "no spot capacity for these instance types" in nodes.missing_reason(
        cluster, aws, managed
    )


def test_every_group_and_every_issue_is_asked_for(aws: Account, managed: Stack) -> None:
    _sick(managed, "gpu", _issue("NodeCreationFailure", "Instances failed to join", "i-1", "i-2"),
          _issue("Unknown", "something new"))  # fmt: skip
    _sick(managed, "system", _issue("InsufficientFreeAddresses", "not enough IP addresses"))
    found = {(one.where, one.explanation and one.explanation.rule)
             for one in nodes.managed_group_troubles(aws, managed.cluster_name)}  # fmt: skip
    assert found == {
        ("node group gpu", "node-not-joined"),
        ("node group gpu", None),
        ("node group system", "no-addresses"),
    }
