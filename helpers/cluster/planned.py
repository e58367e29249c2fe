"""The nodes that the Terraform plan describes, or the contract and profile where none is given."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from helpers.cluster.capacity import Node
from helpers.cluster.contract import Contract
from helpers.cluster.fields import Field
from helpers.cluster.machines import machine
from helpers.errors import Problem
from helpers.profile import InfrastructureSettings

PLAN = "terraform/plan.json"
TEMPLATE = "k8s.io/cluster-autoscaler/node-template/"
EFFECTS = {"NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute",
           "PREFER_NO_SCHEDULE": "PreferNoSchedule"}  # fmt: skip
# vpc-cni (aws-node and its policy agent, 25m each) and kube-proxy (100m), EKS's own add-ons
SYSTEM_PODS = {"cpu": Fraction(150, 1000), "pods": Fraction(2)}
CPU_DISK_GIB = 30  # infra/nodes.tf; only where no plan says it


@dataclass(frozen=True)
class Group:
    """A group of equal nodes.

    Attributes:
        name: Its name.
        types: Instance types, first choice first.
        labels: That every node registers with.
        taints: Likewise.
        desired: Nodes to begin with.
        most: Most nodes that the autoscaler may have.
        disk_gib: Root disk.
    """

    name: str
    types: tuple[str, ...]
    labels: Mapping[str, str]
    taints: tuple[Mapping[str, str], ...]
    desired: int
    most: int
    disk_gib: int

    @property
    def gpus_each(self) -> int:
        """GPUs of the poorest type: the pods must fit whichever comes."""
        return min(machine(name).gpus for name in self.types)

    def nodes(self, region: str, gpu: str, count: int = -1) -> tuple[Node, ...]:
        """Nodes of the group, spread over zones; of several types the one with least memory."""
        poorest = min(self.types, key=lambda name: (machine(name).memory_mib, machine(name).cpus))
        number = self.desired if count < 0 else count
        return tuple(self._node(poorest, region, gpu, index) for index in range(number))

    def _node(self, instance: str, region: str, gpu: str, index: int) -> Node:
        name = f"{self.name}-{index + 1}"
        known = {
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
            "node.kubernetes.io/instance-type": instance,
            "topology.kubernetes.io/region": region,
            "topology.kubernetes.io/zone": f"{region}{'ab'[index % 2]}",
        }
        return Node(
            name=name,
            labels=known | dict(self.labels),
            taints=self.taints,
            allocatable=machine(instance).allocatable(self.disk_gib, gpu),
            taken=SYSTEM_PODS,
        )


@dataclass(frozen=True)
class Cluster:
    """All node groups.

    Attributes:
        groups: The groups.
        source: Where they were read: the plan, or contract and profile.
        region: AWS region.
        gpu: Name of the GPU resource.
    """

    groups: tuple[Group, ...]
    source: str
    region: str
    gpu: str

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes to begin with."""
        return tuple(node for one in self.groups for node in one.nodes(self.region, self.gpu))

    @property
    def free_gpus(self) -> int:
        """GPUs of the nodes to begin with."""
        return sum(one.desired * one.gpus_each for one in self.groups)

    @property
    def most_gpus(self) -> int:
        """GPUs when every group is as large as it may be."""
        return sum(one.most * one.gpus_each for one in self.groups)


def from_contract(contract: Contract, chosen: InfrastructureSettings, region: str) -> Cluster:
    """The nodes as contract and profile have them; at least one GPU node, which stage 02 makes."""
    gpu = Group(
        name=f"{chosen.name}-gpu",
        types=contract.gpu.instance_types,
        labels=contract.gpu.label.selector,
        taints=(contract.gpu.taint.object,),
        desired=max(chosen.gpu.desired_nodes, 1),
        most=chosen.gpu.max_nodes,
        disk_gib=chosen.gpu.disk_gib,
    )
    system = Group(f"{chosen.name}-system", chosen.cpu_instance_types, {}, (), 1, 1, CPU_DISK_GIB)
    return Cluster((system, gpu), "contract and profile", region, contract.gpu.resource)


def from_plan(path: Path, contract: Contract, region: str) -> Cluster:
    """The nodes as a plan (`terraform show -json`) has them.

    Raises:
        Problem: The file is no plan, or it has no group of nodes.
    """
    try:
        plan = Field(json.loads(path.read_text()))
    except (OSError, json.JSONDecodeError) as error:
        raise Problem(f"The plan {path.name} cannot be read: {error}.") from error
    resources = list(_resources(plan["planned_values"]["root_module"]))
    disks = {one["values"]["name"].text: _disk(one["values"]) for one in resources
             if one["type"].text == "aws_launch_template"}  # fmt: skip
    groups = [_managed(one["values"], disks) for one in resources
              if one["type"].text == "aws_eks_node_group"]  # fmt: skip
    groups += [_scaling(one["values"], disks) for one in resources
               if one["type"].text == "aws_autoscaling_group"]  # fmt: skip
    if not groups:
        raise Problem(f"The plan {path.name} has no group of nodes.", "Run stage 01 again.")
    return Cluster(tuple(groups), PLAN, region, contract.gpu.resource)


def _resources(module: Field) -> Iterator[Field]:
    yield from (one for one in module["resources"] if one["mode"].text != "data")
    for child in module["child_modules"]:
        yield from _resources(child)


def _disk(template: Field) -> int:
    return template["block_device_mappings"][0]["ebs"][0]["volume_size"].integer or CPU_DISK_GIB


def _managed(values: Field, disks: Mapping[str, int]) -> Group:
    """A managed node group."""
    scaling, name = values["scaling_config"][0], values["node_group_name"].text
    taints = tuple(
        {
            "key": one["key"].text,
            "value": one["value"].text,
            "effect": EFFECTS.get(one["effect"].text, one["effect"].text),
        }
        for one in values["taint"]
    )
    return Group(
        name=name,
        types=tuple(one.text for one in values["instance_types"]),
        labels=values["labels"].strings | {"eks.amazonaws.com/nodegroup": name},
        taints=taints,
        desired=max(scaling["desired_size"].integer or 0, 1),
        most=scaling["max_size"].integer or 0,
        disk_gib=disks.get(name, CPU_DISK_GIB),
    )


def _scaling(values: Field, disks: Mapping[str, int]) -> Group:
    """An Auto Scaling group of our own: its tags tell the autoscaler what its nodes are like.

    The user data that makes them so holds the cluster's address, which a plan does not know yet.
    """
    tags = {one["key"].text: one["value"].text for one in values["tag"]}
    told = {key.removeprefix(TEMPLATE): value for key, value in tags.items() if TEMPLATE in key}
    name = values["name"].text
    overrides = values["mixed_instances_policy"][0]["launch_template"][0]["override"]
    return Group(
        name=name,
        types=tuple(one["instance_type"].text for one in overrides),
        labels={k.removeprefix("label/"): v for k, v in told.items() if k.startswith("label/")},
        taints=tuple(_taint(k, v) for k, v in told.items() if k.startswith("taint/")),
        desired=max(values["desired_capacity"].integer or 0, 1),
        most=values["max_size"].integer or 0,
        disk_gib=disks.get(name, CPU_DISK_GIB),
    )


def _taint(key: str, value: str) -> dict[str, str]:
    text, _, effect = value.rpartition(":")
    return {"key": key.removeprefix("taint/"), "value": text, "effect": effect}


def disagreements(cluster: Cluster, contract: Contract) -> list[str]:
    """Where planned GPU nodes differ from the contract, in words; none where all agree."""
    groups = [one for one in cluster.groups if one.gpus_each]
    if not groups:
        return ["no planned group has GPUs"]
    found = []
    for one in groups:
        if one.labels.get(contract.gpu.label.key) != contract.gpu.label.value:
            found.append(f"{one.name} has no label {contract.gpu.label}")
        if contract.gpu.taint.object not in one.taints:
            found.append(f"{one.name} has no taint {contract.gpu.taint}")
        if one.gpus_each != contract.gpu.per_node:
            found.append(f"{one.name} has {one.gpus_each} GPUs a node, not {contract.gpu.per_node}")
    return found
