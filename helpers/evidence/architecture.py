"""What the architecture consists of, read from Terraform's plan and the rendered charts."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from helpers.cluster import contract

PUBLIC = "kubernetes.io/role/elb"  # where the controller puts internet-facing load balancers
WORKLOADS = ("Deployment", "DaemonSet", "StatefulSet")
# type in the plan → what a reader calls it, and what it is there for
BESIDE = {
    "aws_ecr_repository": ("ECR", "images"),
    "aws_s3_bucket": ("S3", "models, results"),
    "aws_acm_certificate": ("ACM", "certificate"),
    "aws_budgets_budget": ("Budgets", "notices"),
    "aws_cloudwatch_metric_alarm": ("CloudWatch", "billing alarm"),
    "aws_sns_topic": ("SNS", "notices"),
    "aws_scheduler_schedule": ("Scheduler", "dead man's switch"),
    "aws_iam_openid_connect_provider": ("IAM OIDC", "roles for pods"),
}


@dataclass(frozen=True)
class Nodes:
    """One group of nodes.

    Attributes:
        title: What people call it.
        about: Instance types, price cap, sizes.
        gpu: Whether its nodes have GPUs.
        workloads: Names of what is placed on it.
    """

    title: str
    about: str
    gpu: bool
    workloads: tuple[str, ...] = ()


@dataclass(frozen=True)
class Architecture:
    """What stands where. Whatever the plan and the charts do not hold is not in it.

    Attributes:
        network: Size of the VPC's address range, such as `/16`; empty without one.
        zones: Availability zones that have subnets.
        public: Number of public subnets.
        private: Number of private subnets.
        gateways: Number of NAT gateways.
        cluster: Kubernetes version of the control plane; empty without one.
        nodes: The groups of nodes.
        balancer: Schemes of the load balancer's listeners; empty without an Ingress.
        beside: Services outside the VPC, and what each is there for.
    """

    network: str = ""
    zones: tuple[str, ...] = ()
    public: int = 0
    private: int = 0
    gateways: int = 0
    cluster: str = ""
    nodes: tuple[Nodes, ...] = ()
    balancer: tuple[str, ...] = ()
    beside: dict[str, str] = field(default_factory=dict)


def read(plan: Mapping[str, Any], objects: Iterable[Mapping[str, Any]]) -> Architecture:
    """The architecture that a plan creates and charts fill.

    Args:
        plan: What `terraform show -json` says of the plan.
        objects: The rendered Kubernetes objects; those of the charts that were rendered.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for one in resources(plan):
        found.setdefault(one["type"], []).append(one.get("values") or {})
    rendered = list(objects)
    subnets = found.get("aws_subnet", [])
    public = [one for one in subnets if PUBLIC in (one.get("tags") or {})]
    return Architecture(
        network=next((_size(one["cidr_block"]) for one in found.get("aws_vpc", [])), ""),
        zones=tuple(sorted({str(one.get("availability_zone")) for one in subnets})),
        public=len(public),
        private=len(subnets) - len(public),
        gateways=len(found.get("aws_nat_gateway", [])),
        cluster=next((str(one.get("version")) for one in found.get("aws_eks_cluster", [])), ""),
        nodes=tuple(_nodes(found, rendered)),
        balancer=tuple(dict.fromkeys(_listeners(rendered))),
        beside={title: what for kind, (title, what) in BESIDE.items() if kind in found},
    )


def resources(plan: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every resource that will exist once the plan is applied, those of modules too."""
    waiting = [plan.get("planned_values", {}).get("root_module", {})]
    while waiting:
        module = waiting.pop()
        yield from (one for one in module.get("resources", []) if one.get("mode") == "managed")
        waiting += module.get("child_modules", [])


def _size(addresses: str) -> str:
    """An address range without its addresses: pages do not give those away."""
    return f"/{addresses.partition('/')[2]}"


def _nodes(
    found: Mapping[str, list[dict[str, Any]]], objects: list[Mapping[str, Any]]
) -> Iterator[Nodes]:
    on_gpu, elsewhere = _placed(objects)
    for group in found.get("aws_autoscaling_group", []):
        policy = (group.get("mixed_instances_policy") or [{}])[0]
        spread = (policy.get("instances_distribution") or [{}])[0]
        types = [
            one.get("instance_type")
            for template in policy.get("launch_template") or []
            for one in template.get("override") or []
        ]
        cap = spread.get("spot_max_price")
        about = f"{', '.join(filter(None, types))} spot{f', at most ${cap}/h' if cap else ''}"
        size = f"{group.get('min_size')} to {group.get('max_size')} nodes"
        yield Nodes("GPU nodes", f"{about}\n{size}", True, on_gpu)
    for group in found.get("aws_eks_node_group", []):
        scaling = (group.get("scaling_config") or [{}])[0]
        types = group.get("instance_types") or []
        gpu = bool(group.get("taint"))
        about = f"{', '.join(types)}\n{scaling.get('min_size')} to {scaling.get('max_size')} nodes"
        title = "GPU nodes" if gpu else "system nodes"
        yield Nodes(title, about, gpu, on_gpu if gpu else elsewhere)


def _placed(objects: list[Mapping[str, Any]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the workloads meant for GPU nodes, and of the others."""
    gpu = contract.load().gpu.resource
    on_gpu: list[str] = []
    elsewhere: list[str] = []
    for one in objects:
        if one.get("kind") in WORKLOADS:
            spec = one["spec"]["template"]["spec"]
            asks = any(
                gpu in (container.get("resources", {}).get("limits") or {})
                for container in spec.get("containers", [])
            )
            selected = spec.get("nodeSelector") and spec.get("tolerations")
            (on_gpu if asks or selected else elsewhere).append(_name(one))
    return tuple(dict.fromkeys(on_gpu)), tuple(dict.fromkeys(elsewhere))


def _name(one: Mapping[str, Any]) -> str:
    labels = one["metadata"].get("labels") or {}
    return str(labels.get("app.kubernetes.io/name") or one["metadata"]["name"])


def _listeners(objects: list[Mapping[str, Any]]) -> Iterator[str]:
    for one in objects:
        if one.get("kind") == "Ingress":
            notes = one["metadata"].get("annotations") or {}
            grpc = notes.get("alb.ingress.kubernetes.io/backend-protocol-version") == "GRPC"
            secured = "HTTPS" in notes.get("alb.ingress.kubernetes.io/listen-ports", "")
            yield "gRPC" if grpc else "HTTPS" if secured else "HTTP"
