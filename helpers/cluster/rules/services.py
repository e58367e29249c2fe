"""Services: type, ports, names.

Source: `pkg/apis/core/validation/validation.go`, ValidateService.
"""

from collections.abc import Iterator

from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding, meant
from helpers.cluster.objects import Resource
from helpers.cluster.rules import syntax
from helpers.cluster.rules.containers import PROTOCOLS, repeated
from helpers.cluster.rules.scope import Rule, Scope

TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
CHOICES = {
    "type": TYPES,
    "sessionAffinity": ("None", "ClientIP"),
    "internalTrafficPolicy": ("Cluster", "Local"),
    "externalTrafficPolicy": ("Cluster", "Local"),
    "ipFamilyPolicy": ("SingleStack", "PreferDualStack", "RequireDualStack"),
}
NODE_PORTS = range(30_000, 32_768)


def kinds(scope: Scope) -> Iterator[Finding]:
    """A type and policies that exist, and that go together."""
    for one in scope.objects.of_kind("Service"):
        for key, known in CHOICES.items():
            field = one["spec"][key]
            if field.given and field.text not in known:
                right = meant(field.text, known)
                yield one.fault(field, f"there is no {key} '{field.value}'", right)
        kind = one["spec"]["type"].text or "ClusterIP"
        policy = one["spec"]["externalTrafficPolicy"]
        if policy.given and kind not in ("NodePort", "LoadBalancer"):
            yield one.fault(policy, f"a {kind} has no traffic from outside", "leave it out")
        address = one["spec"]["clusterIP"]
        if address.text == "None" and kind != "ClusterIP":
            yield one.fault(address, f"a {kind} cannot be headless", "type: ClusterIP")
        if kind == "ExternalName" and not syntax.is_subdomain(one["spec"]["externalName"].text):
            yield one.fault(one["spec"]["externalName"], "there is no name", "a DNS name")
        for each in one["spec"]["loadBalancerSourceRanges"]:
            if not syntax.is_cidr(each.text):
                yield one.fault(each, f"'{each.value}' is no range", "such as 203.0.113.7/32")


def ports(scope: Scope) -> Iterator[Finding]:
    """Ports have legal numbers and names, each once."""
    for one in scope.objects.of_kind("Service"):
        found = list(one["spec"]["ports"])
        external = one["spec"]["type"].text == "ExternalName"
        if not found and not external and one["spec"]["clusterIP"].text != "None":
            yield one.fault(one["spec"]["ports"], "there is no port", "at least one")
        seen = set()
        for port in found:
            yield from _port(one, port, named=len(found) > 1)
            key = (port["port"].scalar, port["protocol"].text or "TCP")
            if key in seen:
                yield one.fault(port["port"], f"{key[0]}/{key[1]} stands twice", "other ports")
            seen.add(key)
        for field in repeated(found):
            yield one.fault(field, f"two ports are called '{field.value}'", "other names")


def _port(one: Resource, port: Field, *, named: bool) -> Iterator[Finding]:
    name, target = port["name"], port["targetPort"]
    if named and not name.text:
        yield one.fault(name, "one of several ports has no name", "a name")
    elif name.given and not syntax.is_label_1123(name.text):
        yield one.fault(name, f"'{name.value}' is no port's name", syntax.LABEL_RULE)
    if not syntax.is_port(port["port"].integer):
        yield one.fault(port["port"], f"{port['port'].value} is no port", "1 to 65535")
    if isinstance(target.value, str):
        if not syntax.is_port_name(target.text):
            yield one.fault(target, f"'{target.text}' is no port's name", syntax.PORT_NAME_RULE)
    elif target.given and not syntax.is_port(target.integer):
        yield one.fault(target, f"{target.value} is no port", "1 to 65535, or a name")
    protocol = port["protocol"]
    if protocol.given and protocol.text not in PROTOCOLS:
        right = meant(protocol.text, PROTOCOLS)
        yield one.fault(protocol, f"there is no protocol '{protocol.value}'", right)
    application = port["appProtocol"]
    if application.given and not syntax.is_qualified(application.text):
        right = "a name such as http, or kubernetes.io/h2c"
        yield one.fault(application, f"'{application.value}' is no protocol's name", right)
    node = port["nodePort"]
    if node.given and one["spec"]["type"].text not in ("NodePort", "LoadBalancer"):
        yield one.fault(node, "only NodePort and LoadBalancer have one", "leave it out")
    elif node.given and node.integer not in NODE_PORTS:
        yield one.fault(node, f"{node.value} is no node port", "30000 to 32767")


RULES: tuple[Rule, ...] = (kinds, ports)
