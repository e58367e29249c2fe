"""What a rule looks at: the objects, the contract, and what stands in the cluster already."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from helpers.cluster.contract import Contract
from helpers.cluster.findings import Finding
from helpers.cluster.objects import Objects


@dataclass(frozen=True)
class Around:
    """What a cluster has before these objects come; the rest they must bring themselves.

    Attributes:
        priority_classes: Of Kubernetes itself.
        ingress_classes: Of the load balancer controller.
        runtime_classes: None on EKS's image for NVIDIA: its runtime is the default.
        secrets: `namespace/name` of secrets that somebody else makes.
        config_maps: `namespace/name`, likewise.
        service_accounts: `namespace/name`, likewise; every namespace has `default`.
        pod_metrics: Names of custom metrics of pods; None where that is not known.
        crd_groups: API group → release whose CRDs it holds.
    """

    priority_classes: frozenset[str] = frozenset(
        {"system-cluster-critical", "system-node-critical"}
    )
    ingress_classes: frozenset[str] = frozenset({"alb"})
    runtime_classes: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()
    config_maps: frozenset[str] = frozenset()
    service_accounts: frozenset[str] = frozenset()
    pod_metrics: frozenset[str] | None = None
    crd_groups: dict[str, str] = field(
        default_factory=lambda: {
            "monitoring.coreos.com": "kube-prometheus-stack",
            "elbv2.k8s.aws": "aws-load-balancer-controller",
            "keda.sh": "keda",
        }
    )


@dataclass(frozen=True)
class Scope:
    """The objects of one rendering with all that bears on them."""

    objects: Objects
    contract: Contract
    around: Around = field(default_factory=Around)


Rule = Callable[[Scope], Iterator[Finding]]
