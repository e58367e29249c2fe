"""How pods end: restart policy, hooks, and the time that they get."""

import re
from collections.abc import Iterator

from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding, meant
from helpers.cluster.objects import Pod, is_sidecar
from helpers.cluster.rules import probes
from helpers.cluster.rules.scope import Rule, Scope

HANDLERS = ("exec", "httpGet", "sleep", "tcpSocket")
DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
DEFAULT_GRACE_S = 30
# docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
SPOT_NOTICE_S = 120
_SLEEP = re.compile(r"\bsleep\s+(\d+)")


def grace_s(pod: Pod) -> int:
    """Seconds between the order to end and the kill."""
    given = pod.spec["terminationGracePeriodSeconds"].integer
    return DEFAULT_GRACE_S if given is None else given


def pre_stop_s(container: Field) -> int:
    """Seconds that a container sleeps before it is told to end."""
    hook = container["lifecycle"]["preStop"]
    slept = _SLEEP.search(" ".join(one.text for one in hook["exec"]["command"]))
    return hook["sleep"]["seconds"].integer or (int(slept[1]) if slept else 0)


def restart_policies(scope: Scope) -> Iterator[Finding]:
    """A policy that fits the owner: what serves restarts always, what ends never does so."""
    for pod in scope.objects.pods:
        allowed: tuple[str, ...] = ("Always",)
        if pod.owner.kind in ("Job", "CronJob"):
            allowed = ("Never", "OnFailure")
        elif pod.owner.kind == "Pod":
            allowed = ("Always", "Never", "OnFailure")
        policy = pod.spec["restartPolicy"]
        if (policy.given or "Always" not in allowed) and policy.text not in allowed:
            wrong = f"a {pod.owner.kind} cannot have '{policy.value}'"
            yield pod.fault(policy, wrong, " or ".join(allowed))
        if policy.text in ("", "Always") and "test" in pod.owner.hooks:
            yield pod.fault(policy, "a test that restarts for ever never ends", "Never")
        for one in pod.spec["initContainers"]:
            if one["restartPolicy"].given and not is_sidecar(one):
                wrong = "an init container knows no other policy"
                yield pod.fault(one["restartPolicy"], wrong, "Always (a sidecar), or none")


def hooks(scope: Scope) -> Iterator[Finding]:
    """Each hook does one thing, and does not outlast the pod's grace period."""
    for pod in scope.objects.pods:
        for one in pod.all_containers:
            for name in ("preStop", "postStart"):
                hook = one["lifecycle"][name]
                found = [key for key in HANDLERS if hook[key].given]
                if hook.given and len(found) != 1:
                    wrong = f"the hook has {len(found)} handlers"
                    yield pod.fault(hook, wrong, f"one of {', '.join(HANDLERS)}")
                for handler in ("httpGet", "tcpSocket"):
                    if hook[handler].given:
                        yield from probes.reachable(pod, one, hook[handler]["port"])
                slept = hook["sleep"]["seconds"]
                if slept.given and (slept.integer or 0) < 1:
                    yield pod.fault(slept, f"{slept.value} is no time to sleep", "at least 1")


def grace(scope: Scope) -> Iterator[Finding]:
    """A pod has more time to end than its hooks take, and on spot less than the notice."""
    for pod in scope.objects.pods:
        field = pod.spec["terminationGracePeriodSeconds"]
        period = grace_s(pod)
        if period < 0:
            yield pod.fault(field, f"{period} s is no time", "0 or more")
        for one in pod.containers:
            if pre_stop_s(one) >= period:
                wrong = f"preStop sleeps {pre_stop_s(one)} s of a grace period of {period} s"
                right = f"less than {period} s, or a longer grace period"
                yield pod.fault(one["lifecycle"]["preStop"], wrong, right)
        if pod.limit(scope.contract.gpu.resource) is not None and period >= SPOT_NOTICE_S:
            wrong = f"the pod may take {period} s to end, the spot notice is {SPOT_NOTICE_S} s"
            yield pod.fault(field, wrong, f"less than {SPOT_NOTICE_S}")


def deadlines(scope: Scope) -> Iterator[Finding]:
    """Only what is meant to end has a deadline."""
    for pod in scope.objects.pods:
        field = pod.spec["activeDeadlineSeconds"]
        if field.given and not 1 <= (field.integer or 0) < 2**31:
            yield pod.fault(field, f"{field.value} s is no deadline", "1 to 2147483647")
        elif field.given and pod.owner.kind not in ("Pod", "Job", "CronJob"):
            yield pod.fault(field, f"a pod of a {pod.owner.kind} has no deadline", "leave it out")
        policy = pod.spec["dnsPolicy"]
        if policy.given and policy.text not in DNS_POLICIES:
            wrong = f"there is no DNS policy '{policy.value}'"
            yield pod.fault(policy, wrong, meant(policy.text, DNS_POLICIES))


RULES: tuple[Rule, ...] = (restart_policies, hooks, grace, deadlines)
