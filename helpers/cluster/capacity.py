"""What nodes have and what pods ask for, in exact amounts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from helpers.cluster import quantities
from helpers.cluster.fields import Field
from helpers.cluster.objects import Pod, is_sidecar

Amounts = Mapping[str, Fraction]
NONE = Fraction(0)


@dataclass(frozen=True)
class Node:
    """A node as the scheduler sees it.

    Attributes:
        name: Its name.
        labels: Its labels.
        taints: Each with `key`, `value` and `effect`.
        allocatable: Resource → amount that pods may have, in the resource's base unit.
        unschedulable: Whether it is cordoned.
        taken: What pods take that no chart shows.
    """

    name: str
    labels: Mapping[str, str]
    taints: tuple[Mapping[str, str], ...]
    allocatable: Amounts
    unschedulable: bool = False
    taken: Amounts = field(default_factory=dict)

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Node":
        """A node as the API gives it."""
        whole = Field(body)
        return cls(
            name=whole["metadata"]["name"].text,
            labels=whole["metadata"]["labels"].strings,
            taints=tuple(
                {key: one[key].text for key in ("key", "value", "effect")}
                for one in whole["spec"]["taints"]
            ),
            allocatable=amounts(whole["status"]["allocatable"]),
            unschedulable=whole["spec"]["unschedulable"].value is True,
        )


def amounts(quantities_of: Field) -> dict[str, Fraction]:
    """A mapping of quantities as numbers; what is no quantity counts nothing."""
    found = {name: quantities.parse(one.value) for name, one in quantities_of.entries.items()}
    return {name: amount for name, amount in found.items() if amount is not None}


def total(left: Amounts, right: Amounts) -> dict[str, Fraction]:
    """The sum, resource by resource."""
    return {name: left.get(name, NONE) + right.get(name, NONE) for name in {**left, **right}}


def largest(left: Amounts, right: Amounts) -> dict[str, Fraction]:
    """The larger amount of each resource."""
    return {name: max(left.get(name, NONE), right.get(name, NONE)) for name in {**left, **right}}


def of_container(container: Field) -> dict[str, Fraction]:
    """What a container asks for: its requests, and its limits where it names no request."""
    resources = container["resources"]
    return amounts(resources["limits"]) | amounts(resources["requests"])


def of_pod(spec: Field) -> dict[str, Fraction]:
    """What a pod asks for, as the scheduler counts it.

    Init containers run one after the other, beside the sidecars that were started before them;
    then all main containers run beside all sidecars. The pod needs the larger of both, and its
    runtime's overhead on top. Resources of the pod as a whole replace the sum.
    """
    sidecars: dict[str, Fraction] = {}
    starting: dict[str, Fraction] = {}
    for one in spec["initContainers"]:
        asked = of_container(one)
        starting = largest(starting, total(sidecars, asked))
        sidecars = total(sidecars, asked) if is_sidecar(one) else sidecars
    running = sidecars
    for one in spec["containers"]:
        running = total(running, of_container(one))
    needed = largest(starting, running) | of_container(spec)
    return total(total(needed, amounts(spec["overhead"])), {"pods": Fraction(1)})


def host_ports(pod: Pod) -> frozenset[tuple[str, int]]:
    """Protocol and number of each port that a pod takes of its node."""
    shared = pod.spec["hostNetwork"].value is True
    found = ((port, port["hostPort"].integer) for port in pod.ports)
    if shared:
        found = ((port, port["containerPort"].integer) for port in pod.ports)
    return frozenset((port["protocol"].text or "TCP", number) for port, number in found if number)
