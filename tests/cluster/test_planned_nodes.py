"""Whether pods fit the plan's nodes; and the load's chart, whose pods go to CPU nodes alone."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from moto.ec2.models.instance_types import INSTANCE_TYPES

from helpers import programs
from helpers.cloud.plan import NODE_TEMPLATE, PLAN_JSON
from helpers.cluster import chart_checks, contract, planned_nodes
from helpers.cluster.helm import Helm
from helpers.cluster.load_pods import CHART
from helpers.cluster.planned_nodes import MACHINES, PlannedNodes, place
from helpers.cluster.records import ChartFault
from helpers.errors import Problem
from helpers.load.worker import Order
from helpers.run import Run
from tests.k8s import charts

pytestmark = pytest.mark.skipif(programs.find("helm") is None, reason="there is no helm here")
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


EXAMPLE = CHART / "ci" / "example-values.yaml"
Body = dict[str, Any]


def rendered(*more: Path) -> list[Body]:
    values = (contract.CONTRACT, EXAMPLE, *more)
    text = Helm().template("load", CHART, AGREED.namespaces.load, values, "1.35")
    return [body for body in yaml.safe_load_all(text) if body]


@pytest.fixture(scope="module")
def good() -> list[Body]:
    return rendered()


def faults(bodies: list[Body], nodes: PlannedNodes) -> list[ChartFault]:
    lines = chart_checks.check_objects(bodies, AGREED, nodes, "1.35", "load")
    return [finding for line in lines for finding in line.findings]


def test_what_is_rendered_passes_every_check(good: list[Body], nodes: PlannedNodes) -> None:
    charts.helm("lint", "--strict", CHART, "--namespace", AGREED.namespaces.load,
                f"--values={contract.CONTRACT}", f"--values={EXAMPLE}")  # fmt: skip
    assert faults(good, nodes) == []


def test_the_pods_go_to_cpu_nodes_and_are_spread(good: list[Body], nodes: PlannedNodes) -> None:
    placed = planned_nodes.place(good, nodes.nodes())
    workers = [each.node for each in placed if "worker" in each.pod]
    assert len(placed) == 3 and sorted(workers) == ["x-system-1", "x-system-2"]
    assert {each.node for each in placed} == set(workers)


def job_pods(bodies: list[Body]) -> list[Body]:
    return [body["spec"]["template"]["spec"] for body in bodies if body["kind"] == "Job"]


def terms(pod: Body) -> list[Body]:
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    terms: list[Body] = pod["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"]
    return terms


LINUX = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
TAINT = [AGREED.gpu.taint.toleration]
# what puts a pod on a GPU node → how its specification says so
FAULTS: dict[str, Callable[[Body], Any]] = {
    "bears the taint": lambda pod: pod.update(tolerations=TAINT),
    "bears everything": lambda pod: pod.update(tolerations=[{"operator": "Exists"}]),
    "asks for the label": lambda pod: pod.update(nodeSelector=AGREED.gpu.label.selector),
    "refuses nothing": lambda pod: pod.pop("affinity"),
    "refuses another": lambda pod: terms(pod)[0]["matchExpressions"][0].update(values=["amd"]),
    "wants GPU nodes": lambda pod: (
        pod.update(tolerations=TAINT), terms(pod)[0]["matchExpressions"][0].update(operator="In")
    ),
    "has a way out": lambda pod: terms(pod).append({"matchExpressions": [LINUX]}),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_load_on_a_gpu_node_is_caught(good: list[Body], nodes: PlannedNodes, fault: str) -> None:
    bad = copy.deepcopy(good)
    for pod in job_pods(bad):
        FAULTS[fault](pod)
    fields = ("tolerations", "nodeSelector", "affinity")
    caught = [each for each in faults(bad, nodes) if each.field in fields]
    assert {each.object.split("/")[-1] for each in caught} == {"load-master", "load-worker"}


def test_no_node_takes_it_but_one_without_the_label(good: list[Body], nodes: PlannedNodes) -> None:
    """The taint is gone, as an administrator may take it away: the label still keeps it off."""
    (gpu,) = [node for node in nodes.nodes() if node.name == "x-gpu-1"]
    bare = replace(gpu, taints=())
    assert {each.node for each in planned_nodes.place(good, [bare])} == {""}
    assert {each.node for each in planned_nodes.place(good, [replace(bare, labels={})])} == {
        "x-gpu-1"
    }


def test_nothing_is_left_running(good: list[Body]) -> None:
    jobs = [body["spec"] for body in good if body["kind"] == "Job"]
    assert len(jobs) == 2
    for job in jobs:
        assert job["activeDeadlineSeconds"] == 1200 and job["ttlSecondsAfterFinished"] == 300
        assert job["backoffLimit"] == 0 and job["template"]["spec"]["restartPolicy"] == "Never"


def test_tritons_policy_lets_the_workers_in_and_theirs_lets_them_out(good: list[Body]) -> None:
    theirs = {body["kind"]: body for body in charts.triton()}
    peers = theirs["NetworkPolicy"]["spec"]["ingress"][0]["from"]
    here = {"kubernetes.io/metadata.name": AGREED.namespaces.load}
    assert {"namespaceSelector": {"matchLabels": here}} in peers
    (rule,) = [
        rule for body in good if body["kind"] == "NetworkPolicy"
        for rule in body["spec"]["egress"]
        if rule["to"][0].get("namespaceSelector", {}).get("matchLabels")
        == {"kubernetes.io/metadata.name": AGREED.namespaces.triton}
    ]  # fmt: skip
    labels = theirs["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert rule["to"][0]["podSelector"]["matchLabels"].items() <= labels.items()
    assert [port["port"] for port in rule["ports"]] == [AGREED.ports.http, AGREED.ports.grpc]


def test_the_example_is_an_order_that_a_worker_takes() -> None:
    values = yaml.safe_load(EXAMPLE.read_text())
    assert Order.model_validate_json(values["order"]).scenario.workers == 2


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"imgae": {}}, "imgae"),
        ({"image": {"digest": "latest"}}, "/image/digest"),
        ({"order": ""}, "JSON"),
        ({"order": '{"scenario": {"workers": 65}}'}, "1 to 64"),
        ({"order": {"scenario": {}}}, "/order"),
        ({"deadlineSeconds": 5}, "/deadlineSeconds"),
        ({"resources": {"worker": {"memory": "2GB"}}}, "/resources/worker/memory"),
        ({"gpu": None}, "contract"),
        ({"namespaces": {"load": "elsewhere"}}, "--namespace elsewhere"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_and_named(tmp_path: Path, values: Body, named: str) -> None:
    changed = tmp_path / "values.yaml"
    changed.write_text(yaml.safe_dump(values))
    with pytest.raises(Problem) as refused:
        rendered(changed)
    assert named in str(refused.value)
