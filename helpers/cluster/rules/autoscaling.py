"""Autoscalers: bounds, metrics with one source and one target each, behaviour in range.

Source: `pkg/apis/autoscaling/validation/validation.go`; keda.sh/docs for ScaledObject.
"""

import re
from collections.abc import Iterator

from helpers.cluster import quantities
from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding, meant
from helpers.cluster.objects import Resource
from helpers.cluster.rules.scope import Rule, Scope

SOURCES = {"Resource": "resource", "ContainerResource": "containerResource", "Pods": "pods",
           "Object": "object", "External": "external"}  # fmt: skip
TARGETS = {"Utilization": "averageUtilization", "Value": "value", "AverageValue": "averageValue"}
GROUPED = ("Deployment", "StatefulSet", "ReplicaSet")
LONGEST_WINDOW_S, LONGEST_PERIOD_S = 3600, 1800


def bounds(scope: Scope) -> Iterator[Finding]:
    """Fewest ≤ most, and both possible."""
    for one in scope.objects.of_kind("HorizontalPodAutoscaler"):
        least, most = one["spec"]["minReplicas"], one["spec"]["maxReplicas"]
        yield from _bounds(one, least, most, lowest=1)
    for one in scope.objects.of_kind("ScaledObject"):
        least, most = one["spec"]["minReplicaCount"], one["spec"]["maxReplicaCount"]
        yield from _bounds(one, least, most, lowest=0)
        idle = one["spec"]["idleReplicaCount"]
        if idle.given and idle.integer != 0:
            yield one.fault(idle, f"KEDA cannot idle at {idle.value}", "0")


def _bounds(one: Resource, least: Field, most: Field, lowest: int) -> Iterator[Finding]:
    if least.integer is not None and least.integer < lowest:
        yield one.fault(least, f"{least.value} pods are too few", f"at least {lowest}")
    if most.given and (most.integer or 0) < 1:
        yield one.fault(most, f"{most.value} pods are too few", "at least 1")
    fewest = least.integer if least.integer is not None else lowest
    if most.integer is not None and fewest > most.integer:
        yield one.fault(least, f"{fewest} is more than the most, {most.value}", f"≤ {most.value}")


def targets(scope: Scope) -> Iterator[Finding]:
    """The target is named with its group, and no two autoscalers pull at one workload."""
    for one in scope.objects.of_kind("HorizontalPodAutoscaler"):
        version = one["spec"]["scaleTargetRef"]["apiVersion"]
        if "/" not in version.text and one["spec"]["scaleTargetRef"]["kind"].text in GROUPED:
            yield one.fault(version, f"'{version.value}' names no group", "apps/v1")
    seen: dict[tuple[str, str, str], str] = {}
    for one in scope.objects.of_kind("HorizontalPodAutoscaler", "ScaledObject"):
        target = one["spec"]["scaleTargetRef"]
        key = (one.namespace, target["kind"].text or "Deployment", target["name"].text)
        if key in seen:
            yield one.fault(target, f"{seen[key]} scales it too", "one autoscaler a workload")
        seen[key] = one.id


def metrics(scope: Scope) -> Iterator[Finding]:
    """There is a metric; each has the one source of its type, and one target."""
    for one in scope.objects.of_kind("HorizontalPodAutoscaler"):
        if not list(one["spec"]["metrics"]):
            yield one.fault(one["spec"]["metrics"], "there is no metric", "at least one")
        for metric in one["spec"]["metrics"]:
            kind = metric["type"].text
            if kind not in SOURCES:
                yield one.fault(metric["type"], f"there is no type '{kind}'", meant(kind, SOURCES))
                continue
            others = sorted(set(metric.entries) - {"type", SOURCES[kind]})
            if others or not metric[SOURCES[kind]].given:
                wrong = f"type {kind} comes with {', '.join(others) or 'nothing'}"
                yield one.fault(metric, wrong, f"{SOURCES[kind]} and nothing else")
            yield from _target(scope, one, kind, metric[SOURCES[kind]])


def _target(scope: Scope, one: Resource, kind: str, source: Field) -> Iterator[Finding]:
    target = source["target"]
    name = target["type"].text
    if name not in TARGETS:
        yield one.fault(target["type"], f"there is no target '{name}'", meant(name, TARGETS))
        return
    if kind == "Pods" and name != "AverageValue":
        yield one.fault(target["type"], f"a metric of pods has no {name}", "AverageValue")
    value = target[TARGETS[name]]
    amount = quantities.parse(value.value)
    if not value.given or amount is None or amount <= 0:
        yield one.fault(value, f"'{value.value}' is no {TARGETS[name]}", "a number above 0")
    for other in set(TARGETS.values()) - {TARGETS[name]}:
        if target[other].given:
            yield one.fault(target[other], f"a target of type {name} takes none", "leave it out")
    if kind == "Resource" and name == "Utilization":
        yield from _requested(scope, one, source["name"])
    if kind in ("Pods", "Object", "External") and not source["metric"]["name"].text:
        yield one.fault(source["metric"]["name"], "the metric has no name", "a metric's name")


def _requested(scope: Scope, one: Resource, resource: Field) -> Iterator[Finding]:
    """A share of what is requested needs requests."""
    target = one["spec"]["scaleTargetRef"]
    for pod in scope.objects.pods:
        if (pod.owner.kind, pod.owner.name) != (target["kind"].text, target["name"].text):
            continue
        for container in pod.containers:
            if not container["resources"]["requests"][resource.text].given:
                wrong = (
                    f"{container['name'].text} requests no {resource.text}, so there is no share"
                )
                yield one.fault(resource, wrong, "a resource that every container requests")


def behaviour(scope: Scope) -> Iterator[Finding]:
    """Windows and periods in range, policies that exist."""
    for one in scope.objects.of_kind("HorizontalPodAutoscaler"):
        for way in one["spec"]["behavior"].entries.values():
            window = way["stabilizationWindowSeconds"]
            if window.given and not 0 <= (window.integer or 0) <= LONGEST_WINDOW_S:
                yield one.fault(window, f"{window.value} s", f"0 to {LONGEST_WINDOW_S}")
            select = way["selectPolicy"]
            if select.given and select.text not in ("Max", "Min", "Disabled"):
                right = meant(select.text, ("Max", "Min", "Disabled"))
                yield one.fault(select, f"there is no '{select.value}'", right)
            if isinstance(way["policies"].value, list) and not way["policies"].value:
                yield one.fault(way["policies"], "there is no policy", "at least one, or no list")
            for policy in way["policies"]:
                if policy["type"].text not in ("Pods", "Percent"):
                    right = meant(policy["type"].text, ("Pods", "Percent"))
                    yield one.fault(policy["type"], f"no type '{policy['type'].value}'", right)
                if (policy["value"].integer or 0) < 1:
                    yield one.fault(policy["value"], f"{policy['value'].value}", "at least 1")
                if not 1 <= (policy["periodSeconds"].integer or 0) <= LONGEST_PERIOD_S:
                    wrong = f"a period of {policy['periodSeconds'].value} s"
                    yield one.fault(policy["periodSeconds"], wrong, f"1 to {LONGEST_PERIOD_S}")


def triggers(scope: Scope) -> Iterator[Finding]:
    """KEDA's triggers: at least one; Prometheus has an address, a query and a threshold."""
    for one in scope.objects.of_kind("ScaledObject"):
        if not list(one["spec"]["triggers"]):
            yield one.fault(one["spec"]["triggers"], "there is no trigger", "at least one")
        for trigger in one["spec"]["triggers"]:
            metadata = trigger["metadata"]
            for field in metadata.entries.values():
                if not isinstance(field.value, str):
                    yield one.fault(field, f"{field.value!r} is no text", "text in quotes")
            if trigger["type"].text == "prometheus":
                yield from _prometheus(one, metadata)


def _prometheus(one: Resource, metadata: Field) -> Iterator[Finding]:
    if not re.match(r"https?://[\w.-]+", metadata["serverAddress"].text):
        wrong = f"'{metadata['serverAddress'].value}' is no address"
        yield one.fault(metadata["serverAddress"], wrong, "http://<service>.<namespace>:9090")
    if not metadata["query"].text.strip():
        yield one.fault(metadata["query"], "there is no query", "PromQL")
    if not re.fullmatch(r"\d+(\.\d+)?", metadata["threshold"].text):
        wrong = f"'{metadata['threshold'].value}' is no threshold"
        yield one.fault(metadata["threshold"], wrong, 'a number in quotes, such as "20"')


RULES: tuple[Rule, ...] = (bounds, targets, metrics, behaviour, triggers)
