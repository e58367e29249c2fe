"""What an account is like before anything is made in it, and what has become of the market."""

from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

ACCOUNT_ID = "123456789012"  # the example account of AWS's own documentation

Coverage = Literal["complete", "empty", "late", "partial", "disabled"]


class Settings(BaseModel):
    """A part of the world; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class CostLine(Settings):
    """What one day's use of something was billed.

    Attributes:
        day: The day, UTC.
        service: As Cost Explorer names it, such as `Amazon Elastic Compute Cloud - Compute`.
        usage_type: Such as `SpotUsage:g4dn.xlarge`.
        usd: US dollars.
        quantity: In the usage type's own unit, mostly hours.
        tagged: Whether the line carries the project's tags.
    """

    day: date
    service: str
    usage_type: str
    usd: float
    quantity: float = 0.0
    tagged: bool = True


class Costs(Settings):
    """What Cost Explorer knows.

    `empty` has no line at all; `late` knows nothing of the last day; `partial` knows half of the
    lines and marks them estimated; `disabled` was never switched on in this account.
    """

    coverage: Coverage = "complete"
    lines: list[CostLine] = []
    active_tags: list[str] = []


class Spot(Settings):
    """The spot market.

    Attributes:
        usd: Price of an hour by instance type; zones differ from it by a few per cent.
        available: Whether there is capacity at any price.
    """

    usd: dict[str, float] = {
        "g4dn.xlarge": 0.2104,
        "g4dn.2xlarge": 0.3012,
        "g5.xlarge": 0.4225,
        "g6.xlarge": 0.3540,
        "t3.large": 0.0331,
        "t3a.large": 0.0290,
    }
    available: bool = True


class World(Settings):
    """What tests, and faults, may change in an emulated account.

    Attributes:
        caller: Who the keys of the emulator belong to.
        quotas: Limits by quota code; what is not named has its default.
        service_linked_roles: Services whose linked role exists.
        spot: The spot market.
        costs: What Cost Explorer knows.
        scan_findings: Findings of every scanned image, by severity.
    """

    caller: str = f"arn:aws:iam::{ACCOUNT_ID}:user/rehearsal"
    quotas: dict[str, float] = {}
    service_linked_roles: list[str] = Field(
        default=["spot", "autoscaling", "eks", "eks-nodegroup", "elasticloadbalancing"]
    )
    spot: Spot = Spot()
    costs: Costs = Costs()
    scan_findings: dict[str, int] = {"MEDIUM": 2, "LOW": 5}

    def change(self, part: dict[str, Any]) -> None:
        """Take over a part of another world, in this object; mappings are merged.

        Raises:
            pydantic.ValidationError: There is no such thing in a world.
        """
        self.become(World.model_validate(_merged(self.model_dump(), part)))

    def become(self, other: "World") -> None:
        """Be as another world, in this object."""
        for name in World.model_fields:
            setattr(self, name, getattr(other, name))


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    both = old | new
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(old.get(key), dict):
            both[key] = _merged(old[key], value)
    return both
