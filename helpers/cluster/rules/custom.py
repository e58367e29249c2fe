"""Custom resources: somebody brings their definition, and brings it first."""

from collections.abc import Iterator

from helpers.cluster.findings import Finding
from helpers.cluster.objects import Resource
from helpers.cluster.rules.scope import Rule, Scope

BUILT_IN = frozenset({"", "apps", "autoscaling", "batch", "policy"})
VERSIONS = {"monitoring.coreos.com": {"ServiceMonitor": "v1", "PodMonitor": "v1",
            "PrometheusRule": "v1", "Probe": "v1"},
            "keda.sh": {"ScaledObject": "v1alpha1", "TriggerAuthentication": "v1alpha1",
                        "ScaledJob": "v1alpha1"},
            "elbv2.k8s.aws": {"TargetGroupBinding": "v1beta1",
                              "IngressClassParams": "v1beta1"}}  # fmt: skip


def is_custom(one: Resource) -> bool:
    """Whether an object's kind is none of Kubernetes itself."""
    return one.group not in BUILT_IN and not one.group.endswith(".k8s.io")


def definitions(scope: Scope) -> Iterator[Finding]:
    """A custom resource comes after its definition, from this rendering or an earlier release."""
    order = {id(one): number for number, one in enumerate(scope.objects)}
    brought = {
        (one["spec"]["group"].text, one["spec"]["names"]["kind"].text): one
        for one in scope.objects.of_kind("CustomResourceDefinition")
    }
    for one in scope.objects:
        if not is_custom(one) or one.kind == "":
            continue
        definition = brought.get((one.group, one.kind))
        if definition is not None:
            if order[id(definition)] > order[id(one)]:
                wrong = f"the object comes before its definition, {definition.name}"
                yield one.fault(one["kind"], wrong, "the definition first, in an earlier release")
        elif one.group not in scope.around.crd_groups:
            wrong = f"nothing that is installed before defines {one.kind} of {one.api_version}"
            known = ", ".join(sorted(scope.around.crd_groups))
            yield one.fault(one["apiVersion"], wrong, f"a definition first; known: {known}")
        else:
            yield from _version(one)


def _version(one: Resource) -> Iterator[Finding]:
    known = VERSIONS.get(one.group, {})
    version = one.api_version.rpartition("/")[2]
    if known and one.kind not in known:
        wrong = f"{one.group} has no kind '{one.kind}'"
        yield one.fault(one["kind"], wrong, f"one of {', '.join(sorted(known))}")
    elif known and known[one.kind] != version:
        wrong = f"{one.kind} has no version {version}"
        yield one.fault(one["apiVersion"], wrong, f"{one.group}/{known[one.kind]}")


RULES: tuple[Rule, ...] = (definitions,)
