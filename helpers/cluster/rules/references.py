"""What a pod refers to by name exists: configuration, secrets, claims, and their keys."""

from collections.abc import Iterator

from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding, meant
from helpers.cluster.objects import Pod, Resource
from helpers.cluster.rules.scope import Rule, Scope

ALWAYS_THERE = "kube-root-ca.crt"  # every namespace has this ConfigMap


def configuration(scope: Scope) -> Iterator[Finding]:
    """ConfigMaps and Secrets, and the keys that are read of them."""
    for pod in scope.objects.pods:
        for field in pod.spec.walk():
            last = field.path.rpartition(".")[2]
            for kind, key in _reference(last, field):
                yield from _exists(scope, pod, field, kind, key)


def _reference(last: str, field: Field) -> Iterator[tuple[str, str]]:
    """Kind of what a field refers to, and the key of the field that names it."""
    if last in ("configMapKeyRef", "configMapRef"):
        yield "ConfigMap", "name"
    elif last in ("secretKeyRef", "secretRef"):
        yield "Secret", "name"
    elif last == "configMap" and "volumes[" in field.path:
        yield "ConfigMap", "name"
    elif last == "secret" and "volumes[" in field.path:
        yield "Secret", "name" if ".projected." in field.path else "secretName"
    elif last.startswith("imagePullSecrets["):
        yield "Secret", "name"
    elif last == "persistentVolumeClaim":
        yield "PersistentVolumeClaim", "claimName"


def _exists(scope: Scope, pod: Pod, field: Field, kind: str, key: str) -> Iterator[Finding]:
    name = field[key].text
    if field["optional"].value is True or (kind == "ConfigMap" and name == ALWAYS_THERE):
        return
    outside = {"ConfigMap": scope.around.config_maps, "Secret": scope.around.secrets}
    found = scope.objects.find(kind, pod.namespace, name)
    if found:
        yield from _keys(pod, field, found)
    elif f"{pod.namespace}/{name}" not in outside.get(kind, frozenset()):
        there = {one.name for one in scope.objects.of_kind(kind) if one.namespace == pod.namespace}
        wrong = f"namespace {pod.namespace} has no {kind} '{name}'"
        yield pod.fault(field[key], wrong, meant(name, there) if there else f"a {kind} that exists")


def _keys(pod: Pod, field: Field, found: Resource) -> Iterator[Finding]:
    there: set[str] = set()
    for part in ("data", "stringData", "binaryData"):
        there |= found[part].entries.keys()
    wanted = [field["key"]] if field["key"].given else [item["key"] for item in field["items"]]
    for one in wanted:
        if one.text not in there:
            right = meant(one.text, there) if there else "a key"
            yield pod.fault(one, f"{found.id} has no key '{one.value}'", right)


RULES: tuple[Rule, ...] = (configuration,)
