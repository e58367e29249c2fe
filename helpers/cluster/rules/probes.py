"""Probes: one handler each, times that the API takes, and a port that the container has."""

from collections.abc import Iterator

from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding, meant
from helpers.cluster.objects import Pod
from helpers.cluster.rules import syntax
from helpers.cluster.rules.scope import Rule, Scope

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
HANDLERS = ("exec", "grpc", "httpGet", "tcpSocket")
# field → least value; pkg/apis/core/validation, validateProbe
LEAST = {"initialDelaySeconds": 0, "timeoutSeconds": 1, "periodSeconds": 1, "successThreshold": 1,
         "failureThreshold": 1, "terminationGracePeriodSeconds": 1}  # fmt: skip
DEFAULTS = {"initialDelaySeconds": 0, "timeoutSeconds": 1, "periodSeconds": 10,
            "successThreshold": 1, "failureThreshold": 3}  # fmt: skip


def setting(probe: Field, key: str) -> int:
    """A probe's setting, or its default."""
    found = probe[key].integer
    return DEFAULTS[key] if found is None else found


def budget_s(probe: Field) -> int:
    """Seconds until a probe that never succeeds gives up."""
    tries = setting(probe, "failureThreshold")
    return setting(probe, "initialDelaySeconds") + tries * setting(probe, "periodSeconds")


def probes(scope: Scope) -> Iterator[tuple[Pod, Field, str, Field]]:
    """Every probe: its pod, container, name and field."""
    for pod in scope.objects.pods:
        for one in pod.all_containers:
            for name in PROBES:
                if one[name].given:
                    yield pod, one, name, one[name]


def handlers(scope: Scope) -> Iterator[Finding]:
    """A probe does exactly one thing."""
    for pod, _, _, probe in probes(scope):
        found = [name for name in HANDLERS if probe[name].given]
        if len(found) != 1:
            wrong = f"the probe has {len(found)} handlers"
            yield pod.fault(probe, wrong, f"one of {', '.join(HANDLERS)}")
        if probe["exec"].given and not list(probe["exec"]["command"]):
            yield pod.fault(probe["exec"]["command"], "there is no command", "a command")
        yield from _http(pod, probe["httpGet"])


def _http(pod: Pod, http: Field) -> Iterator[Finding]:
    if not http.given:
        return
    if not http["path"].text.startswith("/"):
        yield pod.fault(http["path"], f"'{http['path'].value}' is no path", "a path from '/'")
    if http["scheme"].given and http["scheme"].text not in ("HTTP", "HTTPS"):
        wrong = f"there is no scheme '{http['scheme'].value}'"
        yield pod.fault(http["scheme"], wrong, meant(http["scheme"].text, ("HTTP", "HTTPS")))
    if http["host"].text:
        yield pod.fault(http["host"], "the probe asks another host", "no host: the pod itself")


def times(scope: Scope) -> Iterator[Finding]:
    """Times and thresholds are in range and fit each other."""
    for pod, _, name, probe in probes(scope):
        for key, least in LEAST.items():
            value = probe[key].integer
            if value is not None and value < least:
                yield pod.fault(probe[key], f"{value} is too little", f"at least {least}")
        if name != "readinessProbe" and setting(probe, "successThreshold") != 1:
            wrong = f"a {name} succeeds at once"
            yield pod.fault(probe["successThreshold"], wrong, "1, or leave it out")
        if name == "readinessProbe" and probe["terminationGracePeriodSeconds"].given:
            field = probe["terminationGracePeriodSeconds"]
            yield pod.fault(field, "a readiness probe ends nothing", "leave it out")
        if setting(probe, "timeoutSeconds") > setting(probe, "periodSeconds"):
            wrong = "a try may take longer than the time until the next"
            right = f"at most periodSeconds, {setting(probe, 'periodSeconds')}"
            yield pod.fault(probe["timeoutSeconds"], wrong, right)


def ports(scope: Scope) -> Iterator[Finding]:
    """The port that is asked is one that the container opens."""
    for pod, container, _, probe in probes(scope):
        for handler in ("httpGet", "tcpSocket", "grpc"):
            if probe[handler].given:
                yield from reachable(pod, container, probe[handler]["port"])


def reachable(pod: Pod, container: Field, port: Field) -> Iterator[Finding]:
    """Faults of a port, by name or number, that a handler asks of its own container."""
    names = {one["name"].text for one in container["ports"]} - {""}
    numbers = {one["containerPort"].integer for one in container["ports"]}
    shown = ", ".join(sorted(names)) or "a port that the container declares"
    if isinstance(port.value, str):
        if not syntax.is_port_name(port.text):
            yield pod.fault(port, f"'{port.text}' is no port's name", syntax.PORT_NAME_RULE)
        elif port.text not in names:
            yield pod.fault(port, f"the container has no port '{port.text}'", shown)
    elif not syntax.is_port(port.integer):
        yield pod.fault(port, f"{port.value} is no port", "a number from 1 to 65535, or a name")
    elif numbers and port.integer not in numbers:
        yield pod.fault(port, f"the container declares no port {port.value}", shown)


RULES: tuple[Rule, ...] = (handlers, times, ports)
