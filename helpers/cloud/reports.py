"""The record of the stack: Terraform's outputs."""

from typing import Any, Literal

from helpers.errors import Problem
from helpers.run import Record, now


class Stack(Record, stage="01", name="stack"):
    """What stands: Terraform's outputs.

    The run's folder is private: identifiers are complete here, since charts and image push need
    them. Whatever leaves the machine masks account ids (`helpers.evidence`).

    Attributes:
        emulated: Whether it stands in an emulator.
        applied: When it was last applied, UTC.
        region: Where.
        stack_name: Prefix of everything (output `name`).
        vpc_id: The network.
        private_subnet_ids: Of nodes.
        public_subnet_ids: Of load balancers and NAT.
        cluster_name: The EKS cluster.
        cluster_endpoint: URL of its API.
        cluster_certificate_authority: Its CA, base64.
        cluster_version: Kubernetes version.
        oidc_provider_arn: Whom IAM believes for service accounts.
        gpu_capacity: `spot-capped` or `managed-spot`.
        gpu_asg_name: The Auto Scaling group of the GPU nodes.
        gpu_instance_types: Their types, first choice first.
        gpu_max_price: Most that an hour of one may cost, US dollars; 0 where nothing caps it.
        role_arns: `triton`, `alb_controller`, `cluster_autoscaler` → role.
        ecr_repository_url: Where the image is pushed.
        ecr_repository_name: Its name.
        artifact_bucket: S3 bucket of models and artifacts.
        model_prefix: Prefix that Triton may read.
        certificate_arn: The load balancer's certificate; empty without one.
        dead_man_schedule: Name of the schedule that scales the GPU nodes to zero.
        dead_man_schedule_group: Its group.
        dead_man_expires: When it was to fire as applied, UTC.
        alerts_topic_arn: SNS topic of budget and alarm.
        api_cidr: Who reaches the cluster's API.
        tags: What every resource carries.
    """

    emulated: bool
    applied: str
    region: str
    stack_name: str
    vpc_id: str
    private_subnet_ids: tuple[str, ...]
    public_subnet_ids: tuple[str, ...]
    cluster_name: str
    cluster_endpoint: str
    cluster_certificate_authority: str
    cluster_version: str
    oidc_provider_arn: str
    gpu_capacity: Literal["spot-capped", "managed-spot"]
    gpu_asg_name: str
    gpu_instance_types: tuple[str, ...]
    gpu_max_price: float
    role_arns: dict[str, str]
    ecr_repository_url: str
    ecr_repository_name: str
    artifact_bucket: str
    model_prefix: str
    certificate_arn: str
    dead_man_schedule: str
    dead_man_schedule_group: str
    dead_man_expires: str
    alerts_topic_arn: str
    api_cidr: str
    tags: dict[str, str]

    @property
    def summary(self) -> str:
        """One sentence: what stands where."""
        where = f"{self.region}{' (EMULATED)' if self.emulated else ''}"
        return f"cluster {self.cluster_name} {self.cluster_version} in {where}, VPC {self.vpc_id}"


def stack(outputs: dict[str, Any], emulated: bool) -> Stack:
    """Terraform's outputs as a record.

    Raises:
        Problem: The state lacks outputs, as after an apply that failed half-way.
    """
    facts = {("stack_name" if name == "name" else name): one for name, one in outputs.items()}
    missing = sorted(set(Stack.model_fields) - {"emulated", "applied"} - set(facts))
    if missing:
        raise Problem(
            f"The stack does not stand as a whole: its outputs lack {', '.join(missing)}.",
            "Run 01 again: Terraform goes on from its state.",
        )
    known = {name: one for name, one in facts.items() if name in Stack.model_fields}
    return Stack(emulated=emulated, applied=now(), **known)
