"""The nodes that the Terraform plan describes, and whether rendered pods fit on them.

A pod fits a node if it tolerates the node's taints, asks for labels that the node has, and requests
no more than is left. Zones, volumes, priorities and preemption are the scheduler's business: where
an API server answers, it has the last word.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import jmespath
import yaml

from helpers.cloud.plan import AMI_DISK_GIB, PLAN_JSON, Plan, PlannedNodeGroup
from helpers.cluster.contract import Contract
from helpers.cluster.records import Placement
from helpers.errors import Problem
from helpers.run import Run

GIB = 2**30
# instance type → vCPUs, memory in GiB, GPUs, most pods
MACHINES: dict[str, tuple[int, int, int, int]] = {
    name: tuple(size["each"])
    for size in yaml.safe_load(Path(__file__).with_name("instance_sizes.yaml").read_text())
    for name in size["types"]
}
# EKS's own pods and the DaemonSets of k8s/releases.yaml, which are on every GPU node before Triton
SYSTEM_PODS = {"cpu": Decimal("0.3"), "memory": Decimal(GIB // 2), "pods": Decimal(6)}
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod")
AFFINITY = "requiredDuringSchedulingIgnoredDuringExecution"

Body = Mapping[str, Any]


@dataclass
class PlannedNode:
    """One planned node; pods take what they request from `allocatable`."""

    name: str
    labels: Mapping[str, str]
    taints: Sequence[Mapping[str, str]]
    allocatable: dict[str, Decimal]


@dataclass(frozen=True)
class PlannedNodes:
    """The planned groups of nodes, where they were read, and the name of the GPU resource."""

    groups: tuple[PlannedNodeGroup, ...]
    source: str
    gpu: str

    @property
    def free_gpus(self) -> int:
        """GPUs of the nodes at the start."""
        return sum(max(group.desired_nodes, 1) * gpus_per_node(group) for group in self.groups)

    @property
    def most_gpus(self) -> int:
        """GPUs when every group is as large as it may be."""
        return sum(group.max_nodes * gpus_per_node(group) for group in self.groups)

    def nodes(self) -> list[PlannedNode]:
        """The nodes at the start, with the smallest of each group's instance types."""
        return [
            self._node(group, f"{group.name}-{number + 1}")
            for group in self.groups
            for number in range(max(group.desired_nodes, 1))  # at zero, it grows for the first pod
        ]

    def _node(self, group: PlannedNodeGroup, name: str) -> PlannedNode:
        smallest = min(group.instance_types, key=lambda each: _machine(each)[1::-1])
        cpus, memory, gpus, pods = _machine(smallest)
        # what the AL2023 image leaves to pods: hypervisor 7.5 %, kubelet 255 MiB and 11 MiB a pod,
        # eviction at 100 MiB and at 10 % of the disk
        reserved = (355 + 11 * pods) * 2**20
        allocatable = {
            "cpu": Decimal(cpus) - Decimal("0.08"),
            "memory": Decimal(memory * GIB) * Decimal("0.925") - reserved,
            "ephemeral-storage": Decimal(group.disk_gib * GIB) * Decimal("0.9") - GIB,
            "pods": Decimal(pods),
            self.gpu: Decimal(gpus),
        }
        left = {key: each - SYSTEM_PODS.get(key, 0) for key, each in allocatable.items()}
        known = {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64", "node.kubernetes.io/instance-type": smallest,
        }  # fmt: skip
        return PlannedNode(name, known | dict(group.labels), group.taints, left)


def planned_nodes(run: Run, contract: Contract) -> PlannedNodes:
    """The planned nodes of a run: from its plan, or from contract and profile before stage 01."""
    path, chosen = run.folder / PLAN_JSON, run.profile.infrastructure
    if path.is_file():
        groups = Plan.read(path).node_groups
        if not groups:
            raise Problem(f"{PLAN_JSON} has no group of nodes.", "Run stage 01 again.")
        return PlannedNodes(groups, PLAN_JSON, contract.gpu.resource)
    system = PlannedNodeGroup(
        name=f"{chosen.name}-system", resource="aws_eks_node_group", spot=False, cap_usd=None,
        instance_types=chosen.cpu_instance_types, min_nodes=1, desired_nodes=1, max_nodes=1,
        disk_gib=AMI_DISK_GIB, labels={}, taints=(),
    )  # fmt: skip
    gpu = replace(
        system, name=f"{chosen.name}-gpu", instance_types=contract.gpu.instance_types,
        desired_nodes=chosen.gpu.desired_nodes, max_nodes=chosen.gpu.max_nodes,
        disk_gib=chosen.gpu.disk_gib, labels=contract.gpu.label.selector,
        taints=(contract.gpu.taint.object,),
    )  # fmt: skip
    return PlannedNodes((system, gpu), "contract and profile", contract.gpu.resource)


def gpus_per_node(group: PlannedNodeGroup) -> int:
    """GPUs of the type with the fewest: pods must fit whichever type comes."""
    return min(_machine(name)[2] for name in group.instance_types)


def place(objects: Sequence[Body], nodes: Sequence[PlannedNode]) -> tuple[Placement, ...]:
    """Place every pod of rendered objects on the nodes, DaemonSets first; the nodes fill up.

    A DaemonSet gets a pod on each node that it may run on. Any other pod goes to the first node
    that it fits.
    """
    placements = []
    workloads = [each for each in objects if each["kind"] in WORKLOADS]
    for owner in sorted(workloads, key=lambda each: each["kind"] != "DaemonSet"):
        spec, name = pod_template(owner)["spec"], object_name(owner)
        if owner["kind"] == "DaemonSet":
            closed = {node.name: keeps_out(spec, node) for node in nodes}
            if all(closed.values()):
                why = f"it wants no pod: {_joined([*closed.values()])}"
                placements.append(Placement(pod=name, node="", why=why))
            placements += [_placed(f"{name} #{node.name}", spec, [node])
                           for node in nodes if not closed[node.name]]  # fmt: skip
            continue
        copies, _ = replicas(owner, objects)
        labels = [name] if copies == 1 else [f"{name} #{n + 1}" for n in range(copies)]
        placements += [_placed(label, spec, nodes) for label in labels]
    return tuple(placements)


def object_name(body: Body) -> str:
    """How findings name an object, as in `Deployment triton/triton`."""
    meta = body.get("metadata") or {}
    place = f"{meta['namespace']}/" if meta.get("namespace") else ""
    return f"{body.get('kind', 'object')} {place}{meta.get('name', '(no name)')}"


def pod_template(owner: Body) -> Body:
    """The part of a workload with the pod's `metadata` and `spec`."""
    spec = owner["spec"]["jobTemplate"]["spec"] if owner["kind"] == "CronJob" else owner["spec"]
    template: Body = owner if owner["kind"] == "Pod" else spec["template"]
    return template


def quantity(value: object) -> Decimal:
    """The number that a quantity stands for, as 0.5 for `500m`; `ValueError` for `8GB`."""
    from kubernetes.utils.quantity import parse_quantity

    return Decimal(parse_quantity(value))  # type: ignore[no-untyped-call]


def requests(spec: Body) -> dict[str, Decimal]:
    """What a pod requests, resource by resource; limits count where there is no request."""
    total: dict[str, Decimal] = {"pods": Decimal(1)}
    for container in spec["containers"]:
        resources = container.get("resources") or {}
        asked = (resources.get("limits") or {}) | (resources.get("requests") or {})
        for name, value in asked.items():
            total[name] = total.get(name, Decimal(0)) + quantity(value)
    return total


def _placed(name: str, spec: Body, nodes: Sequence[PlannedNode]) -> Placement:
    asked, reasons = requests(spec), []
    for node in nodes:
        lacking = [key for key, value in asked.items() if value > node.allocatable.get(key, 0)]
        reason = keeps_out(spec, node) or (lacking and f"Insufficient {', '.join(lacking)}")
        if not reason:
            for key, value in asked.items():
                node.allocatable[key] -= value
            return Placement(pod=name, node=node.name)
        reasons.append(reason)
    return Placement(pod=name, node="", why=_joined(reasons))


def keeps_out(spec: Body, node: PlannedNode) -> str:
    """Which taint or label keeps a pod off a node; empty if none does."""
    for taint in node.taints:
        tolerated = any(tolerates(each, taint) for each in spec.get("tolerations") or [])
        if taint["effect"] != "PreferNoSchedule" and not tolerated:
            return f"untolerated taint {{{taint['key']}: {taint['value']}}}"
    if not (spec.get("nodeSelector") or {}).items() <= node.labels.items():
        return "node selector does not match"
    terms = jmespath.search(f"affinity.nodeAffinity.{AFFINITY}.nodeSelectorTerms", spec) or []
    matching = (all(_matches(each, node.labels) for each in term.get("matchExpressions") or [])
                for term in terms)  # fmt: skip
    return "node affinity does not match" if terms and not any(matching) else ""


def tolerates(toleration: Body, taint: Body) -> bool:
    """Whether a toleration lets a pod onto a node with the taint."""
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return (toleration.get("key"), toleration.get("value", "")) == (taint["key"], taint["value"])


def _matches(expression: Body, labels: Mapping[str, str]) -> bool:
    there, among = (expression["key"] in labels,
                    labels.get(expression["key"]) in (expression.get("values") or []))  # fmt: skip
    known = {"In": among, "NotIn": not among, "Exists": there, "DoesNotExist": not there}
    return known.get(expression["operator"], False)


def replicas(owner: Body, objects: Sequence[Body]) -> tuple[int, int]:
    """Pods of a workload at the start, and the most that its autoscaler may make of them."""
    kind, spec = owner["kind"], owner["spec"]
    count = {"Job": "parallelism", "Deployment": "replicas", "StatefulSet": "replicas"}.get(kind)
    scalers = (body["spec"] for body in objects if count == "replicas"
               and body["kind"] == "HorizontalPodAutoscaler"
               and body["spec"]["scaleTargetRef"]["name"] == owner["metadata"]["name"])  # fmt: skip
    scaler = next(scalers, {"maxReplicas": spec.get(count, 1)})
    return spec.get(count, scaler.get("minReplicas", 1)), scaler["maxReplicas"]


def _joined(reasons: Sequence[str]) -> str:
    """As the scheduler writes it: each reason with the number of nodes that gave it."""
    counted = [f"{reasons.count(each)} {each}" for each in sorted(set(reasons))]
    return f"0/{len(reasons)} nodes fit: {', '.join(counted)}"


def _machine(name: str) -> tuple[int, int, int, int]:
    if name in MACHINES:
        return MACHINES[name]
    raise Problem(f"The size of the instance type {name} is not known.",
                  f"Add it to helpers/cluster/instance_sizes.yaml, or use one of "
                  f"{', '.join(sorted(MACHINES))}.")  # fmt: skip
