"""Network policies: selectors, peers and ports that the API takes.

Source: `pkg/apis/networking/validation/validation.go`, ValidateNetworkPolicySpec.
"""

import ipaddress
from collections.abc import Iterator

from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding, meant
from helpers.cluster.objects import Resource
from helpers.cluster.rules import syntax
from helpers.cluster.rules.containers import PROTOCOLS
from helpers.cluster.rules.scope import Rule, Scope


def types(scope: Scope) -> Iterator[Finding]:
    """Policy types exist, and what is written for a direction is not ignored."""
    for one in scope.objects.of_kind("NetworkPolicy"):
        given = [field.text for field in one["spec"]["policyTypes"]]
        if len(given) > 2:
            wrong = f"there are {len(given)} directions"
            yield one.fault(one["spec"]["policyTypes"], wrong, "Ingress, Egress or both")
        for field in one["spec"]["policyTypes"]:
            if field.text not in ("Ingress", "Egress"):
                right = meant(field.text, ("Ingress", "Egress"))
                yield one.fault(field, f"there is no direction '{field.value}'", right)
        for key, name in (("ingress", "Ingress"), ("egress", "Egress")):
            if given and one["spec"][key].given and name not in given:
                wrong = f"these rules do nothing: policyTypes lacks {name}"
                yield one.fault(one["spec"][key], wrong, f"policyTypes with {name}")


def rules(scope: Scope) -> Iterator[Finding]:
    """Peers and ports that the API takes."""
    for one in scope.objects.of_kind("NetworkPolicy"):
        for direction, side in (("ingress", "from"), ("egress", "to")):
            for rule in one["spec"][direction]:
                for peer in rule[side]:
                    yield from _peer(one, peer)
                for port in rule["ports"]:
                    yield from _port(one, port)


def _peer(one: Resource, peer: Field) -> Iterator[Finding]:
    block = peer["ipBlock"]
    if not peer.entries:
        yield one.fault(peer, "the peer is empty", "podSelector, namespaceSelector or ipBlock")
    if block.given and len(peer.entries) > 1:
        yield one.fault(peer, "ipBlock comes with selectors", "a peer of its own")
    if block.given and not syntax.is_cidr(block["cidr"].text):
        yield one.fault(block["cidr"], f"'{block['cidr'].value}' is no range", "as 10.0.0.0/16")
        return
    for each in block["except"]:
        if not syntax.is_cidr(each.text) or not _inside(each.text, block["cidr"].text):
            yield one.fault(each, f"'{each.value}' is no part of the block", "a range inside it")


def _inside(inner: str, outer: str) -> bool:
    small, large = ipaddress.ip_network(inner), ipaddress.ip_network(outer)
    if isinstance(small, ipaddress.IPv4Network) and isinstance(large, ipaddress.IPv4Network):
        return small.subnet_of(large) and small != large
    if isinstance(small, ipaddress.IPv6Network) and isinstance(large, ipaddress.IPv6Network):
        return small.subnet_of(large) and small != large
    return False


def _port(one: Resource, port: Field) -> Iterator[Finding]:
    number, end = port["port"], port["endPort"]
    if isinstance(number.value, str):
        if not syntax.is_port_name(number.text):
            yield one.fault(number, f"'{number.text}' is no port's name", syntax.PORT_NAME_RULE)
    elif number.given and not syntax.is_port(number.integer):
        yield one.fault(number, f"{number.value} is no port", "1 to 65535, or a name")
    if end.given and (number.integer is None or (end.integer or 0) < number.integer):
        yield one.fault(end, f"{end.value} does not end a range", "at least port, a number")
    protocol = port["protocol"]
    if protocol.given and protocol.text not in PROTOCOLS:
        right = meant(protocol.text, PROTOCOLS)
        yield one.fault(protocol, f"there is no protocol '{protocol.value}'", right)


def openings(scope: Scope) -> Iterator[Finding]:
    """What is let in is named: whence, and to which port."""
    for one in scope.objects.of_kind("NetworkPolicy"):
        for rule in one["spec"]["ingress"]:
            if not list(rule["from"]):
                yield one.fault(rule["from"], "everybody is let in", "peers")
            for peer in rule["from"]:
                space = peer["namespaceSelector"]
                if (
                    space.given
                    and not space["matchLabels"].entries
                    and not list(space["matchExpressions"])
                ):
                    yield one.fault(space, "every namespace is let in", "a namespace's label")
            for port in rule["ports"]:
                if not port["port"].given:
                    yield one.fault(port["port"], "every port is open", "a port's name or number")


RULES: tuple[Rule, ...] = (types, rules)
HOUSE: tuple[Rule, ...] = (openings,)
