"""Requests and limits: real quantities of real resources, and GPUs whole.

Source: `pkg/apis/core/validation/validation.go`, ValidateResourceRequirements.
"""

from collections.abc import Iterator
from fractions import Fraction

from helpers.cluster import quantities
from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding, meant
from helpers.cluster.objects import Pod
from helpers.cluster.rules.scope import Rule, Scope

NATIVE = frozenset({"cpu", "memory", "ephemeral-storage"})
# below and above these a unit was forgotten or mistaken; no node of the stack comes near
LEAST_BYTES, MOST_CPUS, MOST_BYTES = 2**20, 1024, 2**50


def _is_extended(name: str) -> bool:
    return "/" in name and not name.startswith("kubernetes.io/")


def syntax(scope: Scope) -> Iterator[Finding]:
    """Each amount is a quantity of a resource that there is."""
    for pod, one in _requirements(scope):
        for key in ("requests", "limits"):
            for name, field in one[key].entries.items():
                yield from _amount(pod, scope, name, field)


def _requirements(scope: Scope) -> Iterator[tuple[Pod, Field]]:
    for pod in scope.objects.pods:
        for one in pod.all_containers:
            yield pod, one["resources"]
        yield pod, pod.spec["resources"]


def _amount(pod: Pod, scope: Scope, name: str, field: Field) -> Iterator[Finding]:
    amount = quantities.parse(field.value)
    gpu = scope.contract.gpu.resource
    if not _is_extended(name) and name not in NATIVE and not name.startswith("hugepages-"):
        right = meant(name, NATIVE | {gpu})
        yield pod.fault(field, f"there is no resource '{name}'", right)
    elif _is_extended(name) and name.startswith(gpu.partition("/")[0]) and name != gpu:
        yield pod.fault(field, f"no node offers '{name}'", gpu)
    if amount is None:
        yield pod.fault(field, f"'{field.value}' is no quantity", _example(name))
    elif amount < 0:
        yield pod.fault(field, f"{field.value} is less than nothing", "0 or more")
    elif (_is_extended(name) or name.startswith("hugepages-")) and amount != int(amount):
        yield pod.fault(field, f"{field.value} of {name} cannot be given", "a whole number")
    elif wrong := _doubtful(name, amount):
        yield pod.fault(field, f"{field.value} of {name} {wrong}", _example(name))


def _example(name: str) -> str:
    if name == "cpu":
        return "cores, such as 2 or 500m"
    return "a whole number" if _is_extended(name) else "bytes with a unit, such as 8Gi or 512Mi"


def _doubtful(name: str, amount: Fraction) -> str:
    if name in ("memory", "ephemeral-storage"):
        if amount != int(amount):
            return "is a fraction of a byte"
        if 0 < amount < LEAST_BYTES:
            return "is less than 1 MiB"
        return "is more than any node has" if amount > MOST_BYTES else ""
    if name == "cpu" and amount > MOST_CPUS:
        return "is more cores than any node has"
    return ""


def limits(scope: Scope) -> Iterator[Finding]:
    """No request above its limit; what cannot be shared is requested as it is limited."""
    for pod, one in _requirements(scope):
        requests, limited = one["requests"].entries, one["limits"].entries
        for name, field in requests.items():
            asked = quantities.parse(field.value)
            most = quantities.parse(limited[name].value) if name in limited else None
            whole = _is_extended(name) or name.startswith("hugepages-")
            if whole and name not in limited:
                wrong = f"{name} is requested without a limit"
                yield pod.fault(one["limits"][name], wrong, f"the request's {field.value}")
            elif asked is not None and most is not None:
                if whole and asked != most:
                    wrong = f"request {field.value} and limit {limited[name].value} differ"
                    yield pod.fault(field, wrong, "equal: it cannot be shared")
                elif asked > most:
                    wrong = f"the request {field.value} exceeds the limit {limited[name].value}"
                    yield pod.fault(field, wrong, f"at most {limited[name].value}")


def bounds(scope: Scope) -> Iterator[Finding]:
    """Every container requests CPU and memory and has a memory limit: no neighbour is starved."""
    for pod in scope.objects.pods:
        for one in pod.all_containers:
            resources = one["resources"]
            for kind, name in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
                field, whole = resources[kind][name], pod.spec["resources"][kind][name]
                defaulted = kind == "requests" and resources["limits"][name].given
                if not field.given and not whole.given and not defaulted:
                    wrong = f"the container has no {kind[:-1]} of {name}"
                    yield pod.fault(field, wrong, _example(name))


def gpus(scope: Scope) -> Iterator[Finding]:
    """A pod that takes a GPU takes what the contract gives one pod."""
    gpu = scope.contract.gpu
    for pod in scope.objects.pods:
        for one in pod.all_containers:
            field = one["resources"]["limits"][gpu.resource]
            amount = quantities.parse(field.value)
            if amount is not None and amount not in (0, gpu.per_pod):
                wrong = f"the container takes {field.value} of {gpu.resource}"
                yield pod.fault(field, wrong, f"{gpu.per_pod}, as the contract says")


RULES: tuple[Rule, ...] = (syntax, limits, bounds, gpus)
