"""Where the scheduler would put each pod, worked out without a cluster.

DaemonSets come first, those of other releases before ours, then pods by priority, each against
what the earlier ones left. A pod that fits on several nodes goes where least is taken, as the
default scoring prefers. Not modelled: volumes and their zones, preemption, scheduling gates,
dynamic resource allocation.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

from helpers.cluster import filters, match
from helpers.cluster.capacity import NONE, Node, of_pod
from helpers.cluster.filters import Candidate, State
from helpers.cluster.findings import Finding
from helpers.cluster.objects import Objects, Pod, Resource
from helpers.scenario import Settings

SYSTEM_PRIORITY = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
# every DaemonSet pod bears these: kubernetes.io/docs/concepts/workloads/controllers/daemonset
DAEMON_TOLERATIONS = tuple(
    {"key": f"node.kubernetes.io/{condition}", "operator": "Exists", "effect": effect}
    for condition, effect in (
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    )
)


class Placement(Settings):
    """What became of one pod.

    Attributes:
        pod: The object it comes from, numbered where there are several.
        node: Its node; empty where it stays pending.
        why: The scheduler's message where it stays pending.
    """

    pod: str
    node: str
    why: str = ""


def place(
    objects: Objects, nodes: Sequence[Node], standing: Sequence[Pod] = ()
) -> tuple[Placement, ...]:
    """Place every pod of a rendering, in the scheduler's order.

    Helm hooks run alone, one after the other, beside everything else.

    Args:
        objects: The rendering.
        nodes: Where.
        standing: Templates of DaemonSets of other releases, which are there before.
    """
    state, _ = stand(standing, nodes)
    placements: list[Placement] = []
    daemons = [pod for pod in objects.pods if pod.owner.kind == "DaemonSet"]
    for pod in daemons:
        state = _place_daemon(pod, state, placements)
    rest = [pod for pod in objects.pods if pod.owner.kind != "DaemonSet"]
    rest.sort(key=lambda pod: -_priority(pod, objects))
    for pod in (one for one in rest if not one.owner.hooks):
        for candidate in _copies(pod, objects):
            placement, state = schedule(candidate, state)
            placements.append(placement)
            if not placement.node:
                break  # the copies after it are like it, and may be millions
    hooks = (one for one in rest if one.owner.hooks)
    placements += [schedule(Candidate(pod.owner.id, pod), state)[0] for pod in hooks]
    return tuple(placements)


def stand(
    daemons: Sequence[Pod], nodes: Sequence[Node]
) -> tuple[State, tuple[tuple[Pod, str], ...]]:
    """DaemonSets on empty nodes, and those that have no room where they should run, with why.

    One that should run nowhere is not told: that it wants a node is its own release's business.
    """
    state, failed = State(tuple(nodes)), []
    for pod in daemons:
        placements: list[Placement] = []
        state = _place_daemon(pod, state, placements)
        failed += [(pod, one.why) for one in placements if "#" in one.pod and not one.node]
    return state, tuple(failed)


def left(state: State, node: Node) -> dict[str, Fraction]:
    """What is left of a node, resource by resource."""
    taken = state.taken(node)
    return {name: amount - taken.get(name, NONE) for name, amount in node.allocatable.items()}


def schedule(candidate: Candidate, state: State) -> tuple[Placement, State]:
    """Place one pod beside what stands already; the state afterwards comes with it."""
    reasons = {node.name: filters.why_not(candidate, node, state) for node in state.nodes}
    fitting = [node for node in state.nodes if not reasons[node.name]]
    if not fitting:
        return Placement(pod=candidate.name, node="", why=_message(state, reasons)), state
    best = min(fitting, key=lambda node: (*_score(candidate, node, state), node.name))
    after = replace(state, placed=(*state.placed, (candidate, best)))
    return Placement(pod=candidate.name, node=best.name), after


def faults(
    objects: Objects, nodes: Sequence[Node], standing: Sequence[Pod] = ()
) -> Iterator[Finding]:
    """The pods that would stay pending, as findings; arguments as for `place`."""
    owners = {one.id: one for one in objects}
    for placement in place(objects, nodes, standing):
        if not placement.node:
            owner = owners[placement.pod.split(" #")[0]]
            yield _fault(owner, objects, placement)


def _fault(owner: Resource, objects: Objects, placement: Placement) -> Finding:
    pod = next(one for one in objects.pods if one.owner is owner)
    asked = ", ".join(sorted(of_pod(pod.spec).keys() - {"pods"})) or "nothing"
    return pod.fault(
        pod.spec,
        f"{placement.pod} finds no node: {placement.why}",
        f"tolerations, node selector and requests ({asked}) that one of the planned nodes meets",
    )


def _place_daemon(pod: Pod, state: State, placements: list[Placement]) -> State:
    """One pod on every node that selector, affinity and taints leave to the DaemonSet."""
    open_to = Candidate(pod.owner.id, pod, DAEMON_TOLERATIONS)
    wanted, closed = [], {}
    for node in state.nodes:
        keeps_out = filters.why_not_daemon(open_to, node, state)
        closed[node.name] = keeps_out
        if not keeps_out:
            wanted.append(node)
    if not wanted:
        why = f"the DaemonSet wants 0 pods: {_message(state, closed)}"
        placements.append(Placement(pod=pod.owner.id, node="", why=why))
    for node in wanted:
        name = f"{pod.owner.id} #{node.name}"
        one = Candidate(name, pod, DAEMON_TOLERATIONS, pinned=node.name)
        placement, state = schedule(one, state)
        placements.append(placement)
    return state


def _copies(pod: Pod, objects: Objects) -> Iterator[Candidate]:
    count = replicas(pod, objects)
    if count == 1:
        yield Candidate(pod.owner.id, pod)
        return
    for number in range(1, count + 1):
        yield Candidate(f"{pod.owner.id} #{number}", pod)


def replicas(pod: Pod, objects: Objects) -> int:
    """How many pods a workload begins with: its replicas, or its autoscaler's fewest."""
    spec = pod.owner["spec"]
    if pod.owner.kind == "Job":
        return min(_or(spec["parallelism"].integer, 1), _or(spec["completions"].integer, 10**6))
    if pod.owner.kind in ("Pod", "CronJob"):
        return 1
    if spec["replicas"].integer is not None:
        return max(spec["replicas"].integer, 0)
    return max((fewest for fewest, _ in scaling(pod, objects)), default=1)


def scaling(pod: Pod, objects: Objects) -> list[tuple[int, int]]:
    """Fewest and most replicas of every autoscaler that targets a workload."""
    keys = {
        "HorizontalPodAutoscaler": ("minReplicas", "maxReplicas", 1),
        "ScaledObject": ("minReplicaCount", "maxReplicaCount", 0),
    }
    found = []
    for one in objects.of_kind(*keys):
        least, most, default = keys[one.kind]
        target = one["spec"]["scaleTargetRef"]
        if match.workload_of(
            (pod,), target["kind"].text or "Deployment", one.namespace, target["name"].text
        ):
            fewest = _or(one["spec"][least].integer, default)
            found.append((fewest, _or(one["spec"][most].integer, fewest)))
    return found


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _priority(pod: Pod, objects: Objects) -> int:
    name = pod.spec["priorityClassName"].text
    found = objects.find("PriorityClass", "", name)
    value = found["value"].integer if found else SYSTEM_PRIORITY.get(name)
    return value or 0


def _score(candidate: Candidate, node: Node, state: State) -> tuple[Fraction, Fraction]:
    """Less is better: untolerated PreferNoSchedule taints, then the share that is taken."""
    avoided = sum(
        taint["effect"] == "PreferNoSchedule" and filters.untolerated(candidate.tolerations, taint)
        for taint in node.taints
    )
    taken = state.taken(node)
    shares = [
        taken.get(name, NONE) / node.allocatable[name]
        for name in ("cpu", "memory")
        if node.allocatable.get(name)
    ]
    return Fraction(avoided), sum(shares, NONE)


def _message(state: State, reasons: dict[str, list[str]]) -> str:
    """As the scheduler writes it: each reason with the number of nodes that gave it."""
    counts = Counter(reason for found in reasons.values() for reason in found)
    told = ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
    return f"0/{len(state.nodes)} nodes are available" + (f": {told}." if told else ".")
