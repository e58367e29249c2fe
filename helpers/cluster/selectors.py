"""Selectors that select: whatever points at something by label, name or port finds it."""

from collections.abc import Iterator

from helpers.cluster import match
from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding, meant
from helpers.cluster.objects import Pod, Resource
from helpers.cluster.rules.scope import Rule, Scope

MONITORED = {"ServiceMonitor": "endpoints", "PodMonitor": "podMetricsEndpoints"}
SCALERS = {"HorizontalPodAutoscaler": "", "ScaledObject": "Deployment"}


def _chosen(scope: Scope, one: Resource, selector: Field, *, plain: bool = False) -> list[Pod]:
    """The pods of the object's namespace that its selector selects."""
    matches = match.plain if plain else match.selected
    return [
        pod
        for pod in scope.objects.pods
        if pod.namespace == one.namespace and matches(selector, pod.labels)
    ]


def _dead(scope: Scope, one: Resource, selector: Field) -> Finding:
    """A selector that selects no pod, and why not the nearest one."""
    pods = [pod for pod in scope.objects.pods if not pod.owner.hooks]
    why = "; ".join(f"{pod.owner.id}: {match.nearest(selector, pod.labels)}" for pod in pods[:2])
    labels = next((pod.labels for pod in pods if pod.namespace == one.namespace), {})
    wrong = f"it selects no pod ({why})" if why else "it selects no pod"
    return one.fault(selector, wrong, f"labels of a pod in {one.namespace}, such as {labels}")


def services(scope: Scope) -> Iterator[Finding]:
    """A Service selects pods, and each of its ports is open on every one of them."""
    for one in scope.objects.of_kind("Service"):
        selector = one["spec"]["selector"]
        if one["spec"]["type"].text == "ExternalName" or _served_otherwise(scope, one):
            continue
        if not selector.entries:
            yield one.fault(selector, "without a selector it has no endpoints", "its pods' labels")
            continue
        pods = _chosen(scope, one, selector, plain=True)
        if not pods:
            yield _dead(scope, one, selector)
        for pod in pods:
            for port in one["spec"]["ports"]:
                yield from _target(one, pod, port)


def _served_otherwise(scope: Scope, one: Resource) -> bool:
    """Whether somebody lists the endpoints of a Service by hand."""
    slices = scope.objects.of_kind("EndpointSlice")
    return scope.objects.find("Endpoints", one.namespace, one.name) is not None or any(
        (each.labels.get(match.SERVICE_OF_SLICE), each.namespace) == (one.name, one.namespace)
        for each in slices
    )


def _target(one: Resource, pod: Pod, port: Field) -> Iterator[Finding]:
    target = port["targetPort"] if port["targetPort"].given else port["port"]
    protocol = port["protocol"].text or "TCP"
    names = {each["name"].text: each for each in pod.ports}
    numbers = {each["containerPort"].scalar: each for each in pod.ports}
    found = names.get(target.text) if isinstance(target.value, str) else numbers.get(target.scalar)
    if found is None and (isinstance(target.value, str) or numbers):
        right = ", ".join(sorted(name for name in names if name)) or "a port of the pod"
        yield one.fault(target, f"{pod.owner.id} opens no port '{target.value}'", right)
    elif found is not None and (found["protocol"].text or "TCP") != protocol:
        wrong = f"{pod.owner.id} opens it for {found['protocol'].text or 'TCP'}, not {protocol}"
        yield one.fault(port["protocol"], wrong, found["protocol"].text or "TCP")


def budgets(scope: Scope) -> Iterator[Finding]:
    """A disruption budget protects pods."""
    for one in scope.objects.of_kind("PodDisruptionBudget"):
        if not _chosen(scope, one, one["spec"]["selector"]):
            yield _dead(scope, one, one["spec"]["selector"])


def policies(scope: Scope) -> Iterator[Finding]:
    """A network policy is about pods, names their ports, and lets in what Services send."""
    for one in scope.objects.of_kind("NetworkPolicy"):
        pods = _chosen(scope, one, one["spec"]["podSelector"])
        if not pods:
            yield _dead(scope, one, one["spec"]["podSelector"])
            continue
        for rule in one["spec"]["ingress"]:
            for port in rule["ports"]:
                yield from _policy_port(one, pods, port)
        yield from _kept_out(scope, one, pods)
        yield from _peers(scope, one)


def _peers(scope: Scope, one: Resource) -> Iterator[Finding]:
    """A peer of the same namespace exists, and a namespace is one that somebody makes."""
    spaces = set(scope.contract.namespaces.model_dump().values())
    spaces |= {each.name for each in scope.objects.of_kind("Namespace")} | {one.namespace}
    key = "kubernetes.io/metadata.name"
    for direction, side in (("ingress", "from"), ("egress", "to")):
        for rule in one["spec"][direction]:
            for peer in rule[side]:
                name = peer["namespaceSelector"]["matchLabels"][key]
                if name.given and name.text not in spaces:
                    wrong = f"nothing makes the namespace '{name.value}'"
                    yield one.fault(name, wrong, meant(name.text, spaces))
                alone = peer["podSelector"].given and not peer["namespaceSelector"].given
                if alone and not _chosen(scope, one, peer["podSelector"]):
                    yield _dead(scope, one, peer["podSelector"])


def _opens(pods: list[Pod], port: Field) -> bool:
    """Whether some pod has the port of a network policy; a number may end a range."""
    first, last = port["port"].value, port["endPort"].integer
    for each in (each for pod in pods for each in pod.ports):
        number = each["containerPort"].integer
        if first in (None, number, each["name"].value):
            return True
        if isinstance(first, int) and last and number and first <= number <= last:
            return True
    return False


def _policy_port(one: Resource, pods: list[Pod], port: Field) -> Iterator[Finding]:
    if not _opens(pods, port):
        names = sorted({each["name"].text for pod in pods for each in pod.ports} - {""})
        wrong = f"none of its pods has a port '{port['port'].value}'"
        yield one.fault(port["port"], wrong, meant(str(port["port"].value), names))


def _kept_out(scope: Scope, one: Resource, pods: list[Pod]) -> Iterator[Finding]:
    """Ports of its pods that a Service sends to and that no rule lets in."""
    types = [field.text for field in one["spec"]["policyTypes"]] or ["Ingress"]
    if "Ingress" not in types:
        return
    rules = list(one["spec"]["ingress"])
    open_to_all = any(not list(rule["ports"]) for rule in rules)
    for service in scope.objects.of_kind("Service"):
        for pod in _chosen(scope, service, service["spec"]["selector"], plain=True):
            if open_to_all or pod not in pods:
                continue
            for port in service["spec"]["ports"]:
                if not any(_lets_in(p, pod, port) for rule in rules for p in rule["ports"]):
                    wrong = (
                        f"{service.id} sends to port {port['port'].value}, and no rule lets it in"
                    )
                    yield one.fault(one["spec"]["ingress"], wrong, "a rule with that port")


def _lets_in(allowed: Field, pod: Pod, port: Field) -> bool:
    target = port["targetPort"] if port["targetPort"].given else port["port"]
    if (allowed["protocol"].text or "TCP") != (port["protocol"].text or "TCP"):
        return False
    for each in pod.ports:
        if target.value in (each["name"].value, each["containerPort"].value):
            first, last = allowed["port"].value, allowed["endPort"].integer
            number = each["containerPort"].integer or 0
            ranged = isinstance(first, int) and last is not None and first <= number <= last
            return ranged or first in (None, number, each["name"].value)
    return False


def scalers(scope: Scope) -> Iterator[Finding]:
    """An autoscaler scales a workload that exists."""
    for one in scope.objects.of_kind(*SCALERS):
        target = one["spec"]["scaleTargetRef"]
        kind = target["kind"].text or SCALERS[one.kind]
        found = match.workload_of(scope.objects.pods, kind, one.namespace, target["name"].text)
        if found is None:
            there = [
                f"{p.owner.kind} {p.owner.name}" for p in scope.objects.pods if not p.owner.hooks
            ]
            wrong = f"there is no {kind} '{target['name'].value}' in {one.namespace}"
            yield one.fault(target["name"], wrong, meant(f"{kind} {target['name'].text}", there))
        elif target["apiVersion"].text not in ("", found.owner.api_version):
            field = target["apiVersion"]
            wrong = f"{found.owner.id} is of {found.owner.api_version}"
            yield one.fault(field, wrong, found.owner.api_version or "leave it out")


def metrics(scope: Scope) -> Iterator[Finding]:
    """A metric of pods that an autoscaler reads is one that somebody offers."""
    known = scope.around.pod_metrics
    for one in scope.objects.of_kind("HorizontalPodAutoscaler"):
        for metric in one["spec"]["metrics"]:
            name = metric["pods"]["metric"]["name"]
            if known is not None and name.given and name.text not in known:
                right = meant(name.text, known) if known else "a metric of prometheus-adapter"
                yield one.fault(name, f"nobody offers the metric '{name.value}'", right)


def monitors(scope: Scope) -> Iterator[Finding]:
    """A monitor selects a Service (or pods), and its ports are theirs."""
    for one in scope.objects.of_kind(*MONITORED):
        spec, names = (
            one["spec"],
            {each.text for each in one["spec"]["namespaceSelector"]["matchNames"]},
        )
        everywhere = spec["namespaceSelector"]["any"].value is True
        spaces = names or {one.namespace}
        if one.kind == "ServiceMonitor":
            found = [s for s in scope.objects.of_kind("Service")
                     if (everywhere or s.namespace in spaces)
                     and match.selected(spec["selector"], s.labels)]  # fmt: skip
            known = {p["name"].text for s in found for p in s["spec"]["ports"]}
        else:
            pods = [p for p in scope.objects.pods if (everywhere or p.namespace in spaces)
                    and match.selected(spec["selector"], p.labels)]  # fmt: skip
            found = [pod.owner for pod in pods]
            known = {port["name"].text for pod in pods for port in pod.ports}
        if not found:
            yield _unmonitored(scope, one, spaces)
        for each in spec[MONITORED[one.kind]] if found else ():
            yield from _endpoint(one, each, known - {""})


def _unmonitored(scope: Scope, one: Resource, spaces: set[str]) -> Finding:
    selector = one["spec"]["selector"]
    near = [s for s in scope.objects.of_kind("Service")]
    why = "; ".join(
        f"{s.id}: {match.nearest(selector, s.labels)}" for s in near[:2]
    ) or "there is no Service"  # fmt: skip
    field = selector
    if any(match.selected(selector, s.labels) for s in near):
        field = one["spec"]["namespaceSelector"]
    return one.fault(field, f"it selects nothing in {', '.join(sorted(spaces))} ({why})",
                     "labels of a Service, in its namespace")  # fmt: skip


def _endpoint(one: Resource, each: Field, known: set[str]) -> Iterator[Finding]:
    port, target = each["port"], each["targetPort"]
    if not port.given and not target.given:
        yield one.fault(port, "no port is named", f"one of {', '.join(sorted(known))}")
    elif port.given and port.text not in known:
        wrong = f"what it selects has no port '{port.value}'"
        yield one.fault(port, wrong, meant(port.text, known) if known else "a named port")


def backends(scope: Scope) -> Iterator[Finding]:
    """An Ingress leads to a port of a Service of its namespace."""
    for one in scope.objects.of_kind("Ingress"):
        found = [p["backend"] for rule in one["spec"]["rules"] for p in rule["http"]["paths"]]
        if one["spec"]["defaultBackend"].given:
            found.append(one["spec"]["defaultBackend"])
        for backend in found:
            yield from _backend(scope, one, backend)


def _backend(scope: Scope, one: Resource, backend: Field) -> Iterator[Finding]:
    given = [key for key in ("service", "resource") if backend[key].given]
    if len(given) != 1:
        yield one.fault(backend, f"{len(given)} backends are given", "one: a service")
        return
    if given == ["resource"] or f"{backend['service']['port']['name'].text}" == "use-annotation":
        return
    name, port = backend["service"]["name"], backend["service"]["port"]
    service = scope.objects.find("Service", one.namespace, name.text)
    if service is None:
        there = {s.name for s in scope.objects.of_kind("Service") if s.namespace == one.namespace}
        wrong = f"there is no Service '{name.value}' in {one.namespace}"
        yield one.fault(name, wrong, meant(name.text, there) if there else "a Service")
        return
    if port["name"].given == port["number"].given:
        yield one.fault(port, "a port is given by name or by number", "exactly one of both")
        return
    names = {p["name"].text for p in service["spec"]["ports"]}
    numbers = {p["port"].scalar for p in service["spec"]["ports"]}
    if port["name"].given and port["name"].text not in names:
        wrong = f"{service.id} has no port '{port['name'].value}'"
        yield one.fault(port["name"], wrong, meant(port["name"].text, names))
    if port["number"].given and port["number"].scalar not in numbers:
        right = f"one of {', '.join(sorted(map(str, numbers)))}"
        yield one.fault(port["number"], f"{service.id} has no port {port['number'].value}", right)


RULES: tuple[Rule, ...] = (services, budgets, policies, scalers, metrics, monitors, backends)
