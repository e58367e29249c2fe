"""Load generators: never beside the server that they measure."""

from collections.abc import Iterator

from helpers.cluster import match
from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding
from helpers.cluster.rules.scheduling import REQUIRED
from helpers.cluster.rules.scope import Rule, Scope


def off_gpu_nodes(scope: Scope) -> Iterator[Finding]:
    """A pod of the load's namespace refuses the label of the GPU nodes, whatever their taints."""
    label = scope.contract.gpu.label
    for pod in scope.objects.pods:
        if pod.namespace != scope.contract.namespaces.load:
            continue
        terms = pod.spec["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
        if not list(terms) or not all(_refuses(one, label.selector) for one in terms):
            wrong = f"the load may go to a node with {label}, beside the server that it measures"
            yield pod.fault(terms, wrong, f"{label.key} NotIn [{label.value}] in every term")
        if pod.spec["nodeSelector"].strings.get(label.key) == label.value:
            yield pod.fault(pod.spec["nodeSelector"], f"the load asks for {label}", "no such label")


def _refuses(term: Field, labels: dict[str, str]) -> bool:
    """Whether a term matches no node with these labels, whatever else it has."""
    return any(
        one["key"].text in labels and not match.expression(one, labels)
        for one in term["matchExpressions"]
    )


RULES: tuple[Rule, ...] = (off_gpu_nodes,)
