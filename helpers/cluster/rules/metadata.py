"""Names, labels, annotations, hooks, duplicates: what every object has."""

import re
from collections.abc import Iterator

from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding, meant
from helpers.cluster.objects import CLUSTER_SCOPED, Resource
from helpers.cluster.rules import syntax
from helpers.cluster.rules.scope import Rule, Scope

HOOKS = frozenset({
    "pre-install", "post-install", "pre-delete", "post-delete", "pre-upgrade", "post-upgrade",
    "pre-rollback", "post-rollback", "test",
})  # fmt: skip
DELETE_POLICIES = frozenset({"before-hook-creation", "hook-succeeded", "hook-failed"})
HELM_ANNOTATIONS = frozenset({
    "helm.sh/hook", "helm.sh/hook-weight", "helm.sh/hook-delete-policy",
    "helm.sh/hook-output-log-policy", "helm.sh/resource-policy",
})  # fmt: skip
POD_SECURITY = frozenset({"privileged", "baseline", "restricted"})
# length limits shorter than the general one: names of what these make are longer
SHORTER = {"CronJob": 52, "StatefulSet": 63, "Job": 63}
RBAC_KINDS = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
ANNOTATIONS_LIMIT = 256 * 1024
_SELECTORS = ("matchLabels", "nodeSelector")


def identity(scope: Scope) -> Iterator[Finding]:
    """Every object says what it is."""
    for one in scope.objects:
        for key in ("apiVersion", "kind"):
            if not one[key].text:
                yield one.fault(one[key], f"there is no {key}", f"the object's {key}")


def names(scope: Scope) -> Iterator[Finding]:
    """Names have the form that their kind needs."""
    for one in scope.objects:
        field = one["metadata"]["name"]
        if not one.name:
            if not one["metadata"]["generateName"].text:
                yield one.fault(field, "there is no name", "a name")
        elif right := _name_form(one):
            yield one.fault(field, f"'{one.name}' is no name of a {one.kind}", right)


def _name_form(one: Resource) -> str:
    limit = SHORTER.get(one.kind, 253)
    if one.kind == "Service":
        right = f"{syntax.LABEL_RULE}, beginning with a letter"
        return "" if syntax.is_label_1035(one.name) else right
    if one.kind == "Namespace":
        return "" if syntax.is_label_1123(one.name) else syntax.LABEL_RULE
    if one.kind in RBAC_KINDS:
        return "" if not re.search(r"[/%]", one.name) else "a name without '/' and '%'"
    if syntax.is_subdomain(one.name) and len(one.name) <= limit:
        return ""
    return f"at most {limit} characters a-z, 0-9, '-' and '.', as a DNS name"


def namespaces(scope: Scope) -> Iterator[Finding]:
    """Objects go where something looks for them: the release's namespace or a known one."""
    known = set(scope.contract.namespaces.model_dump().values()) | {"default"}
    known |= {one.name for one in scope.objects.of_kind("Namespace")}
    for one in scope.objects:
        field = one["metadata"]["namespace"]
        if one.kind in CLUSTER_SCOPED and field.given:
            yield one.fault(field, f"a {one.kind} belongs to no namespace", "no namespace")
        elif field.text and field.text not in known | {one.release_namespace}:
            right = meant(field.text, known | {one.release_namespace})
            yield one.fault(field, f"nothing makes the namespace '{field.text}'", right)


def duplicates(scope: Scope) -> Iterator[Finding]:
    """No object stands twice."""
    seen: set[tuple[str, str, str, str]] = set()
    for one in scope.objects:
        key = (one.group, one.kind, one.namespace, one.name)
        if key in seen:
            yield one.fault(one["metadata"]["name"], "the object stands twice", "one of them")
        seen.add(key)


def labels(scope: Scope) -> Iterator[Finding]:
    """Labels, and selectors over them, have the form of labels."""
    for one in scope.objects:
        for field in Field(one.body).walk():
            if _holds_labels(field, one):
                yield from _labels(one, field)


def _holds_labels(field: Field, one: Resource) -> bool:
    last = field.path.rpartition(".")[2]
    if last == "labels":
        return field.path.endswith("metadata.labels") or one.kind == "PrometheusRule"
    return last in _SELECTORS or (one.kind == "Service" and field.path == "spec.selector")


def _labels(one: Resource, field: Field) -> Iterator[Finding]:
    is_rule = one.kind == "PrometheusRule" and not field.path.startswith("metadata")
    for key, member in ({} if is_rule else field.entries).items():
        if not syntax.is_qualified(key):
            right = "prefix/name, the name at most 63 letters, digits, '-', '_' and '.'"
            yield one.fault(member, f"'{key}' is no key of a label", right)
        if not isinstance(member.value, str):
            yield one.fault(member, f"{member.value!r} is no text", f'"{member.value}" in quotes')
        elif not syntax.is_label_value(member.value):
            right = "at most 63 letters, digits, '-', '_' and '.', a letter or digit at both ends"
            yield one.fault(member, f"'{member.value:.80}' is no value of a label", right)


def expressions(scope: Scope) -> Iterator[Finding]:
    """Requirements of selectors: a known operator with the values that it needs."""
    for one in scope.objects:
        for field in Field(one.body).walk():
            last = re.sub(r"\[\d+\]$", "", field.path).rpartition(".")[2]
            if last in ("matchExpressions", "matchFields") and field.path.endswith("]"):
                yield from _expression(one, field, of_node="nodeAffinity" in field.path)


def _expression(one: Resource, field: Field, *, of_node: bool) -> Iterator[Finding]:
    operator, values = field["operator"], list(field["values"])
    known = {"In", "NotIn", "Exists", "DoesNotExist"} | ({"Gt", "Lt"} if of_node else set())
    if operator.text not in known:
        yield one.fault(operator, f"there is no operator '{operator.text}'",
                        meant(operator.text, known))  # fmt: skip
    elif operator.text in ("In", "NotIn") and not values:
        yield one.fault(field["values"], f"{operator.text} has no values", "at least one value")
    elif operator.text in ("Exists", "DoesNotExist") and values:
        yield one.fault(field["values"], f"{operator.text} takes no values", "no values, or In")
    elif operator.text in ("Gt", "Lt") and not (
        len(values) == 1 and re.fullmatch(r"-?\d+", values[0].text)
    ):
        yield one.fault(field["values"], f"{operator.text} needs one whole number", 'as in ["1"]')
    if "matchFields" in field.path and field["key"].text != "metadata.name":
        yield one.fault(field["key"], f"no field '{field['key'].text}' is known", "metadata.name")
    elif "matchFields" not in field.path and not syntax.is_qualified(field["key"].text):
        yield one.fault(
            field["key"], f"'{field['key'].text}' is no key of a label", "a label's key"
        )


def annotations(scope: Scope) -> Iterator[Finding]:
    """Annotations have legal keys and text as values."""
    holders = [(one, one["metadata"]["annotations"]) for one in scope.objects]
    holders += [(pod.owner, pod.template["metadata"]["annotations"]) for pod in scope.objects.pods
                if pod.owner.kind != "Pod"]  # fmt: skip
    for one, field in holders:
        size = 0
        for key, member in field.entries.items():
            size += len(key) + len(str(member.value))
            if not syntax.is_qualified(key.lower()):
                yield one.fault(member, f"'{key}' is no key of an annotation", "prefix/name")
            if not isinstance(member.value, str):
                right = f'"{member.value}" in quotes'
                yield one.fault(member, f"{member.value!r} is no text", right)
        if size > ANNOTATIONS_LIMIT:
            yield one.fault(field, f"annotations fill {size} bytes", "at most 256 KiB")


def hooks(scope: Scope) -> Iterator[Finding]:
    """Helm's own annotations: known names, known hooks, a weight that is a number."""
    for one in scope.objects:
        found = one.annotations
        for key, field in found.items():
            if key.startswith("helm.sh/") and key not in HELM_ANNOTATIONS:
                yield one.fault(field, f"Helm knows no '{key}'", meant(key, HELM_ANNOTATIONS))
        for key, known in (
            ("helm.sh/hook", HOOKS),
            ("helm.sh/hook-delete-policy", DELETE_POLICIES),
            ("helm.sh/resource-policy", frozenset({"keep"})),
        ):
            for part in found[key].text.split(",") if key in found else ():
                if part.strip() not in known:
                    wrong = f"'{part.strip()}' means nothing to Helm"
                    yield one.fault(found[key], wrong, meant(part.strip(), known))
        weight = found.get("helm.sh/hook-weight")
        if weight and not re.fullmatch(r"-?\d+", weight.text):
            wrong = f"the weight '{weight.value}' is no number"
            yield one.fault(weight, wrong, 'a whole number in quotes, such as "5"')
        if "helm.sh/hook" not in found and any(key.startswith("helm.sh/hook-") for key in found):
            field = next(found[key] for key in found if key.startswith("helm.sh/hook-"))
            yield one.fault(field, "the object is no hook, so this does nothing", "helm.sh/hook")


def pod_security(scope: Scope) -> Iterator[Finding]:
    """Labels of Pod Security name a level that there is."""
    for one in scope.objects.of_kind("Namespace"):
        for key, field in one["metadata"]["labels"].entries.items():
            mode = key.removeprefix("pod-security.kubernetes.io/")
            if mode == key or mode.endswith("-version"):
                continue
            if mode not in ("enforce", "audit", "warn"):
                yield one.fault(field, f"there is no mode '{mode}'", meant(mode, ("enforce",
                                "audit", "warn")))  # fmt: skip
            elif field.text not in POD_SECURITY:
                yield one.fault(field, f"there is no level '{field.text}'",
                                meant(field.text, POD_SECURITY))  # fmt: skip


RULES: tuple[Rule, ...] = (
    identity, names, namespaces, duplicates, labels, expressions, annotations, hooks, pod_security,
)  # fmt: skip
