"""Arithmetic of rollouts, drains and scaling: whether what the objects ask for can happen."""

import math
from collections.abc import Iterator

from helpers.cluster import match, placement, quantities
from helpers.cluster.contract import Contract
from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding
from helpers.cluster.objects import Objects, Pod
from helpers.cluster.planned import Cluster

# apps/v1 defaults of a rolling update
DEFAULT_SHARE = "25%"


def faults(objects: Objects, cluster: Cluster, contract: Contract) -> Iterator[Finding]:
    """All that cannot happen."""
    for pod in objects.pods:
        if pod.owner.kind in ("Deployment", "StatefulSet"):
            gpus = gpus_of(pod, contract)
            yield from _replicas(pod, objects, cluster, gpus)
            yield from _most(pod, objects, cluster, gpus)
            if pod.owner.kind == "Deployment":
                yield from _surge(pod, objects, cluster, gpus)
                yield from _unavailable(pod, objects)
    for budget in objects.of_kind("PodDisruptionBudget"):
        for pod in objects.pods:
            selector = budget["spec"]["selector"]
            if pod.namespace == budget.namespace and match.selected(selector, pod.labels):
                yield from _drain(budget["spec"], pod, objects, budget.id)


def gpus_of(pod: Pod, contract: Contract) -> int:
    """GPUs that one pod takes."""
    limits = (one["resources"]["limits"][contract.gpu.resource] for one in pod.containers)
    return int(sum(quantities.parse(field.value) or 0 for field in limits))


def share(field: Field, of: int, *, up: bool) -> int:
    """A number of pods, or a percentage of them rounded up or down."""
    value = field.value if field.given else DEFAULT_SHARE
    if isinstance(value, str) and value.endswith("%") and value[:-1].isdigit():
        exact = of * int(value[:-1]) / 100
        return math.ceil(exact) if up else math.floor(exact)
    return value if isinstance(value, int) else 0


def _replicas(pod: Pod, objects: Objects, cluster: Cluster, gpus: int) -> Iterator[Finding]:
    wanted = placement.replicas(pod, objects) * gpus
    if wanted > cluster.most_gpus:
        yield pod.owner.fault(
            pod.owner["spec"]["replicas"],
            f"the pods take {wanted} GPUs, the node group gives {cluster.most_gpus} at most",
            f"at most {cluster.most_gpus // gpus} pods",
        )


def _most(pod: Pod, objects: Objects, cluster: Cluster, gpus: int) -> Iterator[Finding]:
    """The autoscaler's most pods against the node group's most GPUs."""
    for one in objects.of_kind("HorizontalPodAutoscaler", "ScaledObject"):
        target = one["spec"]["scaleTargetRef"]
        kind = target["kind"].text or "Deployment"
        if match.workload_of((pod,), kind, one.namespace, target["name"].text) is None or not gpus:
            continue
        for key in ("maxReplicas", "maxReplicaCount"):
            most = one["spec"][key]
            if most.integer is not None and most.integer * gpus > cluster.most_gpus:
                wrong = f"{most.value} pods take {most.integer * gpus} GPUs, there are never more "
                yield one.fault(most, f"{wrong}than {cluster.most_gpus}",
                                f"at most {cluster.most_gpus // gpus}")  # fmt: skip


def _surge(pod: Pod, objects: Objects, cluster: Cluster, gpus: int) -> Iterator[Finding]:
    """Pods above the number that run: each needs GPUs of its own while the old ones keep theirs."""
    spec = pod.owner["spec"]["strategy"]
    count = placement.replicas(pod, objects)
    if spec["type"].text == "Recreate" or not gpus or not count:
        return
    field = spec["rollingUpdate"]["maxSurge"]
    surge = share(field, count, up=True)
    free = cluster.free_gpus - count * gpus
    if surge * gpus <= max(free, 0):
        return
    stuck = share(spec["rollingUpdate"]["maxUnavailable"], count, up=False) == 0
    what = "the rollout never ends" if stuck else "it waits, or buys a node"
    wrong = f"a surge of {surge} pods needs {surge * gpus} free GPUs, {max(free, 0)} are: {what}"
    yield pod.owner.fault(field, wrong, "maxSurge 0 and maxUnavailable 1")


def _unavailable(pod: Pod, objects: Objects) -> Iterator[Finding]:
    """A rollout that may take away more pods than there ever are was meant otherwise."""
    field = pod.owner["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"]
    most = max([placement.replicas(pod, objects), *(m for _, m in placement.scaling(pod, objects))])
    if field.integer is not None and field.integer > max(most, 1):
        yield pod.owner.fault(field, f"there are never more than {most} pods", f"at most {most}")


def _drain(spec: Field, pod: Pod, objects: Objects, name: str) -> Iterator[Finding]:
    """A budget that lets no pod go blocks every drain of its node, and so the spot notice."""
    count = placement.replicas(pod, objects)
    if not count or pod.owner.hooks:
        return
    if spec["maxUnavailable"].given:
        field, may_go = spec["maxUnavailable"], share(spec["maxUnavailable"], count, up=True)
    else:
        field = spec["minAvailable"]
        may_go = count - share(field, count, up=True) if field.given else 1
    most = max([count, *(most for _, most in placement.scaling(pod, objects))])
    if (spec["maxUnavailable"].integer or 0) > max(most, 1):
        wrong = f"there are never more than {most} pods"
        yield Finding(object=name, field=field.path, wrong=wrong, right=f"at most {most}")
    if may_go < 1:
        wrong = f"of {count} pods of {pod.owner.id} none may go: a drain waits for ever"
        yield Finding(object=name, field=field.path, wrong=wrong, right="maxUnavailable: 1")
