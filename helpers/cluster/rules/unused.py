"""Objects that exist to be referred to, and that nothing refers to."""

from collections.abc import Iterator

from helpers.cluster.findings import Finding
from helpers.cluster.objects import Pod
from helpers.cluster.rules.scope import Rule, Scope

# kind → field of a pod that names it
NAMED_BY = {"PriorityClass": "priorityClassName", "ServiceAccount": "serviceAccountName"}


def named(scope: Scope) -> Iterator[Finding]:
    """A priority class or a service account is one that some pod has."""
    for kind, key in NAMED_BY.items():
        for one in scope.objects.of_kind(kind):
            users = [pod for pod in scope.objects.pods if pod.spec[key].text == one.name]
            if scope.objects.pods and not users:
                wrong = f"no pod names it in {key}"
                yield one.fault(one["metadata"]["name"], wrong, f"a pod's {key}: {one.name}")


def configuration(scope: Scope) -> Iterator[Finding]:
    """A ConfigMap or Secret without labels that a sidecar looks for is one that some pod reads."""
    for one in scope.objects.of_kind("ConfigMap", "Secret"):
        collected = any("grafana" in label for label in one.labels)
        if scope.objects.pods and not collected and not _read(scope.objects.pods, one.name):
            wrong = "no pod reads it"
            yield one.fault(one["metadata"]["name"], wrong, "a pod that refers to it, or none")


def _read(pods: tuple[Pod, ...], name: str) -> bool:
    keys = ("name", "secretName")
    return any(
        field.text == name and field.path.rpartition(".")[2] in keys
        for pod in pods
        for field in pod.spec.walk()
    )


RULES: tuple[Rule, ...] = (named, configuration)
