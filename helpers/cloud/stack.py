"""The stack: Terraform's outputs, and network, cluster, role and GPU nodes as in the account."""

import re
from datetime import datetime
from typing import Any

import jmespath
import pandas as pd

from helpers.cloud.account import Account, asking
from helpers.errors import Problem
from helpers.run import Record, Run, now
from helpers.scenario import Settings

ANYWHERE = "0.0.0.0/0"
# of Auto Scaling: an instance is named as soon as it was launched, whatever became of it
ACTIVITY = re.compile(r"(Launching a new|Terminating) EC2 instance: (i-\w+)")


class Stack(Record, stage="01", name="stack"):
    """Terraform's outputs, account ids included: whatever leaves the machine masks them."""

    emulated: bool
    applied: str  # UTC
    region: str
    stack_name: str  # prefix of every name; the output `name`
    vpc_id: str
    private_subnet_ids: tuple[str, ...]  # of nodes
    public_subnet_ids: tuple[str, ...]  # of load balancers and NAT
    cluster_name: str
    cluster_endpoint: str
    cluster_certificate_authority: str  # base64
    cluster_version: str
    oidc_provider_arn: str
    gpu_asg_name: str  # the Auto Scaling group of the GPU nodes
    gpu_instance_types: tuple[str, ...]  # first choice first
    gpu_max_price: float  # US dollars an hour; 0 without a cap
    role_arns: dict[str, str]  # of `triton`, `alb_controller`, `cluster_autoscaler`
    ecr_repository_url: str
    ecr_repository_name: str
    image_project: str  # CodeBuild project that builds images and pushes them
    artifact_bucket: str  # of models and artifacts
    model_prefix: str  # that Triton may read
    certificate_arn: str  # of the load balancer; empty without one
    dead_man_schedule: str
    dead_man_schedule_group: str
    dead_man_expires: str  # as applied, UTC
    alerts_topic_arn: str
    api_cidr: str  # who reaches the cluster's API
    tags: dict[str, str]


def stack_record(outputs: dict[str, Any], emulated: bool) -> Stack:
    """Terraform's outputs as a record."""
    facts = {("stack_name" if name == "name" else name): value for name, value in outputs.items()}
    facts |= {"emulated": emulated, "applied": now()}
    if missing := sorted(set(Stack.model_fields) - set(facts)):
        raise Problem(
            f"The stack is incomplete: its outputs lack {', '.join(missing)}.",
            "Run 01 again: Terraform goes on from its state.",
        )
    return Stack(**{name: facts[name] for name in Stack.model_fields})


class StackDescription(Record, stage="01", name="standing"):
    """Network, cluster and role as the account describes them."""

    emulated: bool
    zones: tuple[str, ...]  # with both kinds of subnet
    public_subnets: int  # with a route to the internet
    private_subnets: int  # with a route through NAT only
    nat_gateways: int  # available
    cluster_status: str
    cluster_version: str
    support: str  # policy: `STANDARD` or `EXTENDED`
    api_open_to: int  # address ranges that reach the API; 0 if every address does
    controller_trusts: str  # service account that may assume the ALB controller's role

    @property
    def network_holds(self) -> bool:
        """Whether at least two zones have public and private subnets, and NAT exists."""
        return len(self.zones) > 1 and self.nat_gateways > 0

    @property
    def network(self) -> str:
        """One sentence about the network."""
        subnets = f"{self.public_subnets} public and {self.private_subnets} private subnets"
        return f"{subnets} in {', '.join(self.zones)}; {self.nat_gateways} NAT"

    @property
    def cluster_holds(self) -> bool:
        """Whether the cluster is active, in standard support, and not open to the world."""
        return (self.cluster_status, self.support, self.api_open_to) == ("ACTIVE", "STANDARD", 1)

    @property
    def cluster(self) -> str:
        """One sentence about the cluster."""
        return f"{self.cluster_status}, {self.cluster_version}, {self.support.lower()} support"


def describe(run: Run, account: Account) -> StackDescription:
    """Ask the account, not Terraform, for the run's stack, and store the answer."""
    stack, ec2 = run.load(Stack), account.client("ec2")
    vpc = [{"Name": "vpc-id", "Values": [stack.vpc_id]}]
    with asking("the network"):
        subnets = ec2.describe_subnets(Filters=vpc)["Subnets"]
        tables = ec2.describe_route_tables(Filters=vpc)["RouteTables"]
        available = [*vpc, {"Name": "state", "Values": ["available"]}]
        gateways = ec2.describe_nat_gateways(Filter=available)["NatGateways"]
    zones = {subnet["SubnetId"]: subnet["AvailabilityZone"] for subnet in subnets}
    public = [zones[i] for i in _routed(tables, "GatewayId", "igw-") if i in zones]
    private = [zones[i] for i in _routed(tables, "NatGatewayId", "nat-") if i in zones]
    with asking("the cluster"):
        cluster = account.client("eks").describe_cluster(name=stack.cluster_name)["cluster"]
    cidrs = cluster["resourcesVpcConfig"]["publicAccessCidrs"]
    record = StackDescription(
        emulated=account.emulated,
        zones=tuple(sorted({*public} & {*private})),
        public_subnets=len(public),
        private_subnets=len(private),
        nat_gateways=len(gateways),
        cluster_status=cluster["status"],
        cluster_version=cluster["version"],
        support=cluster.get("upgradePolicy", {}).get("supportType", "unknown"),
        api_open_to=0 if ANYWHERE in cidrs else len(cidrs),
        controller_trusts=_trusted(account, stack.role_arns["alb_controller"]),
    )
    return run.save(record)


def _routed(tables: list[dict[str, Any]], target: str, prefix: str) -> set[str]:
    wanted = f"DestinationCidrBlock == '{ANYWHERE}' && starts_with({target} || '', '{prefix}')"
    return set(jmespath.search(f"[?Routes[?{wanted}]].Associations[].SubnetId", tables))


def _trusted(account: Account, arn: str) -> str:
    """The service account that a role trusts, `namespace:name`; empty where it trusts none."""
    with asking("the controller's role"):
        role = account.client("iam").get_role(RoleName=arn.rpartition("/")[2])["Role"]
    for statement in role["AssumeRolePolicyDocument"]["Statement"]:
        for name, value in statement.get("Condition", {}).get("StringEquals", {}).items():
            if name.endswith(":sub"):
                return str(value).removeprefix("system:serviceaccount:")
    return ""


def frame(stack: Stack, description: StackDescription) -> pd.DataFrame:
    """What exists, for people."""
    gpus = ", ".join(stack.gpu_instance_types)
    facts = {
        "VPC": f"{stack.vpc_id}: {description.network}",
        "EKS cluster": f"{stack.cluster_name}: {description.cluster}",
        "GPU nodes": f"{stack.gpu_asg_name}: {gpus}",
        "Load balancer controller's role": f"for {description.controller_trusts}",
        "Image repository": stack.ecr_repository_name,
        "Models": f"{stack.artifact_bucket}/{stack.model_prefix}",
        "Certificate": "imported" if stack.certificate_arn else "none",
    }
    table = pd.DataFrame(facts.items(), columns=["What", "Found"])
    return table.assign(label="EMULATED" if description.emulated else "AWS")


class GpuNode(Settings):
    """A GPU node that was launched."""

    instance: str
    instance_type: str  # the first choice, if it was gone before it was asked for
    zone: str = ""  # empty in that case
    start: datetime  # UTC
    end: datetime | None = None  # None while it runs


class GpuNodes(Record, stage="01", name="gpu-nodes"):
    """The GPU nodes that ran: the first ones, those of the autoscaler, those after a fired switch.

    Auto Scaling keeps activities for six weeks, and those of deleted groups on request
    (docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeScalingActivities.html).
    """

    nodes: tuple[GpuNode, ...]


def record_gpu_nodes(run: Run, account: Account) -> GpuNodes:
    """Ask Auto Scaling and EC2 which GPU nodes ran, and when; keeps what they no longer know."""
    stack, record = run.load(Stack), run.find(GpuNodes)
    began = datetime.fromisoformat(run.events("stack-apply-start")[0]["at"])
    known = {node.instance: node for node in record.nodes} if record else {}
    query = {"AutoScalingGroupName": stack.gpu_asg_name, "IncludeDeletedGroups": True}
    with asking("the activities of the GPU nodes' group"):
        pages = account.client("autoscaling").get_paginator("describe_scaling_activities")
        activities = [*pages.paginate(**query).search("Activities[]")]
    for activity in reversed(activities):  # the newest is the first
        match, start = ACTIVITY.match(activity.get("Description", "")), activity["StartTime"]
        if match and start >= began:  # else nothing was launched, or it was in an earlier run
            new = GpuNode(instance=match[2], instance_type=stack.gpu_instance_types[0], start=start)
            end = activity.get("EndTime") if match[1] == "Terminating" else None
            known[match[2]] = known.get(match[2], new).model_copy(update={"end": end})
    filters = [{"Name": "instance-id", "Values": [*known]}]
    instances = account.client("ec2").get_paginator("describe_instances").paginate(Filters=filters)
    with asking("the GPU nodes"):
        for found in instances.search("Reservations[].Instances[]") if known else ():
            zone = found["Placement"]["AvailabilityZone"]
            facts = {"instance_type": found["InstanceType"], "zone": zone}
            known[found["InstanceId"]] = known[found["InstanceId"]].model_copy(update=facts)
    return run.save(GpuNodes(nodes=tuple(known.values())))
