"""Ingresses: paths, hosts, backends.

Source: `pkg/apis/networking/validation/validation.go`, ValidateIngress.
"""

import ipaddress
from collections.abc import Iterator

from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding, meant
from helpers.cluster.objects import Resource
from helpers.cluster.rules import syntax
from helpers.cluster.rules.scope import Rule, Scope

PATH_TYPES = ("Exact", "Prefix", "ImplementationSpecific")
FORBIDDEN = ("//", "/./", "/../", "%2f", "%2F")


def classes(scope: Scope) -> Iterator[Finding]:
    """Somebody answers for the Ingress."""
    known = {one.name for one in scope.objects.of_kind("IngressClass")}
    known |= scope.around.ingress_classes
    for one in scope.objects.of_kind("Ingress"):
        field = one["spec"]["ingressClassName"]
        old = one["metadata"]["annotations"]["kubernetes.io/ingress.class"]
        chosen = field if field.given or not old.given else old
        if chosen.text not in known:
            wrong = f"no controller answers for the class '{chosen.text}'"
            yield one.fault(chosen, wrong, meant(chosen.text, known))


def paths(scope: Scope) -> Iterator[Finding]:
    """There is a rule or a default; each path has a type, and stands once."""
    for one in scope.objects.of_kind("Ingress"):
        if not list(one["spec"]["rules"]) and not one["spec"]["defaultBackend"].given:
            yield one.fault(one["spec"]["rules"], "there is no rule", "a rule or defaultBackend")
        seen = set()
        for rule in one["spec"]["rules"]:
            yield from _host(one, rule["host"])
            if rule["http"].given and not list(rule["http"]["paths"]):
                yield one.fault(rule["http"]["paths"], "there is no path", "at least one")
            for path in rule["http"]["paths"]:
                yield from _path(one, path)
                key = (rule["host"].text, path["path"].text, path["pathType"].text)
                if key in seen:
                    yield one.fault(path["path"], f"'{key[1]}' stands twice", "one of them")
                seen.add(key)


def _host(one: Resource, host: Field) -> Iterator[Finding]:
    name = host.text.removeprefix("*.")
    try:
        is_address = bool(ipaddress.ip_address(name))
    except ValueError:
        is_address = False
    if host.text and (is_address or not syntax.is_subdomain(name)):
        yield one.fault(host, f"'{host.text}' is no host", "a DNS name without port")


def _path(one: Resource, path: Field) -> Iterator[Finding]:
    kind, text = path["pathType"], path["path"].text
    if kind.text not in PATH_TYPES:
        wrong = f"there is no path type '{kind.value}'"
        yield one.fault(kind, wrong, meant(kind.text, PATH_TYPES))
    elif kind.text != "ImplementationSpecific":
        if not text.startswith("/"):
            yield one.fault(path["path"], f"'{text}' is no path", "a path from '/'")
        if any(part in text for part in FORBIDDEN) or "*" in text:
            wrong = f"'{text}' holds what a {kind.text} path may not, or takes literally"
            yield one.fault(path["path"], wrong, "a plain path")


def tls(scope: Scope) -> Iterator[Finding]:
    """Certificates belong to hosts of the Ingress."""
    for one in scope.objects.of_kind("Ingress"):
        hosts = {rule["host"].text for rule in one["spec"]["rules"]}
        for entry in one["spec"]["tls"]:
            for host in entry["hosts"]:
                if host.text not in hosts and "" not in hosts:
                    wrong = f"no rule is about '{host.value}'"
                    yield one.fault(host, wrong, meant(host.text, hosts))


RULES: tuple[Rule, ...] = (classes, paths, tls)
