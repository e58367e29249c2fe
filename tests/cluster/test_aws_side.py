"""The cluster's side of AWS: nodes that do not come, a load balancer that comes and goes."""

from unittest.mock import Mock

import pytest

from helpers.cloud.account import Account
from helpers.cloud.stack import Stack
from helpers.cluster import client, nodes, removal, triton_release
from helpers.cluster.client import Cluster
from helpers.cluster.waits import Pace
from helpers.errors import Problem
from helpers.run import Run

from . import scenes
from .api_server import Server

QUICK = Pace(0.05, 0.01, lambda line: None)


def test_a_load_balancer_is_found_by_its_cluster_and_seen_gone(aws: Account, stack: Stack) -> None:
    arn, _ = scenes.load_balancer(aws, stack)
    assert triton_release.cluster_balancers(aws, "gpu-e2e", "vpc-other") == ("gpu-e2e-triton",)
    assert triton_release.cluster_balancers(aws, "other", "vpc-other") == ()
    with pytest.raises(Problem, match=r"gpu-e2e-triton still there.*blocks the VPC's removal"):
        removal.wait_balancers_gone(aws, "gpu-e2e", stack.vpc_id, QUICK)
    aws.client("elbv2").delete_load_balancer(LoadBalancerArn=arn)
    removal.wait_balancers_gone(aws, "gpu-e2e", stack.vpc_id, QUICK)


def test_an_address_that_does_not_come_or_serves_nothing_is_explained(
    aws: Account, stack: Stack, server: Server, cluster: Cluster
) -> None:
    words = "couldn't auto-discover subnets"
    server.put(scenes.ingress("triton"), scenes.event("triton", "FailedBuildModel", words))
    with pytest.raises(Problem, match=r"0 of 1 Ingresses.*finds no public subnets"):
        triton_release.wait_for_balancer(cluster, aws, "triton", QUICK)
    server.put(scenes.ingress("triton", scenes.load_balancer(aws, stack)[1]))
    with pytest.raises(Problem, match=r"no target group yet.*No pod is registered"):
        triton_release.wait_for_balancer(cluster, aws, "triton", QUICK)


def _serving(
    aws: Account, stack: Stack, server: Server, run: Run, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """A run on AWS with a load balancer, its target group, and an Ingress with its address."""
    arn, host = scenes.load_balancer(aws, stack, run=run.run_id)
    elb = aws.client("elbv2")
    group = elb.create_target_group(
        Name="http", Protocol="HTTP", Port=8000, VpcId=stack.vpc_id, TargetType="ip"
    )["TargetGroups"][0]["TargetGroupArn"]
    elb.create_listener(
        LoadBalancerArn=arn, Protocol="HTTP", Port=80,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
    )  # fmt: skip
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": "10.0.0.5", "Port": 8000}])
    server.put(scenes.ingress("triton", host))
    for name in ("find", "load"):
        monkeypatch.setattr(Run, name, lambda self, kind: stack)
    return Run(run.folder, run.profile.model_copy(update={"target": "aws"}))


def test_a_load_balancer_that_serves_is_counted_from_then_on(
    aws: Account, stack: Stack, server: Server, patient: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _serving(aws, stack, server, patient, monkeypatch)
    assert triton_release.address(run, aws).holds
    assert [event["count"] for event in run.events("load-balancers")] == [1]
    triton_release.address(run, aws)
    assert len(run.events("load-balancers")) == 1


def test_a_load_balancer_that_never_serves_costs_the_same(
    aws: Account, stack: Stack, server: Server, hasty: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _serving(aws, stack, server, hasty, monkeypatch)
    monkeypatch.setattr(triton_release, "target_states", lambda *_: {"http": ["Target.Timeout"]})
    with pytest.raises(Problem, match=r"Target\.Timeout"):
        triton_release.address(run, aws)
    assert [event["count"] for event in run.events("load-balancers")] == [1]


def test_a_rehearsal_installs_nothing_and_says_so(aws: Account, patient: Run) -> None:
    assert "no cluster of its own" in triton_release.deploy(patient, aws, "r@sha256:1").absent
    assert not triton_release.address(patient, aws).holds


def test_nodes_that_are_not_ready_give_the_kubelets_reason(
    aws: Account, stack: Stack, server: Server, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put(scenes.node("late", ready=False))
    refused = Mock(side_effect=Problem("AWS refuses to tell."))
    monkeypatch.setattr(nodes, "scaling_troubles", refused)
    monkeypatch.setattr(nodes, "managed_group_troubles", lambda *_: [])
    reason = nodes.missing_reason(cluster, aws, stack)
    assert "cni plugin not initialized" in reason and "AWS refuses to tell." in reason


def test_a_group_without_capacity_gives_auto_scalings_reason() -> None:
    price = (
        "Could not launch Spot Instances. SpotMaxPriceTooLow - Your Spot request price of 0.1 is "
        "lower than the minimum required Spot request fulfillment price of 0.21."
    )

    failed = {"StatusCode": "Failed", "StatusMessage": price}
    done = {"StatusCode": "Successful", "StatusMessage": ""}
    account = Mock()
    account.client().describe_scaling_activities.return_value = {"Activities": [failed, done]}
    (trouble,) = nodes.scaling_troubles(account, "gpu-e2e-gpu")
    assert trouble.explanation is not None and trouble.explanation.name == "spot-price"
    assert "0.21 $/h is asked" in str(trouble)


def test_nodes_are_waited_for_until_as_many_are_ready_as_the_groups_want(
    aws: Account, stack: Stack, cluster: Cluster, server: Server, patient: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(client, "connect", lambda run, account: cluster)
    monkeypatch.setattr(Run, "load", lambda run, kind: stack)
    monkeypatch.setattr(nodes, "system_nodes", lambda account, stack: 1)
    server.put(scenes.node("system-1"), scenes.node("gpu-1", ready=False, gpu=True))
    server.on("/api/v1/nodes", 3, scenes.node("gpu-1", gpu=True))
    ready = nodes.wait_ready(patient, aws)
    assert {node.name for node in ready.nodes} == {"system-1", "gpu-1"} and ready.wanted == 2
    assert server.asked[("GET", "/api/v1/nodes")] >= 3
    assert [event["node"] for event in patient.events("node-added")] == ["gpu-1", "system-1"]
    assert patient.events("gpu-nodes")[-1]["count"] == 1
