"""What stages 00 and 01 record of the account, the plan and the stack."""

from typing import Any, Literal

from helpers.errors import Problem
from helpers.run import Record, now
from helpers.scenario import Settings

Action = Literal["create", "update", "replace", "delete", "none"]


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


class PlannedResource(Settings):
    """One resource of a plan.

    Attributes:
        address: Terraform's name of it.
        type: Its type, such as `aws_eks_cluster`.
        action: What is to happen to it.
    """

    address: str
    type: str
    action: Action


class CostLine(Settings):
    """What one kind of resource costs.

    Attributes:
        what: As people read it.
        resource: Terraform type; empty for what Kubernetes will make.
        count: How many to begin with.
        most: How many the autoscaler may have at most.
        usd_per_hour: One of them, at the price known now.
        most_usd_per_hour: One of them, at the highest price possible.
        source: Where the price comes from, and of which day.
        note: What is assumed; may be empty.
    """

    what: str
    resource: str
    count: float
    most: float
    usd_per_hour: float
    most_usd_per_hour: float
    source: str
    note: str = ""

    @property
    def hourly(self) -> float:
        """US dollars an hour, to begin with."""
        return self.count * self.usd_per_hour

    @property
    def hourly_most(self) -> float:
        """US dollars an hour, at most."""
        return self.most * self.most_usd_per_hour


class PlanCost(Settings):
    """What a plan will cost.

    Attributes:
        lines: One for each kind of resource that costs something.
        session_hours: How long a session is: until the dead man's switch.
        session_usd: A session as it begins.
        session_most_usd: A session at most: highest price, most nodes, from start to end.
        budget_usd: What the profile allows for a session.
        unpriced: Resource types whose price is not known.
    """

    lines: tuple[CostLine, ...]
    session_hours: float
    session_usd: float
    session_most_usd: float
    budget_usd: float
    unpriced: tuple[str, ...] = ()

    @property
    def hourly(self) -> float:
        """US dollars an hour, to begin with."""
        return sum(one.hourly for one in self.lines)

    @property
    def hourly_most(self) -> float:
        """US dollars an hour, at most."""
        return sum(one.hourly_most for one in self.lines)

    @property
    def within_budget(self) -> bool:
        """Whether even the dearest session stays within the budget."""
        return self.session_most_usd <= self.budget_usd


class PlanFacts(Record, stage="01", name="plan"):
    """What Terraform is about to do, and what that costs.

    Attributes:
        emulated: Whether an emulator stands for AWS.
        planned: When, UTC.
        sha256: Of Terraform's plan file, which alone may be applied.
        resources: Every managed resource of the configuration.
        cost: What it costs once it stands.
    """

    emulated: bool
    planned: str
    sha256: str
    resources: tuple[PlannedResource, ...]
    cost: PlanCost

    def count(self, action: str) -> int:
        """How many resources have this action."""
        return sum(one.action == action for one in self.resources)

    @property
    def changes(self) -> int:
        """How many resources are created, changed, replaced or deleted."""
        return len(self.resources) - self.count("none")

    @property
    def summary(self) -> str:
        """One sentence: what is planned."""
        if not self.changes:
            return f"no changes: {len(self.resources)} resources stand as planned"
        verbs = {"create": "to create", "update": "to change", "replace": "to replace",
                 "delete": "to delete"}  # fmt: skip
        told = [f"{self.count(one)} {verb}" for one, verb in verbs.items() if self.count(one)]
        return f"{', '.join(told)} of {len(self.resources)} resources"


class Replan(Record, stage="01", name="replan"):
    """A second plan, after the apply.

    Attributes:
        planned: When, UTC.
        resources: How many the configuration has.
        changed: Those that do not stand as planned.
    """

    planned: str
    resources: int
    changed: tuple[PlannedResource, ...]

    @property
    def summary(self) -> str:
        """One sentence: whether anything would change."""
        if not self.changed:
            return f"no changes: {self.resources} resources stand as planned"
        names = ", ".join(f"{one.address} ({one.action})" for one in self.changed)
        return f"{len(self.changed)} of {self.resources} resources would change: {names}"
