"""Where pods may and shall run: tolerations, selectors, affinity, spread, priority."""

from collections.abc import Iterator

from helpers.cluster import match
from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding, meant
from helpers.cluster.objects import Pod
from helpers.cluster.rules import syntax
from helpers.cluster.rules.scope import Rule, Scope

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
# that controllers put on pods, and that tell revisions apart
REVISIONS = ("pod-template-hash", "controller-revision-hash")
# kubernetes.io/docs/reference/labels-annotations-taints: those that nodes on EKS have
NODE_LABELS = frozenset({
    "kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os",
    "topology.kubernetes.io/zone", "topology.kubernetes.io/region", "topology.k8s.aws/zone-id",
    "node.kubernetes.io/instance-type", "eks.amazonaws.com/nodegroup",
    "eks.amazonaws.com/capacityType",
})  # fmt: skip
HIGHEST_PRIORITY = 1_000_000_000  # pkg/apis/scheduling: HighestUserDefinablePriority


def tolerations(scope: Scope) -> Iterator[Finding]:
    """Tolerations that the API takes."""
    for pod in scope.objects.pods:
        for one in pod.spec["tolerations"]:
            yield from _toleration(pod, one)


def _toleration(pod: Pod, one: Field) -> Iterator[Finding]:
    operator, key, effect = one["operator"].text, one["key"].text, one["effect"]
    if operator not in ("", "Equal", "Exists"):
        wrong = f"there is no operator '{operator}'"
        yield pod.fault(one["operator"], wrong, meant(operator, ("Equal", "Exists")))
    if operator == "Exists" and one["value"].text:
        yield pod.fault(one["value"], "Exists takes no value", "no value, or Equal")
    if not key and operator != "Exists":
        yield pod.fault(one["key"], "without a key the operator must be Exists", "a taint's key")
    if key and not syntax.is_qualified(key):
        yield pod.fault(one["key"], f"'{key}' is no taint's key", "prefix/name")
    if one["value"].text and not syntax.is_label_value(one["value"].text):
        yield pod.fault(one["value"], f"'{one['value'].text}' is no taint's value", "as a label's")
    if effect.text and effect.text not in EFFECTS:
        yield pod.fault(effect, f"there is no effect '{effect.text}'", meant(effect.text, EFFECTS))
    if one["tolerationSeconds"].given and effect.text != "NoExecute":
        wrong = "only NoExecute is borne for a time"
        yield pod.fault(one["tolerationSeconds"], wrong, "effect: NoExecute, or no time")


def gpu_nodes(scope: Scope) -> Iterator[Finding]:
    """Who takes a GPU bears the contract's taint and asks for its label; others stay away."""
    gpu = scope.contract.gpu
    for pod in scope.objects.pods:
        bears = any(match.tolerates(t, gpu.taint.object) for t in pod.spec["tolerations"])
        if pod.limit(gpu.resource) in (None, 0, "0"):
            if bears and pod.owner.kind != "DaemonSet":
                wrong = f"the pod takes no GPU and yet bears the taint {gpu.taint}"
                yield pod.fault(pod.spec["tolerations"], wrong, "no toleration of it")
            continue
        if not bears:
            wrong = f"the pod takes a GPU and does not bear the taint {gpu.taint}"
            yield pod.fault(pod.spec["tolerations"], wrong, str(gpu.taint.toleration))
        selector = pod.spec["nodeSelector"]
        if selector.strings.get(gpu.label.key) != gpu.label.value and not _asks(pod, scope):
            wrong = "the pod takes a GPU and does not ask for the label of the GPU nodes"
            yield pod.fault(selector[gpu.label.key], wrong, gpu.label.value)


def _asks(pod: Pod, scope: Scope) -> bool:
    terms = list(pod.spec["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"])
    other: dict[str, str] = {}
    return bool(terms) and not any(match.node_term(one, other, "") for one in terms)


def node_affinity(scope: Scope) -> Iterator[Finding]:
    """Node affinity has terms that can match, and weights in range."""
    for pod in scope.objects.pods:
        affinity = pod.spec["affinity"]["nodeAffinity"]
        required = affinity[REQUIRED]
        if required.given and not list(required["nodeSelectorTerms"]):
            yield pod.fault(required["nodeSelectorTerms"], "there is no term", "at least one")
        for term in required["nodeSelectorTerms"]:
            if not list(term["matchExpressions"]) and not list(term["matchFields"]):
                yield pod.fault(term, "an empty term matches no node", "an expression")
        for kind in ("nodeAffinity", "podAffinity", "podAntiAffinity"):
            for one in pod.spec["affinity"][kind][PREFERRED]:
                if not 1 <= (one["weight"].integer or 0) <= 100:
                    yield pod.fault(
                        one["weight"], f"{one['weight'].value} is no weight", "1 to 100"
                    )
        if pod.spec["nodeName"].text:
            yield pod.fault(pod.spec["nodeName"], "the scheduler is passed over", "no nodeName")


def pod_affinity(scope: Scope) -> Iterator[Finding]:
    """Pod affinity names a topology, and selects pods that exist."""
    for pod in scope.objects.pods:
        for kind in ("podAffinity", "podAntiAffinity"):
            group = pod.spec["affinity"][kind]
            terms = [*group[REQUIRED], *(one["podAffinityTerm"] for one in group[PREFERRED])]
            for term in terms:
                if not syntax.is_qualified(term["topologyKey"].text):
                    yield pod.fault(term["topologyKey"], "no topology is named",
                                    "a node's label, such as kubernetes.io/hostname")  # fmt: skip
                if not any(match.selected(term["labelSelector"], other.labels)
                           for other in scope.objects.pods):  # fmt: skip
                    yield pod.fault(term["labelSelector"], "it selects no pod", "a pod's labels")


def spread(scope: Scope) -> Iterator[Finding]:
    """Spread constraints that the API takes, and that count the pod itself."""
    for pod in scope.objects.pods:
        seen = set()
        for one in pod.spec["topologySpreadConstraints"]:
            yield from _constraint(pod, one)
            key = (one["topologyKey"].text, one["whenUnsatisfiable"].text)
            if key in seen:
                yield pod.fault(one, f"a second constraint over {key[0]}", "one of them")
            seen.add(key)


def _constraint(pod: Pod, one: Field) -> Iterator[Finding]:
    when, policies = one["whenUnsatisfiable"].text, ("Honor", "Ignore")
    if (one["maxSkew"].integer or 0) < 1:
        yield pod.fault(one["maxSkew"], f"{one['maxSkew'].value} is no skew", "at least 1")
    if one["topologyKey"].text not in NODE_LABELS:
        wrong = f"nodes have no label '{one['topologyKey'].value}' to spread over"
        yield pod.fault(one["topologyKey"], wrong, meant(one["topologyKey"].text, NODE_LABELS))
    if when not in ("DoNotSchedule", "ScheduleAnyway"):
        right = meant(when, ("DoNotSchedule", "ScheduleAnyway"))
        yield pod.fault(one["whenUnsatisfiable"], f"there is no '{when}'", right)
    for label in one["matchLabelKeys"]:
        if label.text not in {*pod.labels, *REVISIONS}:
            right = meant(label.text, {*pod.labels, *REVISIONS})
            yield pod.fault(label, f"the pods have no label '{label.value}'", right)
    least = one["minDomains"]
    if least.given and (when != "DoNotSchedule" or (least.integer or 0) < 1):
        yield pod.fault(least, "minDomains needs DoNotSchedule and 1 or more", "leave it out")
    for key in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
        if one[key].given and one[key].text not in policies:
            wrong = f"there is no policy '{one[key].value}'"
            yield pod.fault(one[key], wrong, meant(one[key].text, policies))
    if not match.selected(one["labelSelector"], pod.labels):
        wrong = (
            f"it does not count the pod itself: {match.nearest(one['labelSelector'], pod.labels)}"
        )
        yield pod.fault(one["labelSelector"], wrong, "labels of the pod")


def priorities(scope: Scope) -> Iterator[Finding]:
    """Priority classes, runtime classes and schedulers exist."""
    classes = {one.name for one in scope.objects.of_kind("PriorityClass")}
    runtimes = {one.name for one in scope.objects.of_kind("RuntimeClass")}
    known = {
        "priorityClassName": classes | scope.around.priority_classes,
        "runtimeClassName": runtimes | scope.around.runtime_classes,
        "schedulerName": {"default-scheduler"},
    }
    for pod in scope.objects.pods:
        for key, there in known.items():
            field = pod.spec[key]
            if field.text and field.text not in there:
                right = meant(field.text, there) if there else "leave it out"
                yield pod.fault(field, f"nothing makes '{field.text}'", right)


def priority_classes(scope: Scope) -> Iterator[Finding]:
    """Priority classes below those of the system."""
    for one in scope.objects.of_kind("PriorityClass"):
        if (one["value"].integer or 0) > HIGHEST_PRIORITY:
            wrong = f"{one['value'].value} is the system's range"
            yield one.fault(one["value"], wrong, f"at most {HIGHEST_PRIORITY}")
        if one.name.startswith("system-"):
            yield one.fault(one["metadata"]["name"], "names of the system", "another prefix")
        policy = one["preemptionPolicy"]
        if policy.given and policy.text not in ("Never", "PreemptLowerPriority"):
            right = meant(policy.text, ("Never", "PreemptLowerPriority"))
            yield one.fault(policy, f"there is no policy '{policy.value}'", right)


RULES: tuple[Rule, ...] = (
    tolerations, gpu_nodes, node_affinity, pod_affinity, spread, priorities, priority_classes,
)  # fmt: skip
