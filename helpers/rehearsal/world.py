"""What the emulated account is like before a stack is created in it."""

from datetime import date
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from helpers.rehearsal.moto_extension import ACCOUNT_ID

# Kubernetes version: release, end of standard and of extended support; read on 2026-11-24 in
# docs.aws.amazon.com/eks/latest/userguide/kubernetes-versions.html and endoflife.date/amazon-eks.
VERSIONS = {
    "1.32": (date(2025, 1, 25), date(2026, 3, 23), date(2027, 3, 23)),
    "1.33": (date(2025, 5, 28), date(2026, 7, 29), date(2027, 7, 29)),
    "1.34": (date(2025, 10, 6), date(2026, 12, 2), date(2027, 12, 2)),
    "1.35": (date(2026, 1, 27), date(2027, 3, 27), date(2028, 3, 27)),
}
DEFAULT_VERSION = "1.35"


class Quota(NamedTuple):
    """A limit of Service Quotas: service code, the console's name, what this account has."""

    service: str
    name: str
    applied: float


# Codes and names: docs.aws.amazon.com/general/latest/gr/ec2-service.html and eks.html. The values
# let the stack be created; a new account has less.
QUOTAS = {
    "L-3819A6DF": Quota("ec2", "All G and VT Spot Instance Requests", 16),
    "L-DB2E81BA": Quota("ec2", "Running On-Demand G and VT instances", 16),
    "L-1216C47A": Quota("ec2", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
                        64),
    "L-34B43A08": Quota("ec2", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests",
                        64),
    "L-0263D0A3": Quota("ec2", "EC2-VPC Elastic IPs", 5),
    "L-F678F1CE": Quota("vpc", "VPCs per Region", 5),
    "L-FE5A380F": Quota("vpc", "NAT gateways per Availability Zone", 5),
    "L-1194D53C": Quota("eks", "Clusters", 100),
}  # fmt: skip


class Spot(BaseModel):
    """The spot market.

    Attributes:
        usd: Price of an hour by instance type; zones differ from it by a few per cent.
        available: Whether there is capacity at any price.
    """

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
    """The account's identity, limits and market; tests change them.

    Attributes:
        caller: The identity that the emulator's keys belong to.
        quotas: Limits by quota code; a quota that is not named has its default.
        service_linked_roles: Services whose linked role exists.
        spot: The spot market.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)
    caller: str = f"arn:aws:iam::{ACCOUNT_ID}:user/rehearsal"
    quotas: dict[str, float] = {}
    service_linked_roles: list[str] = [
        "spot", "autoscaling", "eks", "eks-nodegroup", "elasticloadbalancing",
    ]  # fmt: skip
    spot: Spot = Spot()

    def become(self, other: "World") -> None:
        """Take over everything of another world."""
        for name in World.model_fields:
            setattr(self, name, getattr(other, name))


WORLD = World()  # of the account that this process emulates; moto keeps its state per process too
