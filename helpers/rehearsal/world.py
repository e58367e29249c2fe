"""What the emulated account is like before a stack is created in it."""

from datetime import date

from pydantic import BaseModel, ConfigDict

from helpers.rehearsal.moto_extension import ACCOUNT_ID

# Kubernetes version → end of its standard support; read on 2026-11-24 in
# docs.aws.amazon.com/eks/latest/userguide/kubernetes-versions.html and endoflife.date/amazon-eks.
VERSIONS = {
    "1.32": date(2026, 3, 23),
    "1.33": date(2026, 7, 29),
    "1.34": date(2026, 12, 2),
    "1.35": date(2027, 3, 27),
}
DEFAULT_VERSION = "1.35"


# Code → name, value here (which lets the stack be created), and AWS's default: as
# docs.aws.amazon.com/general/latest/gr/ec2-service.html and vpc-service.html have them.
QUOTAS = {
    "ec2/L-3819A6DF": ("All G and VT Spot Instance Requests", 16.0, 0.0),
    "ec2/L-DB2E81BA": ("Running On-Demand G and VT instances", 16.0, 0.0),
    "ec2/L-1216C47A": ("Running On-Demand Standard instances", 64.0, 5.0),
    "ec2/L-0263D0A3": ("EC2-VPC Elastic IPs", 5.0, 5.0),
    "vpc/L-F678F1CE": ("VPCs per Region", 5.0, 5.0),
}


# docs.aws.amazon.com/IAM/latest/UserGuide/reference_aws-services-that-work-with-iam.html
LINKED_ROLES = {
    "spot": "AWSServiceRoleForEC2Spot",
    "autoscaling": "AWSServiceRoleForAutoScaling",
    "eks": "AWSServiceRoleForAmazonEKS",
    "eks-nodegroup": "AWSServiceRoleForAmazonEKSNodegroup",
    "elasticloadbalancing": "AWSServiceRoleForElasticLoadBalancing",
}


class Spot(BaseModel):
    """The spot market: whether it has capacity, and prices from which zones differ a little."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)
    usd: dict[str, float] = {
        "g4dn.xlarge": 0.2104,
        "g4dn.2xlarge": 0.3012,
        "g5.xlarge": 0.4225,
        "g6.xlarge": 0.3540,
        "t3.large": 0.0331,
        "t3a.large": 0.0290,
    }
    available: bool = True


class World(BaseModel):
    """The account's identity, limits and market; tests change them."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)
    caller: str = f"arn:aws:iam::{ACCOUNT_ID}:user/rehearsal"
    quotas: dict[str, float | None] = {}  # by quota code; None has AWS's default alone
    quota_requests: dict[str, float] = {}  # pending requests for more
    billing_alerts: bool = True  # whether CloudWatch gets the account's charges
    service_linked_roles: list[str] = [*LINKED_ROLES]  # services whose linked role exists
    spot: Spot = Spot()

    def become(self, other: "World") -> None:
        """Take over everything of another world."""
        for name in World.model_fields:
            setattr(self, name, getattr(other, name))


WORLD = World()  # of the account that this process emulates; moto keeps its state per process too
