"""The cluster's side of AWS: nodes that do not come, a load balancer that comes and goes."""

import json
import re
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest
from moto.eks.models import eks_backends

from helpers.cloud import zero
from helpers.cloud.account import Account
from helpers.cloud.stack import Stack
from helpers.cluster import client, nodes, triton_release
from helpers.cluster.client import Cluster
from helpers.cluster.waits import Pace
from helpers.errors import Problem
from helpers.rehearsal.world import WORLD
from helpers.run import Run
from tests.rehearsal.test_faults import spot_group

from . import scenes
from .api_server import Server

QUICK = Pace(0.05, 0.01, lambda line: None)


def test_a_load_balancer_is_found_by_its_cluster(aws: Account, stack: Stack) -> None:
    scenes.load_balancer(aws, stack)
    assert triton_release.cluster_balancers(aws, "gpu-e2e", "vpc-other") == ("gpu-e2e-triton",)
    assert triton_release.cluster_balancers(aws, "other", "vpc-other") == ()


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


def test_a_load_balancer_is_counted_from_the_moment_it_costs(
    aws: Account, stack: Stack, server: Server, hasty: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn, host = scenes.load_balancer(aws, stack, run=hasty.run_id)
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
    run = Run(hasty.folder, hasty.profile.model_copy(update={"target": "aws"}))
    with monkeypatch.context() as patch, pytest.raises(Problem, match=r"Target\.Timeout"):
        patch.setattr(triton_release, "target_states", lambda *_: {"http": ["Target.Timeout"]})
        triton_release.address(run, aws)  # it never serves
    assert [event["count"] for event in run.events("load-balancers")] == [1]
    assert triton_release.address(run, aws).holds
    assert len(run.events("load-balancers")) == 1


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


def test_images_that_came_through_nat_are_counted_by_node(
    server: Server, cluster: Cluster, patient: Run
) -> None:
    node = scenes.node("gpu-1", gpu=True)
    node["status"]["images"] = [
        {"names": ["1.dkr.ecr.us-east-1.amazonaws.com/triton:1"], "sizeBytes": 9_000_000_000},
        {"names": ["nvcr.io/nvidia/k8s/dcgm-exporter:4"], "sizeBytes": 400_000_000},
        {"names": None, "sizeBytes": 100_000_000},
    ]
    server.put(node)
    nodes.record_pulled_images(patient, cluster)
    (event,) = patient.events("images-pulled")
    assert (event["node"], event["gb"]) == ("gpu-1", 0.5)


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


def test_a_market_without_capacity_gives_the_reason_the_prices_and_what_the_rest_costs(
    aws: Account, stack: Stack, cluster: Cluster, hasty: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    WORLD.spot.available = False
    spot_group(aws)
    monkeypatch.setattr(client, "connect", lambda run, account: replace(cluster, own=False))
    load = Run.load
    monkeypatch.setattr(Run, "load", lambda run, of: stack if of is Stack else load(run, of))
    monkeypatch.setattr(nodes, "system_nodes", lambda account, stack: 0)
    monkeypatch.setattr(nodes, "managed_group_troubles", lambda *_: [])
    monkeypatch.setattr(zero, "hourly_price", lambda run: "about US$ 0.25 an hour")
    with pytest.raises(Problem) as refused:
        nodes.wait_ready(hasty, aws)
    said = str(refused.value)
    assert "0 of 1 with GPU" in said and "InsufficientInstanceCapacity" in said
    assert "no spot capacity for these instance types" in said and "another region" in said
    assert re.search(r"g4dn.xlarge us-east-1a +0.2\d+ +yes\n", said)
    assert re.search(r"g6.xlarge us-east-1a +0.3\d+ +no\n", said)
    assert "costs about US$ 0.25 an hour until it is removed: workbook run --only 06" in said


def test_nodes_are_waited_for_until_as_many_are_ready_as_the_groups_want(
    aws: Account, stack: Stack, cluster: Cluster, server: Server, patient: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(client, "connect", lambda run, account: cluster)
    tagged = stack.model_copy(update={"tags": {"run": patient.run_id}})
    monkeypatch.setattr(Run, "load", lambda run, kind: tagged)
    monkeypatch.setattr(nodes, "system_nodes", lambda account, stack: 1)
    server.put(scenes.node("system-1"), scenes.node("gpu-1", ready=False, gpu=True))
    server.on("/api/v1/nodes", 3, scenes.node("gpu-1", gpu=True))
    server.put(scenes.daemon_set("aws-node", 2, 2))
    ready = nodes.wait_ready(patient, aws)
    plugin: Any = server.get("DaemonSet", "aws-node")
    (container,) = plugin["spec"]["template"]["spec"]["containers"]
    assert json.loads(container["env"][0]["value"]) == {"run": patient.run_id}
    assert {node.name for node in ready.nodes} == {"system-1", "gpu-1"} and ready.wanted == 2
    assert server.asked[("GET", "/api/v1/nodes")] >= 3
    assert [event["node"] for event in patient.events("node-added")] == ["gpu-1", "system-1"]


ROLE = "arn:aws:iam::123456789012:role/nodes"
SPOT = (
    "Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill capacity due to "
    "your request configuration. Please adjust your request and try again."
)


def _issue(code: str, message: str, *concerned: str) -> dict[str, Any]:
    return {"code": code, "message": message, "resourceIds": list(concerned)}


def test_why_no_node_comes_is_what_eks_says_of_its_groups(
    aws: Account, stack: Stack, server: Server, cluster: Cluster
) -> None:
    eks, subnets = aws.client("eks"), list(stack.public_subnet_ids)
    eks.create_cluster(
        name=stack.cluster_name, version="1.35", roleArn=ROLE,
        resourcesVpcConfig={"subnetIds": subnets},
    )  # fmt: skip
    eks.create_nodegroup(
        clusterName=stack.cluster_name, nodegroupName="system", nodeRole=ROLE, subnets=subnets,
        scalingConfig={"minSize": 0, "desiredSize": 1, "maxSize": 2},
    )  # fmt: skip
    assert nodes.system_nodes(aws, stack) == 1
    clusters = eks_backends["123456789012"]["us-east-1"].clusters
    clusters[stack.cluster_name].nodegroups["system"].health = {"issues": [
        _issue("AsgInstanceLaunchFailures", SPOT, stack.gpu_asg_name),
        _issue("NodeCreationFailure", "Instances failed to join", "i-1", "i-2"),
        _issue("Unknown", "something new"),
        _issue("InsufficientFreeAddresses", "not enough IP addresses"),
    ]}  # fmt: skip
    troubles = nodes.managed_group_troubles(aws, stack.cluster_name)
    assert any(stack.gpu_asg_name in trouble.said for trouble in troubles)
    rules = [each.explanation and each.explanation.name for each in troubles]
    assert rules == ["no-spot-capacity", "node-not-joined", None, "no-addresses"]
    server.put(scenes.node("system"))
    reason = nodes.missing_reason(cluster, aws, stack)
    assert "no spot capacity for these instance types" in reason
