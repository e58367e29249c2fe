"""Kube-scheduler's filters: why a pod cannot run on a node, in the scheduler's own words.

Texts: `pkg/scheduler/framework/plugins/*` of kubernetes/kubernetes.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from helpers.cluster import match
from helpers.cluster.capacity import NONE, Node, host_ports, of_pod, total
from helpers.cluster.fields import Field
from helpers.cluster.objects import Pod

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
KEEPS_OUT = ("NoSchedule", "NoExecute")


@dataclass(frozen=True)
class Candidate:
    """A pod that looks for a node.

    Attributes:
        name: How messages name it.
        pod: Its template.
        extra: Tolerations that its controller adds.
        pinned: The only node it may have; empty for any.
    """

    name: str
    pod: Pod
    extra: tuple[Mapping[str, str], ...] = ()
    pinned: str = ""

    @property
    def tolerations(self) -> tuple[Field, ...]:
        """Its own tolerations and the added ones."""
        return (*self.pod.spec["tolerations"], *(Field(one) for one in self.extra))

    @property
    def anti_affinity(self) -> tuple[Field, ...]:
        """Terms of pods it must not be near to."""
        return tuple(self.pod.spec["affinity"]["podAntiAffinity"][REQUIRED])


@dataclass(frozen=True)
class State:
    """What stands where.

    Attributes:
        nodes: All nodes.
        placed: Each pod with its node, in the order in which they came.
    """

    nodes: tuple[Node, ...]
    placed: tuple[tuple[Candidate, Node], ...] = ()

    def on(self, node: Node) -> list[Candidate]:
        """The pods on a node."""
        return [one for one, where in self.placed if where.name == node.name]

    def taken(self, node: Node) -> dict[str, Fraction]:
        """What is taken of a node."""
        taken = dict(node.taken)
        for one in self.on(node):
            taken = total(taken, of_pod(one.pod.spec))
        return taken


Filter = Callable[[Candidate, Node, State], list[str]]


def untolerated(tolerations: Sequence[Field], taint: Mapping[str, str]) -> bool:
    """Whether a taint keeps a pod with these tolerations out."""
    return not any(match.tolerates(one, taint) for one in tolerations)


def _schedulable(one: Candidate, node: Node, _: State) -> list[str]:
    cordon = {"key": "node.kubernetes.io/unschedulable", "value": "", "effect": "NoSchedule"}
    if node.unschedulable and untolerated(one.tolerations, cordon):
        return ["node(s) were unschedulable"]
    return []


def _name(one: Candidate, node: Node, _: State) -> list[str]:
    wanted = one.pinned or one.pod.spec["nodeName"].text or node.name
    return [] if wanted == node.name else ["node(s) didn't match the requested node name"]


def _taints(one: Candidate, node: Node, _: State) -> list[str]:
    for taint in node.taints:
        if taint["effect"] in KEEPS_OUT and untolerated(one.tolerations, taint):
            return [f"node(s) had untolerated taint {{{taint['key']}: {taint['value']}}}"]
    return []


def matches_affinity(pod: Pod, node: Node) -> bool:
    """Whether a node has what node selector and required node affinity ask for."""
    wanted = pod.spec["nodeSelector"].entries
    if any(node.labels.get(key) != field.value for key, field in wanted.items()):
        return False
    required = pod.spec["affinity"]["nodeAffinity"][REQUIRED]
    terms = required["nodeSelectorTerms"]
    return not required.given or any(match.node_term(one, node.labels, node.name) for one in terms)


def _affinity(one: Candidate, node: Node, _: State) -> list[str]:
    if matches_affinity(one.pod, node):
        return []
    return ["node(s) didn't match Pod's node affinity/selector"]


def _ports(one: Candidate, node: Node, state: State) -> list[str]:
    wanted = host_ports(one.pod)
    if any(wanted & host_ports(other.pod) for other in state.on(node)):
        return ["node(s) didn't have free ports for the requested pod ports"]
    return []


def _resources(one: Candidate, node: Node, state: State) -> list[str]:
    taken = state.taken(node)
    short = [
        name
        for name, amount in of_pod(one.pod.spec).items()
        if amount > 0 and amount > node.allocatable.get(name, NONE) - taken.get(name, NONE)
    ]
    return ["Too many pods" if name == "pods" else f"Insufficient {name}" for name in short]


def _spread(one: Candidate, node: Node, state: State) -> list[str]:
    constraints = [
        each
        for each in one.pod.spec["topologySpreadConstraints"]
        if each["whenUnsatisfiable"].text == "DoNotSchedule"
    ]
    keys = [each["topologyKey"].text for each in constraints]
    if not all(key in node.labels for key in keys):
        return ["node(s) didn't match pod topology spread constraints (missing required label)"]
    if all(_skew(one, node, state, each, keys) <= (each["maxSkew"].integer or 1)
           for each in constraints):  # fmt: skip
        return []
    return ["node(s) didn't match pod topology spread constraints"]


def _counts(one: Candidate, state: State, constraint: Field, keys: Sequence[str]) -> Counter[str]:
    """Domain → how many pods that the constraint counts are there already."""
    key = constraint["topologyKey"].text
    by_affinity = constraint["nodeAffinityPolicy"].text != "Ignore"
    by_taints = constraint["nodeTaintsPolicy"].text == "Honor"
    counts: Counter[str] = Counter()
    for node in state.nodes:
        if not all(needed in node.labels for needed in keys):
            continue
        if by_affinity and not matches_affinity(one.pod, node):
            continue
        if by_taints and _taints(one, node, state):
            continue
        counts[node.labels[key]] += sum(
            other.pod.namespace == one.pod.namespace
            and match.selected(constraint["labelSelector"], other.pod.labels)
            for other in state.on(node)
        )
    return counts


def _skew(one: Candidate, node: Node, state: State, constraint: Field, keys: Sequence[str]) -> int:
    counts = _counts(one, state, constraint, keys)
    least = min(counts.values(), default=0)
    if len(counts) < (constraint["minDomains"].integer or 1):
        least = 0
    itself = match.selected(constraint["labelSelector"], one.pod.labels)
    return counts[node.labels[constraint["topologyKey"].text]] + itself - least


def _concerns(term: Field, owner: Pod, other: Pod) -> bool:
    """Whether a term of pod affinity that `owner` has is about `other`."""
    named = [one.text for one in term["namespaces"]]
    everywhere = term["namespaceSelector"].given
    reachable = everywhere or other.namespace in (named or [owner.namespace])
    return reachable and match.selected(term["labelSelector"], other.labels)


def _near(term: Field, node: Node, where: Node) -> bool:
    key = term["topologyKey"].text
    return key in node.labels and node.labels[key] == where.labels.get(key)


def _pod_affinity(one: Candidate, node: Node, state: State) -> list[str]:
    for term in one.pod.spec["affinity"]["podAffinity"][REQUIRED]:
        friends = [(o, w) for o, w in state.placed if _concerns(term, one.pod, o.pod)]
        first_of_its_kind = not friends and _concerns(term, one.pod, one.pod)
        if first_of_its_kind and term["topologyKey"].text in node.labels:
            continue
        if not any(_near(term, node, where) for _, where in friends):
            return ["node(s) didn't match pod affinity rules"]
    for other, where in state.placed:
        if any(_concerns(t, one.pod, other.pod) and _near(t, node, where)
               for t in one.anti_affinity):  # fmt: skip
            return ["node(s) didn't match pod anti-affinity rules"]
        if any(_concerns(t, other.pod, one.pod) and _near(t, node, where)
               for t in other.anti_affinity):  # fmt: skip
            return ["node(s) didn't satisfy existing pods anti-affinity rules"]
    return []


FILTERS: tuple[Filter, ...] = (
    _schedulable, _name, _taints, _affinity, _ports, _resources, _spread, _pod_affinity,
)  # fmt: skip


def why_not_daemon(one: Candidate, node: Node, state: State) -> list[str]:
    """Why a DaemonSet wants no pod on a node: name, taints and affinity decide, not resources."""
    return _name(one, node, state) or _taints(one, node, state) or _affinity(one, node, state)


def why_not(one: Candidate, node: Node, state: State) -> list[str]:
    """Why a pod cannot run on a node, by the first filter that refuses; nothing where it can."""
    for refuse in FILTERS:
        if reasons := refuse(one, node, state):
            return reasons
    return []
