"""What the cluster leaves in its network blocks a real `terraform destroy`, and is removed then."""

from typing import Any
from unittest.mock import Mock

import pytest

from helpers.cloud import leftovers, sweep, zero
from helpers.cloud.leftovers import MADE_BY_CLUSTER
from helpers.errors import Problem
from helpers.run import Run

from .conftest import MakeWorkspace

NAME = "cluster.k8s.amazonaws.com/name"  # of an interface that the VPC CNI has made


def tagged(kind: str, tags: dict[str, str]) -> dict[str, Any]:
    pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": pairs}]}


def test_what_the_cluster_left_is_removed_and_nothing_else(
    make: MakeWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "PAUSE_S", 0.0)
    monkeypatch.setattr(zero, "DESTROYS", 1)
    workspace = make("aws", zones=3)
    workspace.init()
    workspace.plan()
    workspace.apply()
    run, ec2 = workspace.run, workspace.account.client("ec2")
    ours = [{"Name": "tag:run", "Values": [run.run_id]}]
    (subnet,) = ec2.describe_subnets(Filters=ours)["Subnets"]
    where = {"SubnetId": subnet["SubnetId"]}

    def interface(tags: dict[str, str], **more: Any) -> str:
        made = ec2.create_network_interface(**where, **tagged("network-interface", tags), **more)
        return str(made["NetworkInterface"]["NetworkInterfaceId"])

    others = [interface({NAME: "payroll"}), interface({NAME: "gpu-e2e", "run": "another"})]
    machine = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1, **where)
    instance, used = machine["Instances"][0]["InstanceId"], interface({NAME: "gpu-e2e"})
    attached = ec2.attach_network_interface(
        NetworkInterfaceId=used, InstanceId=instance, DeviceIndex=1
    )
    own = interface({"run": run.run_id})
    ended = zero.destroy(run, workspace)
    assert not ended.holds and "DependencyViolation" in ended.problem
    assert f"network interface {own}: removed" in ended.held
    assert f"network interface {used}: leaving in-use" in ended.summary
    assert all(f"network interface {other}: untouched" in ended.summary for other in others)
    left = leftovers.scan(run, workspace.account, only=("VPC", *MADE_BY_CLUSTER)).left
    assert {item.id for item in left} >= {subnet["VpcId"], used, *others}

    ec2.detach_network_interface(AttachmentId=attached["AttachmentId"])  # and so it is leaked
    ec2.terminate_instances(InstanceIds=[instance])
    for other in others:
        ec2.delete_network_interface(NetworkInterfaceId=other)
    of_controller = ec2.create_security_group(
        GroupName="k8s-triton-1", Description="x", VpcId=subnet["VpcId"],
        **tagged("security-group", {"elbv2.k8s.aws/cluster": "gpu-e2e"}),
    )["GroupId"]  # fmt: skip
    eks = workspace.account.client("eks")
    cluster = eks.create_cluster(
        name="gpu-e2e", roleArn="arn:aws:iam::123456789012:role/eks",
        resourcesVpcConfig={"subnetIds": [subnet["SubnetId"]]},
    )["cluster"]  # fmt: skip
    groups = [of_controller, cluster["resourcesVpcConfig"]["clusterSecurityGroupId"]]
    ec2.modify_network_interface_attribute(NetworkInterfaceId=used, Groups=groups)
    eks.delete_cluster(name="gpu-e2e")  # which leaves its group, since the interface uses it
    monkeypatch.setattr(zero, "DESTROYS", 2)
    ended = zero.destroy(run, workspace)
    assert ended.holds and ended.problem == ""
    removed = [("network interface", used), *(("security group", name) for name in groups)]
    assert {*ended.held} == {f"{kind} {name}: removed" for kind, name in removed}
    outcomes = [event["outcome"] for event in run.events("stack-destroy-stop")]
    assert outcomes == ["failed", "failed", "finished"]


def test_a_destroy_that_fails_is_recorded_and_the_scan_can_follow(run: Run) -> None:
    workspace = Mock(account=Mock(emulated=False))
    workspace.destroy.side_effect = Problem("Terraform could not destroy the stack: no disk.")
    workspace.remaining.return_value = ("aws_vpc.this",)
    run.event("stack-apply-start", stage="01", source="Terraform")
    ended = zero.destroy(run, workspace)
    assert not ended.holds and "no disk" in ended.summary and workspace.destroy.call_count == 1
