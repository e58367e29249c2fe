"""Label selectors and node affinity, as Kubernetes evaluates them."""

from collections.abc import Mapping

from helpers.cluster.fields import Field
from helpers.cluster.objects import Pod, Resource

Labels = Mapping[str, str]
SERVICE_OF_SLICE = "kubernetes.io/service-name"  # label of an EndpointSlice


def expression(requirement: Field, labels: Labels) -> bool:
    """Whether labels meet one requirement of `matchExpressions`; an unknown operator never is."""
    key, values = requirement["key"].text, [one.text for one in requirement["values"]]
    value = labels.get(key)
    match requirement["operator"].text:
        case "In":
            return value is not None and value in values
        case "NotIn":
            return value is None or value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return _compared(value, values) > 0
        case "Lt":
            return _compared(value, values) < 0
    return False


def _compared(value: str | None, values: list[str]) -> int:
    """-1, 0 or 1 as the label is less than, equal to, or above the single value; 0 if unclear."""
    try:
        (limit,) = values
        left, right = int(value or ""), int(limit)
    except ValueError:
        return 0
    return (left > right) - (left < right)


def selected(selector: Field, labels: Labels) -> bool:
    """Whether a label selector selects; an absent one selects nothing, an empty one all."""
    if not selector.given:
        return False
    wanted = selector["matchLabels"].entries
    return all(labels.get(key) == field.value for key, field in wanted.items()) and all(
        expression(one, labels) for one in selector["matchExpressions"]
    )


def plain(selector: Field, labels: Labels) -> bool:
    """Whether a Service's plain selector selects; an empty one selects nothing."""
    wanted = selector.entries
    return bool(wanted) and all(labels.get(key) == field.value for key, field in wanted.items())


def node_term(term: Field, labels: Labels, name: str) -> bool:
    """Whether a node meets a term of node affinity; an empty term matches no node."""
    by_label, by_field = list(term["matchExpressions"]), list(term["matchFields"])
    if not by_label and not by_field:
        return False
    return all(expression(one, labels) for one in by_label) and all(
        expression(one, {"metadata.name": name}) for one in by_field
    )


def tolerates(toleration: Field, taint: Mapping[str, str]) -> bool:
    """Whether a toleration lets a pod bear a taint."""
    effect, key = toleration["effect"].text, toleration["key"].text
    if effect and effect != taint["effect"]:
        return False
    if toleration["operator"].text == "Exists":
        return not key or key == taint["key"]
    if toleration["operator"].text not in ("", "Equal"):
        return False
    return key == taint["key"] and toleration["value"].text == taint.get("value", "")


def nearest(selector: Field, labels: Labels) -> str:
    """Why a selector does not select these labels, in words."""
    for key, field in {**selector.entries, **selector["matchLabels"].entries}.items():
        if key in ("matchLabels", "matchExpressions"):
            continue
        if key not in labels:
            return f"no label {key}"
        if labels[key] != field.value:
            return f"{key} is {labels[key]}, not {field.value}"
    for one in selector["matchExpressions"]:
        if not expression(one, labels):
            return f"{one['key'].text} {one['operator'].text} does not hold"
    return "another namespace"


def workload_of(pods: tuple[Pod, ...], kind: str, namespace: str, name: str) -> Pod | None:
    """The pod template of a workload; None where there is no such workload."""
    for pod in pods:
        owner: Resource = pod.owner
        if (owner.kind, owner.namespace, owner.name) == (kind, namespace, name):
            return pod
    return None
