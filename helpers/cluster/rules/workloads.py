"""Deployments and their kin: selectors, strategy, numbers."""

import re
from collections.abc import Iterator

from helpers.cluster import match
from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding, meant
from helpers.cluster.objects import Resource
from helpers.cluster.rules import probes, syntax
from helpers.cluster.rules.scope import Rule, Scope

SELECTING = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")
COUNTS = ("replicas", "minReadySeconds", "revisionHistoryLimit", "parallelism", "completions",
          "backoffLimit", "ttlSecondsAfterFinished", "successfulJobsHistoryLimit",
          "failedJobsHistoryLimit", "startingDeadlineSeconds")  # fmt: skip
STRATEGIES = {"Deployment": ("strategy", ("RollingUpdate", "Recreate")),
              "DaemonSet": ("updateStrategy", ("RollingUpdate", "OnDelete")),
              "StatefulSet": ("updateStrategy", ("RollingUpdate", "OnDelete"))}  # fmt: skip
DEFAULT_PROGRESS_S = 600
_CRON = re.compile(r"@(yearly|annually|monthly|weekly|daily|midnight|hourly)|(\S+\s+){4}\S+")


def selectors(scope: Scope) -> Iterator[Finding]:
    """A workload selects its own pods, and no other workload does."""
    for pod in scope.objects.pods:
        if pod.owner.kind not in SELECTING:
            continue
        selector = pod.owner["spec"]["selector"]
        if not selector["matchLabels"].entries and not list(selector["matchExpressions"]):
            yield pod.owner.fault(selector, "the selector is empty", "labels of the template")
        elif not match.selected(selector, pod.labels):
            wrong = f"it does not select the template: {match.nearest(selector, pod.labels)}"
            yield pod.owner.fault(selector, wrong, f"labels of the template, {pod.labels}")
        for other in scope.objects.pods:
            if (
                other.owner is not pod.owner
                and other.namespace == pod.namespace
                and match.selected(selector, other.labels)
            ):
                yield pod.owner.fault(selector, f"it selects pods of {other.owner.id} too",
                                      "a label that only its own pods have")  # fmt: skip


def strategies(scope: Scope) -> Iterator[Finding]:
    """A strategy that exists, and that can move."""
    for one in scope.objects.of_kind(*STRATEGIES):
        key, known = STRATEGIES[one.kind]
        strategy = one["spec"][key]
        name = strategy["type"].text
        if name and name not in known:
            yield one.fault(strategy["type"], f"there is no strategy '{name}'", meant(name, known))
        rolling = strategy["rollingUpdate"]
        if rolling.given and name not in ("", "RollingUpdate"):
            yield one.fault(rolling, f"{name} takes no rollingUpdate", "type: RollingUpdate")
        for limit in ("maxSurge", "maxUnavailable"):
            if rolling[limit].given and not _is_share(rolling[limit]):
                wrong = f"'{rolling[limit].value}' is no number of pods"
                yield one.fault(rolling[limit], wrong, "a number, or a percentage such as 25%")
        zero = [rolling[limit].value in (0, "0%") for limit in ("maxSurge", "maxUnavailable")]
        if all(zero):
            wrong = "maxSurge and maxUnavailable are both 0: nothing may move"
            yield one.fault(rolling, wrong, "one of them above 0")
        share = rolling["maxUnavailable"]
        if _is_share(share) and share.text and int(share.text.rstrip("%")) > 100:
            yield one.fault(share, "more than all pods", "at most 100%")


def _is_share(field: Field) -> bool:
    if isinstance(field.value, str):
        return syntax.PERCENT.fullmatch(field.value) is not None
    return field.integer is not None and field.integer >= 0


def counts(scope: Scope) -> Iterator[Finding]:
    """Numbers are not negative, and a rollout is not given up before a pod could be ready."""
    for one in scope.objects:
        if one.kind not in (*SELECTING, "Job", "CronJob"):
            continue
        for holder in (one["spec"], one["spec"]["jobTemplate"]["spec"]):
            for key in COUNTS:
                if (holder[key].integer or 0) < 0:
                    yield one.fault(holder[key], f"{holder[key].value} is negative", "0 or more")
    for pod in scope.objects.pods:
        if pod.owner.kind != "Deployment":
            continue
        field = pod.owner["spec"]["progressDeadlineSeconds"]
        deadline = DEFAULT_PROGRESS_S if field.integer is None else field.integer
        starts = [probes.budget_s(c["startupProbe"]) for c in pod.containers
                  if c["startupProbe"].given]  # fmt: skip
        needed = max(starts, default=0) + (pod.owner["spec"]["minReadySeconds"].integer or 0)
        if deadline <= needed:
            wrong = f"the rollout fails after {deadline} s, a pod may take {needed} s to start"
            yield pod.owner.fault(field, wrong, f"more than {needed}")


def scaled_replicas(scope: Scope) -> Iterator[Finding]:
    """Where an autoscaler sets the number of pods, the manifest does not."""
    for one in scope.objects.of_kind("HorizontalPodAutoscaler", "ScaledObject"):
        target = one["spec"]["scaleTargetRef"]
        kind = target["kind"].text or "Deployment"
        found = scope.objects.find(kind, one.namespace, target["name"].text)
        if found and found["spec"]["replicas"].given:
            wrong = f"each upgrade sets what {one.id} has chosen"
            yield found.fault(found["spec"]["replicas"], wrong, "leave it out")


def stateful_sets(scope: Scope) -> Iterator[Finding]:
    """A StatefulSet's headless Service exists."""
    for one in scope.objects.of_kind("StatefulSet"):
        field = one["spec"]["serviceName"]
        if field.text and not scope.objects.find("Service", one.namespace, field.text):
            yield one.fault(field, f"there is no Service '{field.text}'", "a headless Service")


def schedules(scope: Scope) -> Iterator[Finding]:
    """A CronJob has a schedule, and says what to do when runs overlap."""
    for one in scope.objects.of_kind("CronJob"):
        if not _CRON.fullmatch(one["spec"]["schedule"].text):
            wrong = f"'{one['spec']['schedule'].value}' is no schedule"
            yield one.fault(one["spec"]["schedule"], wrong, "five fields, such as '0 4 * * *'")
        policy = one["spec"]["concurrencyPolicy"]
        if policy.given and policy.text not in ("Allow", "Forbid", "Replace"):
            right = meant(policy.text, ("Allow", "Forbid", "Replace"))
            yield one.fault(policy, f"there is no policy '{policy.value}'", right)


def budgets(scope: Scope) -> Iterator[Finding]:
    """A disruption budget says one thing, in numbers or per cent, about chosen pods."""
    for one in scope.objects.of_kind("PodDisruptionBudget"):
        spec = one["spec"]
        given = [key for key in ("minAvailable", "maxUnavailable") if spec[key].given]
        if len(given) != 1:
            wrong = f"{' and '.join(given) or 'neither minAvailable nor maxUnavailable'} is given"
            yield one.fault(spec, wrong, "exactly one of minAvailable and maxUnavailable")
        for key in given:
            if not _is_share(spec[key]):
                wrong = f"'{spec[key].value}' is no number of pods"
                yield one.fault(spec[key], wrong, "a number, or a percentage such as 50%")
        policy = spec["unhealthyPodEvictionPolicy"]
        if policy.given and policy.text not in ("IfHealthyBudget", "AlwaysAllow"):
            right = meant(policy.text, ("IfHealthyBudget", "AlwaysAllow"))
            yield one.fault(policy, f"there is no policy '{policy.value}'", right)


def owned(scope: Scope) -> Iterator[Finding]:
    """Nothing that serves is a bare pod or a bare ReplicaSet: it would not come back."""
    for pod in scope.objects.pods:
        owner: Resource = pod.owner
        if owner.kind in ("Pod", "ReplicaSet") and not owner.hooks:
            yield owner.fault(owner["kind"], f"a bare {owner.kind} is not replaced", "a Deployment")


RULES: tuple[Rule, ...] = (
    selectors, strategies, counts, scaled_replicas, stateful_sets, schedules, budgets, owned,
)  # fmt: skip
