"""The cluster's side of AWS: nodes that do not come, a load balancer that comes and goes."""

from collections.abc import Iterator
from typing import Any

import pytest

from helpers.cloud.account import Account
from helpers.cloud.reports import Stack
from helpers.cluster import balancer, client, diagnose, nodes, triton_release, values
from helpers.cluster.client import Cluster
from helpers.cluster.waits import Pace
from helpers.errors import Problem
from helpers.profile import Profile
from helpers.rehearsal import double
from helpers.run import Run

from . import scenes
from .api_server import Server

QUICK = Pace(0.05, 0.01, lambda line: None)
INGRESSES = "/apis/networking.k8s.io/v1/namespaces/triton/ingresses"


@pytest.fixture
def aws() -> Iterator[Account]:
    with double.installed() as found:
        yield found.account


@pytest.fixture
def stack(aws: Account) -> Stack:
    """A stack of which only network and names are real."""
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    zones = zip("ab", ("10.0.0.0/24", "10.0.1.0/24"), strict=True)
    subnets = tuple(
        ec2.create_subnet(VpcId=vpc, CidrBlock=cidr, AvailabilityZone=f"us-east-1{zone}")["Subnet"][
            "SubnetId"
        ]
        for zone, cidr in zones
    )
    return Stack.model_construct(
        cluster_name="gpu-e2e", vpc_id=vpc, public_subnet_ids=subnets, gpu_asg_name="gpu-e2e-gpu",
        stack_name="gpu-e2e",
    )  # fmt: skip


def _balancer(aws: Account, stack: Stack) -> tuple[str, str]:
    """A load balancer as its controller makes one; its ARN and its host."""
    made = aws.client("elbv2").create_load_balancer(
        Name="gpu-e2e-triton", Subnets=list(stack.public_subnet_ids), Type="application",
        Tags=[{"Key": balancer.CLUSTER_TAG, "Value": "gpu-e2e"}],
    )["LoadBalancers"][0]  # fmt: skip
    return made["LoadBalancerArn"], made["DNSName"]


def test_a_load_balancer_is_found_by_its_cluster_and_seen_gone(aws: Account, stack: Stack) -> None:
    arn, _ = _balancer(aws, stack)
    assert balancer.of_cluster(aws, "gpu-e2e", "vpc-other") == ("gpu-e2e-triton",)
    assert balancer.of_cluster(aws, "other", "vpc-other") == ()
    with pytest.raises(Problem, match=r"gpu-e2e-triton still there.*blocks the VPC's removal"):
        balancer.wait_gone(aws, "gpu-e2e", stack.vpc_id, QUICK)
    aws.client("elbv2").delete_load_balancer(LoadBalancerArn=arn)
    assert balancer.wait_gone(aws, "gpu-e2e", stack.vpc_id, QUICK) >= 0


def test_an_address_that_does_not_come_is_explained_by_the_controller(
    aws: Account, server: Server, cluster: Cluster
) -> None:
    server.put(
        scenes.ingress("triton"),
        scenes.event("triton", "FailedBuildModel", "couldn't auto-discover subnets"),
    )
    with pytest.raises(Problem, match=r"0 of 1 Ingresses.*finds no public subnets"):
        balancer.wait(cluster, aws, "triton", QUICK)


def test_an_address_without_targets_says_what_is_missing(
    aws: Account, stack: Stack, server: Server, cluster: Cluster
) -> None:
    _, host = _balancer(aws, stack)
    server.put(scenes.ingress("triton", host))
    with pytest.raises(Problem, match=r"no target group yet.*No pod is registered"):
        balancer.wait(cluster, aws, "triton", QUICK)


def test_removal_deletes_the_ingress_and_waits_for_the_load_balancer(
    aws: Account, stack: Stack, server: Server, cluster: Cluster, patient: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    arn, host = _balancer(aws, stack)
    server.put(scenes.ingress("triton", host))
    run = Run(patient.folder, _aws_profile(patient.profile))
    monkeypatch.setattr(Run, "find", lambda self, kind: stack)
    monkeypatch.setattr(client, "of_stack", lambda *_: cluster)
    looks = iter([balancer.of_cluster])
    original = balancer.of_cluster

    def controller(account: Account, name: str, vpc: str) -> tuple[str, ...]:
        if next(looks, None) is None and server.get("Ingress", "triton") is None:
            aws.client("elbv2").delete_load_balancer(LoadBalancerArn=arn)
        return original(account, name, vpc)

    monkeypatch.setattr(balancer, "of_cluster", controller)
    found = triton_release.remove(run, aws)
    assert (found.ingresses, found.balancers) == (("triton/triton",), ("gpu-e2e-triton",))
    assert server.get("Ingress", "triton") is None


def test_a_rehearsal_removes_nothing_and_says_so(aws: Account, patient: Run) -> None:
    found = triton_release.remove(patient, aws)
    assert not found.ingresses and "rehearsal has no cluster" in found.note
    assert "no cluster of its own" in triton_release.deploy(patient, aws, "r@sha256:1").absent
    assert not triton_release.address(patient, aws).holds


def _aws_profile(profile: Profile) -> Profile:
    return profile.model_copy(update={"target": "aws"})


def test_nodes_that_are_not_ready_give_the_kubelets_reason(
    aws: Account, stack: Stack, server: Server, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put(scenes.node("late", ready=False))
    monkeypatch.setattr(diagnose, "of_group", lambda *_: [])
    assert "cni plugin not initialized" in nodes.reason(cluster, aws, stack)


def test_a_group_without_capacity_gives_auto_scalings_reason() -> None:
    price = (
        "Could not launch Spot Instances. SpotMaxPriceTooLow - Your Spot request price of 0.1 is "
        "lower than the minimum required Spot request fulfillment price of 0.21."
    )

    class Scaling:
        def describe_scaling_activities(self, **_: Any) -> dict[str, Any]:
            done = {"StatusCode": "Successful", "StatusMessage": ""}
            return {"Activities": [{"StatusCode": "Failed", "StatusMessage": price}, done]}

    class Asked(Account):
        def client(self, service: str, region: str = "") -> Any:
            return Scaling()

    (found,) = diagnose.of_group(Asked("us-east-1"), "gpu-e2e-gpu")
    assert found.explanation is not None and found.explanation.rule == "spot-price"
    assert "0.21 $/h is asked" in str(found)


def test_the_vpcs_addresses_are_asked_for(aws: Account, stack: Stack) -> None:
    assert values._vpc_cidr(aws, stack.vpc_id) == "10.0.0.0/16"


def test_nodes_are_waited_for_until_as_many_are_ready_as_the_groups_want(
    aws: Account, stack: Stack, cluster: Cluster, server: Server, patient: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(client, "connect", lambda run, account: cluster)
    monkeypatch.setattr(Run, "load", lambda run, kind: stack)
    monkeypatch.setattr(nodes, "system_nodes", lambda account, stack: 1)
    server.put(scenes.node("system-1"), scenes.node("gpu-1", ready=False, gpu=True))
    server.on("/api/v1/nodes", 3, scenes.node("gpu-1", gpu=True))
    found = nodes.wait_ready(patient, aws)
    assert {one.name for one in found.nodes} == {"system-1", "gpu-1"} and found.wanted == 2
    assert server.asked[("GET", "/api/v1/nodes")] >= 3
    assert [event["node"] for event in patient.events("node-added")] == ["gpu-1", "system-1"]
    assert patient.events("gpu-nodes")[-1]["count"] == 1
