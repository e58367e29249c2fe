"""Annotations of the AWS load balancer controller: spelling, values, and what needs what.

Source: docs/guide/ingress/annotations.md and pkg/annotations/constants.go of the controller 3.x;
ranges from the ELBv2 API (CreateTargetGroup, ModifyLoadBalancerAttributes).
"""

import json
import re
from collections.abc import Callable, Iterator

from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding, meant
from helpers.cluster.objects import Resource
from helpers.cluster.rules import syntax
from helpers.cluster.rules.scope import Rule, Scope

PREFIX = "alb.ingress.kubernetes.io/"
KNOWN = frozenset({
    "acm-pca-arn", "actions", "auth-idp-cognito", "auth-idp-oidc",
    "auth-on-unauthenticated-request", "auth-scope", "auth-session-cookie", "auth-session-timeout",
    "auth-type", "backend-protocol", "backend-protocol-version", "certificate-arn",
    "create-acm-cert", "customer-owned-ipv4-pool", "dry-run-plan", "enable-frontend-nlb",
    "group.name", "group.order", "healthcheck-interval-seconds", "healthcheck-path",
    "healthcheck-port", "healthcheck-protocol", "healthcheck-timeout-seconds",
    "healthy-threshold-count", "inbound-cidrs", "ip-address-type", "ipam-ipv4-pool-id",
    "jwt-validation", "listen-ports", "load-balancer-attributes", "load-balancer-name",
    "manage-backend-security-group-rules", "minimum-load-balancer-capacity",
    "multi-cluster-target-group", "mutual-authentication", "scheme", "security-group-prefix-lists",
    "security-groups", "shield-advanced-protection", "ssl-policy", "ssl-redirect", "subnets",
    "success-codes", "tags", "target-control-port", "target-group-attributes",
    "target-node-labels", "target-type", "unhealthy-threshold-count", "use-regex-path-match",
    "waf-acl-id", "wafv2-acl-arn", "wafv2-acl-name", "web-acl-id",
})  # fmt: skip
OPEN = ("actions.", "conditions.", "transforms.", "listener-attributes.", "frontend-nlb-")
CHOICES = {
    "scheme": ("internal", "internet-facing"),
    "target-type": ("instance", "ip"),
    "ip-address-type": ("ipv4", "dualstack", "dualstack-without-public-ipv4"),
    "backend-protocol": ("HTTP", "HTTPS"),
    "backend-protocol-version": ("HTTP1", "HTTP2", "GRPC"),
    "healthcheck-protocol": ("HTTP", "HTTPS"),
}
RANGES = {
    "healthcheck-interval-seconds": (5, 300), "healthcheck-timeout-seconds": (2, 120),
    "healthy-threshold-count": (2, 10), "unhealthy-threshold-count": (2, 10),
    "group.order": (-1000, 1000), "ssl-redirect": (1, 65_535),
}  # fmt: skip
# attribute → its value, as a pattern
BALANCER = {
    "idle_timeout.timeout_seconds": r"[1-9]\d{0,2}|[123]\d{3}|4000",
    "client_keep_alive.seconds": r"[6-9]\d|\d{3,6}",
    "deletion_protection.enabled": "true|false", "access_logs.s3.enabled": "true|false",
    "access_logs.s3.bucket": ".+", "access_logs.s3.prefix": ".*",
    "connection_logs.s3.enabled": "true|false", "connection_logs.s3.bucket": ".+",
    "connection_logs.s3.prefix": ".*", "load_balancing.cross_zone.enabled": "true",
    "routing.http.desync_mitigation_mode": "monitor|defensive|strictest",
    "routing.http.drop_invalid_header_fields.enabled": "true|false",
    "routing.http.preserve_host_header.enabled": "true|false",
    "routing.http.x_amzn_tls_version_and_cipher_suite.enabled": "true|false",
    "routing.http.xff_client_port.enabled": "true|false",
    "routing.http.xff_header_processing.mode": "append|preserve|remove",
    "routing.http2.enabled": "true|false", "waf.fail_open.enabled": "true|false",
    "zonal_shift.config.enabled": "true|false",
}  # fmt: skip
TARGET_GROUP = {
    "deregistration_delay.timeout_seconds": r"\d{1,3}|[12]\d{3}|3[0-5]\d\d|3600",
    "slow_start.duration_seconds": r"0|[3-9]\d|[1-8]\d\d|900",
    "stickiness.enabled": "true|false", "stickiness.type": "lb_cookie|app_cookie",
    "stickiness.lb_cookie.duration_seconds": r"[1-9]\d*",
    "stickiness.app_cookie.cookie_name": ".+",
    "stickiness.app_cookie.duration_seconds": r"[1-9]\d*",
    "load_balancing.algorithm.type":
        "round_robin|least_outstanding_requests|weighted_random",
    "load_balancing.algorithm.anomaly_mitigation": "on|off",
    "load_balancing.cross_zone.enabled": "true|false|use_load_balancer_configuration",
    "target_group_health.dns_failover.minimum_healthy_targets.count": r"off|\d+",
    "target_group_health.dns_failover.minimum_healthy_targets.percentage": r"off|\d+",
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count": r"\d+",
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage": r"off|\d+",
}  # fmt: skip
_CERTIFICATE = re.compile(
    r"arn:aws(-cn|-us-gov)?:(acm:[a-z0-9-]+:\d{12}:certificate/[0-9a-f-]{36}|"
    r"iam::\d{12}:server-certificate/.+)"
)
_GROUP = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
_CODES = re.compile(r"\d{1,3}(-\d{1,3})?(,\d{1,3}(-\d{1,3})?)*")
Annotated = Callable[[Resource, Field], Iterator[Finding]]


def settings(scope: Scope) -> Iterator[tuple[Resource, dict[str, Field]]]:
    """Every Ingress with the controller's annotations, by their short names."""
    for one in scope.objects.of_kind("Ingress"):
        found = {
            key.removeprefix(PREFIX): field
            for key, field in one.annotations.items()
            if key.startswith(PREFIX)
        }
        yield one, found


def spelling(scope: Scope) -> Iterator[Finding]:
    """The controller ignores an annotation that it does not know, without a word."""
    for one in scope.objects.of_kind("Ingress", "Service"):
        for key, field in one.annotations.items():
            prefix, _, name = key.rpartition("/")
            near = prefix != PREFIX[:-1] and meant(prefix, [PREFIX[:-1]]) == PREFIX[:-1]
            if near and one.kind == "Ingress" and prefix.startswith("alb"):
                yield one.fault(field, f"'{prefix}' is nobody's prefix", PREFIX[:-1])
            if prefix == PREFIX[:-1] and name not in KNOWN and not name.startswith(OPEN):
                right = PREFIX + meant(name, KNOWN) if len(meant(name, KNOWN)) < 60 else "another"
                yield one.fault(field, f"the controller knows no '{name}'", right)


def values(scope: Scope) -> Iterator[Finding]:
    """Each value has the form that its annotation needs."""
    for one, found in settings(scope):
        for name, field in found.items():
            if name in CHOICES and field.text not in CHOICES[name]:
                yield one.fault(field, f"'{field.value}'", meant(field.text, CHOICES[name]))
            if name in RANGES:
                yield from _range(one, field, *RANGES[name])
            if name in FORMS:
                yield from FORMS[name](one, field)


def _range(one: Resource, field: Field, least: int, most: int) -> Iterator[Finding]:
    is_number = re.fullmatch(r"-?\d+", field.text)
    if not is_number or not least <= int(field.text) <= most:
        right = f'a whole number in quotes, "{least}" to "{most}"'
        yield one.fault(field, f"'{field.value}' is out of range", right)


def listeners(field: Field) -> list[tuple[str, int]] | None:
    """Protocol and port of each listener; None where the annotation cannot be read."""
    try:
        entries = json.loads(field.text)
        pairs = [(name, port) for entry in entries for name, port in entry.items()]
    except (ValueError, AttributeError, TypeError):
        return None
    right = all(n in ("HTTP", "HTTPS") and type(p) is int and syntax.is_port(p) for n, p in pairs)
    return pairs if right and pairs else None


def _listen_ports(one: Resource, field: Field) -> Iterator[Finding]:
    if listeners(field) is None:
        right = """such as '[{"HTTP": 80}, {"HTTPS": 443}]'"""
        yield one.fault(field, f"'{field.value}' is no list of listeners", right)


def _certificates(one: Resource, field: Field) -> Iterator[Finding]:
    for arn in field.text.split(","):
        if not _CERTIFICATE.fullmatch(arn.strip()):
            right = "arn:aws:acm:<region>:<12 digits>:certificate/<id>"
            yield one.fault(field, f"'{arn.strip()}' is no certificate", right)


def _cidrs(one: Resource, field: Field) -> Iterator[Finding]:
    for part in field.text.split(","):
        if not syntax.is_cidr(part.strip()):
            yield one.fault(field, f"'{part.strip()}' is no range", "such as 203.0.113.7/32")
        elif part.strip() in ("0.0.0.0/0", "::/0"):
            yield one.fault(field, "everybody may call", "the caller's own address, /32")


def _attributes(known: dict[str, str]) -> Annotated:
    def check(one: Resource, field: Field) -> Iterator[Finding]:
        for part in field.text.split(","):
            key, equals, value = part.strip().partition("=")
            if not equals or key not in known:
                yield one.fault(field, f"there is no attribute '{key}'", meant(key, known))
            elif not re.fullmatch(known[key], value):
                yield one.fault(field, f"'{value}' is no value of {key}", known[key])

    return check


def _tags(one: Resource, field: Field) -> Iterator[Finding]:
    pairs = [part.partition("=") for part in field.text.split(",")]
    if any(not key.strip() or not equals for key, equals, _ in pairs):
        yield one.fault(field, f"'{field.value}' are no tags", "key=value,key=value")
    for key in sorted({"project", "owner", "run"} - {key.strip() for key, _, _ in pairs}):
        wrong = f"the load balancer does not carry the tag '{key}'; teardown looks for it"
        yield one.fault(field, wrong, "project, owner and run")


def _pattern(pattern: re.Pattern[str], right: str) -> Annotated:
    def check(one: Resource, field: Field) -> Iterator[Finding]:
        if not pattern.fullmatch(field.text):
            yield one.fault(field, f"'{field.value}' has the wrong form", right)

    return check


FORMS: dict[str, Annotated] = {
    "listen-ports": _listen_ports,
    "certificate-arn": _certificates,
    "inbound-cidrs": _cidrs,
    "load-balancer-attributes": _attributes(BALANCER),
    "target-group-attributes": _attributes(TARGET_GROUP),
    "tags": _tags,
    "success-codes": _pattern(_CODES, 'codes such as "200", "200-299" or "0"'),
    "group.name": _pattern(_GROUP, "at most 63 characters a-z, 0-9, '-' and '.'"),
    "healthcheck-path": _pattern(re.compile(r"/\S*"), "a path from '/'"),
    "ssl-policy": _pattern(re.compile(r"ELBSecurityPolicy-[\w-]+"), "ELBSecurityPolicy-…"),
    "load-balancer-name": _pattern(
        re.compile(r"(?!internal-)[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?"),
        "at most 32 letters, digits and '-', not beginning with internal-",
    ),
    "healthcheck-port": _pattern(
        re.compile(r"traffic-port|\d{1,5}|[a-z0-9-]{1,15}"), "traffic-port, a number or a name"
    ),
}
RULES: tuple[Rule, ...] = (spelling, values)
