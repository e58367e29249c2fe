"""The stack in AWS, and the cluster in it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from helpers.scenario import Seconds, Settings


class GpuNodes(Settings):
    """The GPU node group; taint, label and instance types stand in `k8s/contract.yaml`.

    Attributes:
        capacity: `spot-capped` is an Auto Scaling group of its own, whose price cap AWS enforces;
            `managed-spot` is an EKS node group, which knows no cap.
        max_price_usd: Most that an hour of one node may cost, US dollars.
        min_nodes: Fewest nodes.
        desired_nodes: Nodes to begin with.
        max_nodes: Most nodes the autoscaler may have.
        disk_gib: Root disk; Triton's image alone fills 20.
    """

    capacity: Literal["spot-capped", "managed-spot"] = "spot-capped"
    max_price_usd: Annotated[float, Field(gt=0, le=5)] = 0.30
    min_nodes: Annotated[int, Field(ge=0, le=4)] = 0
    desired_nodes: Annotated[int, Field(ge=0, le=4)] = 1
    max_nodes: Annotated[int, Field(ge=1, le=4)] = 2
    disk_gib: Annotated[int, Field(ge=80, le=1000)] = 100

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min_nodes <= self.desired_nodes <= self.max_nodes:
            raise ValueError(
                f"min_nodes {self.min_nodes} ≤ desired_nodes {self.desired_nodes} ≤ "
                f"max_nodes {self.max_nodes} does not hold"
            )
        return self


class Infrastructure(Settings):
    """The stack in AWS.

    Attributes:
        name: Prefix of everything that is created.
        kubernetes_version: Of the control plane; one in standard support.
        zones: How many availability zones.
        nat_per_zone: One NAT gateway a zone instead of one for all.
        api_cidr: Who may reach the cluster's API; empty means this machine's own address.
        cpu_instance_types: Nodes for system pods.
        gpu: The GPU node group.
        ttl_hours: After so long a schedule inside AWS scales the GPU nodes to zero.
        budget_usd: Limit of the account-wide budget and of the billing alarm, US dollars.
        alert_email: Who is told; empty tells nobody.
        state_bucket: S3 bucket of Terraform's state; empty keeps it in the run's folder.
        override_readiness: Create resources though the readiness report is not green.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,18}$")] = "gpu-e2e"
    kubernetes_version: Annotated[str, Field(pattern=r"^1\.\d\d$")] = "1.35"
    zones: Annotated[int, Field(ge=2, le=3)] = 2
    nat_per_zone: bool = False
    api_cidr: Annotated[str, Field(pattern=r"^(|(\d{1,3}\.){3}\d{1,3}/\d{1,2})$")] = ""
    cpu_instance_types: Annotated[tuple[str, ...], Field(min_length=1)] = ("t3.large", "t3a.large")
    gpu: GpuNodes = GpuNodes()
    ttl_hours: Annotated[float, Field(gt=0, le=24)] = 4.0
    budget_usd: Annotated[float, Field(gt=0)] = 5.0
    alert_email: Annotated[str, Field(pattern=r"^(|[^@\s]+@[^@\s]+)$")] = ""
    state_bucket: str = ""
    override_readiness: bool = False


class Cluster(Settings):
    """How the cluster is reached, and how long each of its steps may take.

    Attributes:
        context: Context of the user's own kubeconfig; empty means the run's own stack.
        poll_s: Seconds between two looks while something is waited for.
        nodes_s: Until the nodes are Ready.
        gpu_s: Until the GPUs are allocatable.
        release_s: Until a release of the lock file has done what it is installed for.
        rollout_s: Until Triton is rolled out: image pull and model load on a fresh node.
        balancer_s: Until the load balancer exists and its targets are healthy.
        scan_s: Until the registry has scanned the image.
    """

    context: str = ""
    poll_s: Annotated[float, Field(ge=0.05, le=30)] = 1.0
    nodes_s: Seconds = 900.0
    gpu_s: Seconds = 600.0
    release_s: Seconds = 600.0
    rollout_s: Seconds = 1200.0
    balancer_s: Seconds = 600.0
    scan_s: Seconds = 600.0
