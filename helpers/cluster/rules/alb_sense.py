"""What annotations of the load balancer controller need of each other and of the backend."""

from collections.abc import Iterator

from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding
from helpers.cluster.objects import Resource
from helpers.cluster.rules.alb import PREFIX, listeners, settings
from helpers.cluster.rules.scope import Rule, Scope

# of the load balancer itself: every Ingress of a group must say the same
SHARED = ("scheme", "load-balancer-name", "ip-address-type", "ssl-policy", "inbound-cidrs",
          "load-balancer-attributes", "ssl-redirect", "certificate-arn", "tags")  # fmt: skip
HTTP_HEALTH = ("/v2/health/ready",)
GRPC_HEALTH = ("/grpc.health.v1.Health/Check", "/inference.GRPCInferenceService/ServerReady")
NONE = Field(None)


def secure(scope: Scope) -> Iterator[Finding]:
    """HTTPS has a certificate, a redirect has a listener, gRPC has HTTPS."""
    for one, found in settings(scope):
        ports = listeners(found.get("listen-ports", NONE)) or []
        https = {port for name, port in ports if name == "HTTPS"}
        if https and "certificate-arn" not in found and not list(one["spec"]["tls"]):
            field = one["metadata"]["annotations"]["alb.ingress.kubernetes.io/certificate-arn"]
            yield one.fault(field, "an HTTPS listener has no certificate", "its ARN in ACM")
        redirect = found.get("ssl-redirect", NONE)
        if redirect.given and redirect.text not in {str(port) for port in https}:
            wrong = f"the redirect leads to port {redirect.text}, where no HTTPS listener is"
            yield one.fault(redirect, wrong, "a port of an HTTPS listener")
        version = found.get("backend-protocol-version", NONE)
        if version.text == "GRPC" and not https:
            yield one.fault(version, "an ALB speaks gRPC over HTTPS alone", "an HTTPS listener")


def health(scope: Scope) -> Iterator[Finding]:
    """The check asks the path and expects the codes of its protocol, in the time it has."""
    for one, found in settings(scope):
        grpc = found.get("backend-protocol-version", NONE).text == "GRPC"
        codes, path = found.get("success-codes", NONE), found.get("healthcheck-path", NONE)
        least, most = (0, 99) if grpc else (200, 499)
        numbers = [int(n) for n in codes.text.replace("-", ",").split(",") if n.strip().isdigit()]
        if any(not least <= number <= most for number in numbers):
            wrong = f"'{codes.text}' are no codes of {'gRPC' if grpc else 'HTTP'}"
            yield one.fault(codes, wrong, f"from {least} to {most}")
        known = GRPC_HEALTH if grpc else HTTP_HEALTH
        if path.text not in known:
            field = path if path.given else one["metadata"]["annotations"][
                "alb.ingress.kubernetes.io/healthcheck-path"]  # fmt: skip
            wrong = f"Triton's readiness is not at '{path.text}'"
            yield one.fault(field, wrong, " or ".join(known))
        every, within = (found.get(f"healthcheck-{key}-seconds", NONE) for key in
                         ("interval", "timeout"))  # fmt: skip
        if every.text.isdigit() and within.text.isdigit() and int(within.text) >= int(every.text):
            wrong = f"a check may take {within.text} s, the next comes after {every.text} s"
            yield one.fault(within, wrong, f"less than {every.text}")


def groups(scope: Scope) -> Iterator[Finding]:
    """Ingresses of one group agree on the load balancer, and have an order each."""
    first: dict[str, tuple[Resource, dict[str, Field]]] = {}
    orders: set[tuple[str, str]] = set()
    for one, found in settings(scope):
        name = found.get("group.name", NONE).text
        order = found.get("group.order", NONE)
        if not name:
            continue
        if order.given and (name, order.text) in orders:
            yield one.fault(order, f"another of group {name} has order {order.text} too", "another")
        orders.add((name, order.text))
        leader, theirs = first.setdefault(name, (one, found))
        for key in SHARED:
            mine, other = found.get(key, NONE), theirs.get(key, NONE)
            if mine.value != other.value:
                place = mine if mine.given else one["metadata"]["annotations"][PREFIX + key]
                wrong = f"'{mine.value}', but {leader.id} of the same group has '{other.value}'"
                yield one.fault(place, wrong, f"the same on every Ingress of the group {name}")


def openness(scope: Scope) -> Iterator[Finding]:
    """Who may call is said, and the load balancer carries the run's tags."""
    for one, found in settings(scope):
        annotations = one["metadata"]["annotations"]
        if "inbound-cidrs" not in found and "security-groups" not in found:
            wrong = "nothing says who may call, so everybody may"
            yield one.fault(annotations[f"{PREFIX}inbound-cidrs"], wrong, "the caller's address")
        if "tags" not in found:
            wrong = "the load balancer carries no tags; teardown looks for them"
            yield one.fault(annotations[f"{PREFIX}tags"], wrong, "project, owner and run")
        grpc = found.get("backend-protocol-version", NONE).text == "GRPC"
        if grpc and "success-codes" not in found:
            wrong = "the controller's default for gRPC is 12, unimplemented"
            yield one.fault(annotations[f"{PREFIX}success-codes"], wrong, '"0"')


def together(scope: Scope) -> Iterator[Finding]:
    """All of a release's Ingresses share one load balancer: each costs by the hour."""
    found = list(settings(scope))
    names = {s.get("group.name", NONE).text for _, s in found}
    if len(found) > 1 and len(names) > 1:
        one, last = found[-1]
        field = last.get("group.name", NONE)
        yield one.fault(field if field.given else one["metadata"]["annotations"],
                        f"the Ingresses are in {len(names)} groups, a load balancer each",
                        "one group.name for all")  # fmt: skip


def targets(scope: Scope) -> Iterator[Finding]:
    """Pods are reached by their own addresses, and the protocol is their port's."""
    for one, found in settings(scope):
        kind = found.get("target-type", NONE)
        names = {p["backend"]["service"]["name"].text for rule in one["spec"]["rules"]
                 for p in rule["http"]["paths"]}  # fmt: skip
        services = [scope.objects.find("Service", one.namespace, name) for name in names]
        if kind.text != "ip" and any(
            s and s["spec"]["type"].text in ("", "ClusterIP") for s in services
        ):
            field = kind if kind.given else one["metadata"]["annotations"][
                "alb.ingress.kubernetes.io/target-type"]  # fmt: skip
            yield one.fault(field, "a ClusterIP Service cannot be reached through nodes", "ip")
        grpc = found.get("backend-protocol-version", NONE).text == "GRPC"
        for rule in one["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                yield from _protocol(scope, one, path["backend"]["service"], grpc)


def _protocol(scope: Scope, one: Resource, backend: Field, grpc: bool) -> Iterator[Finding]:
    service = scope.objects.find("Service", one.namespace, backend["name"].text)
    ports = scope.contract.ports
    right = ports.grpc if grpc else ports.http
    for port in service["spec"]["ports"] if service else ():
        number, name = backend["port"]["number"].value, backend["port"]["name"].text
        if (name and name == port["name"].text) or (number and number == port["port"].value):
            target = port["targetPort"].scalar
            by_name = {"http": ports.http, "grpc": ports.grpc, "metrics": ports.metrics}
            reached = by_name.get(target) if isinstance(target, str) else target
            if isinstance(reached, int) and reached != right:
                spoken = "gRPC" if grpc else "HTTP"
                wrong = f"{spoken} is sent to port {reached}"
                yield one.fault(backend["port"], wrong, f"the Service's port of {right}")


RULES: tuple[Rule, ...] = (secure, health, groups, openness, together, targets)
