"""DaemonSets of the other releases: what they take of each node before a pod of ours comes.

Where this run has rendered a release, its DaemonSets are the rendered ones; else they are made of
what the lock file says of them (on which nodes) and of the requests in our own values file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import jinja2
import yaml

from helpers.cluster import capacity, placement, quantities
from helpers.cluster.capacity import NONE, Node
from helpers.cluster.contract import CONTRACT, Contract
from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding, Line
from helpers.cluster.lock import K8S, Daemon, Lock, Release
from helpers.cluster.machines import MIB
from helpers.cluster.manifest import parse
from helpers.cluster.objects import Objects, Pod
from helpers.cluster.planned import SYSTEM_PODS, Cluster
from helpers.errors import Problem
from helpers.run import Run

RENDERED = "cluster/rendered"
SHOWN = {"cpu": " CPU", "memory": " memory", "pods": " pods"}
UNTOLD = {"pods": NONE}  # that each is one pod goes without saying


@dataclass(frozen=True)
class Standing:
    """A DaemonSet that stands on its nodes before.

    Attributes:
        release: That brings it.
        pod: Its template.
        source: Whether the run has rendered it, or our values file states its requests.
    """

    release: str
    pod: Pod
    source: Literal["rendered", "values"]


def beside(release: str, agreed: Contract, folder: Path) -> tuple[Standing, ...]:
    """The DaemonSets of every release of the lock file but one.

    Args:
        release: Whose own pods are to be placed.
        agreed: The contract.
        folder: Of the run; `cluster/rendered/` in it holds what stage 02 has rendered.

    Raises:
        Problem: Lock file or values cannot be read, or they do not state what a DaemonSet requests.
    """
    found: list[Standing] = []
    for one in Lock.load().releases:
        if one.name == release or not one.daemons:
            continue
        made = folder / RENDERED / f"{one.name}.yaml"
        if made.is_file():
            objects = Objects.of(parse(made.read_text()), one.namespace)
            found += (Standing(one.name, pod, "rendered") for pod in daemons_of(objects))
        else:
            found += (_stated(one, daemon, agreed) for daemon in one.daemons)
    return tuple(found)


def of_run(run: Run, release: str, agreed: Contract) -> tuple[Standing, ...]:
    """The DaemonSets of every other release, as a run knows them; see `beside`."""
    return beside(release, agreed, run.folder)


def daemons_of(objects: Objects) -> tuple[Pod, ...]:
    """The templates of all DaemonSets."""
    return tuple(pod for pod in objects.pods if pod.owner.kind == "DaemonSet")


def line(standing: Sequence[Standing], cluster: Cluster, agreed: Contract) -> Line:
    """What is taken of a planned GPU node, by whom, and what is left; a fault where it has no room.

    Nodes without GPU are counted alike, and not told.
    """
    pods = [one.pod for one in standing]
    state, failed = placement.stand(pods, cluster.nodes)
    chosen = agreed.gpu.label.selector.items()
    gpu = next((one for one in cluster.nodes if chosen <= one.labels.items()), None)
    findings = tuple(_fault(*one) for one in failed)
    if gpu is None:
        seen = "no planned node carries the GPU label"
    else:
        names = {one.pod.owner.id for one in state.on(gpu)}
        there = [one for one in standing if one.pod.owner.id in names]
        seen = _told(gpu, there, placement.left(state, gpu))
    return Line(check="room", values="", label="STATIC", seen=seen, findings=findings)


def _told(node: Node, there: Sequence[Standing], left: Mapping[str, Fraction]) -> str:
    """One sentence: allocatable, less what, is what is left."""
    parts = [f"EKS's own pods {_amounts(SYSTEM_PODS)}"]
    for source, words in (("rendered", "rendered"), ("values", "from k8s/values, not rendered")):
        named = [
            f"{one.release} {_amounts(capacity.of_pod(one.pod.spec) | UNTOLD)}"
            for one in there
            if one.source == source
        ]
        parts += [f"{', '.join(named)} ({words})"] if named else []
    whole = f"a GPU node has {_amounts(node.allocatable)} beside the kubelet's reserve"
    return f"{whole}; taken: {'; '.join(parts)}; left: {_amounts(left)}"


def _amounts(amounts: Mapping[str, Fraction]) -> str:
    """CPU, memory and pods as people write them; memory in whole MiB."""
    whole = dict(amounts) | {"memory": Fraction(amounts.get("memory", NONE) // MIB * MIB)}
    told = [
        f"{quantities.text(name, whole[name])}{unit}"
        for name, unit in SHOWN.items()
        if whole.get(name)
    ]
    return " ".join(told) or "nothing"


def _fault(pod: Pod, why: str) -> Finding:
    return pod.fault(
        pod.spec, f"{pod.owner.id} has no room: {why}", "smaller requests, or a larger node"
    )


def _stated(release: Release, daemon: Daemon, agreed: Contract) -> Standing:
    """A DaemonSet made of lock file and values."""
    file = K8S / "values" / f"{release.name}.yaml"
    resources = _values(file)
    for step in daemon.resources.split("."):
        resources = resources[step]
    if not resources["requests"].entries:
        raise Problem(
            f"{file.name} states no requests for the DaemonSet {daemon.name}.",
            f"Write them there, under {daemon.resources}.requests.",
        )
    gpu = agreed.gpu
    where: dict[str, Any] = {"tolerations": [{"operator": "Exists"}]}
    if daemon.nodes == "gpu":
        where = {"nodeSelector": gpu.label.selector, "tolerations": [gpu.taint.toleration]}
    spec = {"containers": [{"name": daemon.name, "resources": resources.value}], **where}
    body = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": daemon.name, "namespace": release.namespace},
        "spec": {"template": {"spec": spec}},
    }
    (pod,) = Objects.of([body]).pods
    return Standing(release.name, pod, "values")


def _values(file: Path) -> Field:
    """A values file before any run has filled it: requests do not hang on what a stack gives."""
    loose = jinja2.Environment(undefined=jinja2.ChainableUndefined)
    facts = {"contract": yaml.safe_load(CONTRACT.read_text())}
    try:
        return Field(yaml.safe_load(loose.from_string(file.read_text()).render(facts)))
    except (OSError, yaml.YAMLError, jinja2.TemplateError) as error:
        raise Problem(f"{file.name} cannot be read: {error}.") from error
