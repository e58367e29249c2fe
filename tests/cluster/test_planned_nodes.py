"""The plan's nodes, and whether pods fit them: taints, labels, affinity, resources."""

import json
from typing import Any

import pytest
from moto.ec2.models.instance_types import INSTANCE_TYPES

from helpers.cloud.plan import NODE_TEMPLATE, PLAN_JSON
from helpers.cluster import contract, planned_nodes
from helpers.cluster.planned_nodes import MACHINES, place
from helpers.errors import Problem
from helpers.run import Run

AGREED = contract.load()
GPU = AGREED.gpu


def plan(taint: str = GPU.taint.key) -> dict[str, Any]:
    """A plan with one GPU node and two nodes for system pods."""
    tags = {f"{NODE_TEMPLATE}label/{GPU.label.key}": GPU.label.value,
            f"{NODE_TEMPLATE}taint/{taint}": f"{GPU.taint.value}:{GPU.taint.effect}"}  # fmt: skip
    override = [{"instance_type": name} for name in GPU.instance_types]
    scaling = {
        "name": "x-gpu", "min_size": 0, "desired_capacity": 1, "max_size": 2,
        "tag": [{"key": key, "value": value} for key, value in tags.items()],
        "mixed_instances_policy": [{
            "launch_template": [{"override": override}],
            "instances_distribution": [{"on_demand_percentage_above_base_capacity": 0}],
        }],
    }  # fmt: skip
    managed = {"node_group_name": "x-system", "instance_types": ["t3.large"], "labels": None,
               "taint": [], "scaling_config": [{"desired_size": 2, "max_size": 3}]}  # fmt: skip
    resources = [{"mode": "managed", "type": "aws_autoscaling_group", "values": scaling},
                 {"mode": "managed", "type": "aws_eks_node_group", "values": managed}]  # fmt: skip
    return {"planned_values": {"root_module": {"resources": resources}}}


def pod(name: str = "p", *, requests: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "resources": {"requests": requests or {}}}
    return {"kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container], **spec}}


@pytest.fixture
def nodes(run: Run) -> planned_nodes.PlannedNodes:
    run.write(PLAN_JSON, json.dumps(plan()))
    return planned_nodes.planned_nodes(run, AGREED)


ON_GPU: dict[str, Any] = {"nodeSelector": GPU.label.selector,
                          "tolerations": [GPU.taint.toleration]}  # fmt: skip


def affinity(operator: str, key: str = GPU.label.key) -> dict[str, Any]:
    values = {"values": [GPU.label.value]} if operator in ("In", "NotIn") else {}
    term = {"matchExpressions": [{"key": key, "operator": operator, **values}]}
    required = {"nodeSelectorTerms": [term]}
    return {"affinity": {"nodeAffinity": {planned_nodes.AFFINITY: required}}}


@pytest.mark.parametrize(
    ("body", "node", "why"),
    [
        (pod(), "x-system-1", ""),
        (pod(**ON_GPU, requests={GPU.resource: "1"}), "x-gpu-1", ""),
        (pod(**ON_GPU, requests={GPU.resource: "2"}), "", f"Insufficient {GPU.resource}"),
        (pod(requests={"memory": "64Gi"}), "", "Insufficient memory"),
        (pod(requests={"cpu": "1900m"}), "", "Insufficient cpu"),
        (pod(nodeSelector=GPU.label.selector), "", "untolerated taint {gpu: true}"),
        (pod(nodeSelector={"a": "b"}), "", "2 node selector does not match"),
        (pod(**affinity("In"), tolerations=[{"operator": "Exists"}]), "x-gpu-1", ""),
        (pod(**affinity("Exists"), tolerations=[GPU.taint.toleration]), "x-gpu-1", ""),
        (pod(**affinity("NotIn"), tolerations=[{"operator": "Exists"}]), "x-system-1", ""),
        (pod(**affinity("DoesNotExist")), "x-system-1", ""),
        (pod(**affinity("Exists", "feature.node.kubernetes.io/x")), "", "affinity does not match"),
        (pod(**ON_GPU | {"tolerations": [{**GPU.taint.toleration, "value": "no"}]}), "", "taint"),
    ],
)
def test_a_pod_fits_by_taints_labels_and_resources(
    nodes: planned_nodes.PlannedNodes, body: dict[str, Any], node: str, why: str
) -> None:
    (placement,) = place([body], nodes.nodes())
    assert placement.node == node and why in placement.why


def test_nodes_fill_up_and_pods_are_spread(nodes: planned_nodes.PlannedNodes) -> None:
    bodies = [pod(str(number), requests={"cpu": "1"}) for number in range(3)]
    placements = place(bodies, nodes.nodes())
    assert [each.node for each in placements] == ["x-system-1", "x-system-2", ""]


def test_a_daemon_set_gets_a_pod_on_each_node_it_may_run_on(
    nodes: planned_nodes.PlannedNodes,
) -> None:
    def daemon(**spec: Any) -> dict[str, Any]:
        return {"kind": "DaemonSet", "metadata": {"name": "d"}, "spec": {"template": pod(**spec)}}

    everywhere = place([daemon(tolerations=[{"operator": "Exists"}])], nodes.nodes())
    assert {each.node for each in everywhere} == {"x-gpu-1", "x-system-1", "x-system-2"}
    (nowhere,) = place([daemon(**affinity("Exists", "nfd"))], nodes.nodes())
    assert not nowhere.node and "it wants no pod" in nowhere.why


def test_replicas_and_the_autoscaler_s_minimum_are_placed(
    nodes: planned_nodes.PlannedNodes,
) -> None:
    owner = {"kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": pod()}}
    target = {"scaleTargetRef": {"name": "d"}, "minReplicas": 2, "maxReplicas": 4}
    scaler = {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "d"}, "spec": target}
    assert planned_nodes.replicas(owner, [owner]) == (1, 1)
    assert planned_nodes.replicas(owner, [owner, scaler]) == (2, 4)
    assert [each.pod for each in place([owner, scaler], nodes.nodes())] == [
        "Deployment d #1", "Deployment d #2",
    ]  # fmt: skip


def test_without_a_plan_contract_and_profile_describe_the_nodes(run: Run) -> None:
    nodes = planned_nodes.planned_nodes(run, AGREED)
    assert nodes.source == "contract and profile" and nodes.free_gpus == 1
    assert planned_nodes.contract_differences(nodes, AGREED) == []


def test_a_plan_that_differs_from_the_contract_is_reported(run: Run) -> None:
    run.write(PLAN_JSON, json.dumps(plan("gpus")))
    nodes = planned_nodes.planned_nodes(run, AGREED)
    assert planned_nodes.contract_differences(nodes, AGREED) == [
        f"x-gpu has no taint {GPU.taint}"
    ]  # fmt: skip
    run.write(PLAN_JSON, json.dumps({"planned_values": {"root_module": {}}}))
    with pytest.raises(Problem, match="has no group of nodes"):
        planned_nodes.planned_nodes(run, AGREED)


def test_the_sizes_of_machines_are_those_that_aws_answers() -> None:
    for name, (cpus, memory_gib, gpus, pods) in MACHINES.items():
        answer = INSTANCE_TYPES[name]
        network = answer["NetworkInfo"]
        addresses = network["Ipv4AddressesPerInterface"] - 1
        assert (cpus, memory_gib, gpus, pods) == (
            answer["VCpuInfo"]["DefaultVCpus"],
            answer["MemoryInfo"]["SizeInMiB"] / 1024,
            answer.get("GpuInfo", {}).get("Gpus", [{"Count": 0}])[0]["Count"],
            network["MaximumNetworkInterfaces"] * addresses + 2,
        ), name
