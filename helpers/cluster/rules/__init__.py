"""Rules over rendered objects, by subject. A rule says what holds of every good rendering.

`API` is what an API server would refuse, or a cluster would leave dead. `HOUSE` is what this
project asks of its own objects on top: pinned images, restricted pods, Triton run as it should.
"""

from collections.abc import Iterator

from helpers.cluster import selectors
from helpers.cluster.findings import Finding
from helpers.cluster.rules import (
    access,
    alb,
    alb_sense,
    autoscaling,
    containers,
    custom,
    images,
    ingress,
    lifecycle,
    load,
    metadata,
    monitoring,
    policies,
    probes,
    references,
    resources,
    scheduling,
    security,
    services,
    triton,
    unused,
    workloads,
)
from helpers.cluster.rules.scope import Rule, Scope

API: tuple[Rule, ...] = (
    *metadata.RULES,
    *custom.RULES,
    *containers.RULES,
    *resources.RULES,
    *probes.RULES,
    *lifecycle.RULES,
    *scheduling.RULES,
    *workloads.RULES,
    *autoscaling.RULES,
    *services.RULES,
    *ingress.RULES,
    *alb.RULES,
    *policies.RULES,
    *monitoring.RULES,
    *access.RULES,
)
HOUSE: tuple[Rule, ...] = (
    *images.RULES,
    *security.RULES,
    *alb_sense.RULES,
    *policies.HOUSE,
    *unused.RULES,
    *triton.RULES,
    *load.RULES,
)
SELECTION: tuple[Rule, ...] = (*selectors.RULES, *references.RULES)


def judge(scope: Scope, rules: tuple[Rule, ...]) -> tuple[Finding, ...]:
    """All that some rules find, each finding once, in their order."""
    return tuple(dict.fromkeys(found for rule in rules for found in _of(rule, scope)))


def _of(rule: Rule, scope: Scope) -> Iterator[Finding]:
    yield from rule(scope)
