"""What stands after an apply, asked of the account itself and not of Terraform."""

from typing import Any

import pandas as pd

from helpers.cloud.account import Account, asking
from helpers.cloud.reports import Stack
from helpers.run import Record, Run

PUBLIC_ROUTE, NAT_ROUTE = "GatewayId", "NatGatewayId"
ANYWHERE = "0.0.0.0/0"


class Standing(Record, stage="01", name="standing"):
    """Network, cluster and roles as the account describes them.

    Attributes:
        emulated: Whether an emulator describes them.
        zones: Zones with both kinds of subnet.
        public_subnets: How many subnets have a way to the internet.
        private_subnets: How many have one through NAT alone.
        nat_gateways: How many are available.
        cluster_status: `ACTIVE` when the API answers.
        cluster_version: Kubernetes version.
        support: Support policy: `STANDARD` or `EXTENDED`.
        api_open_to: How many address ranges reach the API; one is meant.
        controller_trusts: The service account that may take the load balancer controller's role.
    """

    emulated: bool
    zones: tuple[str, ...]
    public_subnets: int
    private_subnets: int
    nat_gateways: int
    cluster_status: str
    cluster_version: str
    support: str
    api_open_to: int
    controller_trusts: str

    @property
    def network_holds(self) -> bool:
        """Whether at least two zones have public and private subnets, and NAT is there."""
        return len(self.zones) > 1 and self.nat_gateways > 0

    @property
    def network(self) -> str:
        """One sentence about the network."""
        return (
            f"{self.public_subnets} public and {self.private_subnets} private subnets in "
            f"{', '.join(self.zones)}; {self.nat_gateways} NAT"
        )

    @property
    def cluster_holds(self) -> bool:
        """Whether the cluster is active, in standard support, and not open to the world."""
        return (self.cluster_status, self.support, self.api_open_to) == ("ACTIVE", "STANDARD", 1)

    @property
    def cluster(self) -> str:
        """One sentence about the cluster."""
        return f"{self.cluster_status}, {self.cluster_version}, {self.support.lower()} support"


def look(run: Run, account: Account) -> Standing:
    """Ask the account what stands of the run's stack, and keep the answer.

    Raises:
        Problem: There is no stack, or AWS does not answer.
    """
    stack = run.load(Stack)
    public, private, gateways = _network(account, stack)
    cluster = _cluster(account, stack)
    record = Standing(
        emulated=account.emulated,
        zones=tuple(sorted({*public.values()} & {*private.values()})),
        public_subnets=len(public),
        private_subnets=len(private),
        nat_gateways=gateways,
        cluster_status=cluster["status"],
        cluster_version=cluster["version"],
        support=cluster.get("upgradePolicy", {}).get("supportType", "unknown"),
        api_open_to=sum(
            one != ANYWHERE for one in cluster["resourcesVpcConfig"]["publicAccessCidrs"]
        ),
        controller_trusts=_trusted(account, stack.role_arns["alb_controller"]),
    )
    run.save(record)
    return record


def frame(stack: Stack, found: Standing) -> pd.DataFrame:
    """What stands, for people."""
    facts = {
        "VPC": f"{stack.vpc_id}: {found.network}",
        "EKS cluster": f"{stack.cluster_name}: {found.cluster}",
        "GPU nodes": f"{stack.gpu_asg_name}: {', '.join(stack.gpu_instance_types)}, "
        f"{stack.gpu_capacity}",
        "Load balancer controller's role": f"for {found.controller_trusts}",
        "Image repository": stack.ecr_repository_name,
        "Models": f"{stack.artifact_bucket}/{stack.model_prefix}",
        "Certificate": "imported" if stack.certificate_arn else "none",
    }
    label = "EMULATED" if found.emulated else "AWS"
    return pd.DataFrame({"What": list(facts), "Stands": list(facts.values()), "label": label})


def _network(account: Account, stack: Stack) -> tuple[dict[str, str], dict[str, str], int]:
    """Subnet → zone of public and of private ones by their routes, and available NAT gateways."""
    ec2 = account.client("ec2")
    here = [{"Name": "vpc-id", "Values": [stack.vpc_id]}]
    with asking("the network"):
        subnets = ec2.describe_subnets(Filters=here)["Subnets"]
        tables = ec2.describe_route_tables(Filters=here)["RouteTables"]
        nat = ec2.describe_nat_gateways(Filter=[*here, {"Name": "state", "Values": ["available"]}])[
            "NatGateways"
        ]
    zones = {one["SubnetId"]: one["AvailabilityZone"] for one in subnets}
    return (
        {one: zones[one] for one in _routed(tables, PUBLIC_ROUTE, "igw-") if one in zones},
        {one: zones[one] for one in _routed(tables, NAT_ROUTE, "nat-") if one in zones},
        len(nat),
    )


def _routed(tables: list[dict[str, Any]], member: str, prefix: str) -> set[str]:
    """Subnets whose default route leads there."""
    return {
        tie["SubnetId"]
        for table in tables
        for route in table["Routes"]
        if route.get("DestinationCidrBlock") == ANYWHERE
        and str(route.get(member, "")).startswith(prefix)
        for tie in table["Associations"]
        if "SubnetId" in tie
    }


def _cluster(account: Account, stack: Stack) -> dict[str, Any]:
    with asking("the cluster"):
        found: dict[str, Any] = account.client("eks").describe_cluster(name=stack.cluster_name)
    cluster: dict[str, Any] = found["cluster"]
    return cluster


def _trusted(account: Account, arn: str) -> str:
    """The service account that a role trusts, `namespace:name`; empty where it trusts none."""
    with asking("the controller's role"):
        role = account.client("iam").get_role(RoleName=arn.rpartition("/")[2])["Role"]
    for statement in role["AssumeRolePolicyDocument"]["Statement"]:
        for name, value in statement.get("Condition", {}).get("StringEquals", {}).items():
            if name.endswith(":sub"):
                return str(value).removeprefix("system:serviceaccount:")
    return ""
