"""What the emulated account is like before a stack is created in it."""

from datetime import date
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from helpers.rehearsal.moto_extension import ACCOUNT_ID

FACTS = yaml.safe_load(Path(__file__).with_name("world.yaml").read_text())
VERSIONS: dict[str, date] = FACTS["versions"]  # of Kubernetes → end of standard support
DEFAULT_VERSION = max(VERSIONS)
QUOTAS: dict[str, tuple[str, float, float]] = FACTS["quotas"]  # code → name, value, AWS's default
LINKED_ROLES: dict[str, str] = FACTS["linked_roles"]  # service → role


class Spot(BaseModel):
    """The spot market: whether it has capacity, and prices from which zones differ a little."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)
    usd: dict[str, float] = FACTS["spot_usd"]
    available: bool = True
    score: int = 9  # of each zone, 1 to 10: how likely AWS says a spot request succeeds


class World(BaseModel):
    """The account's identity, limits and market; tests change them."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)
    caller: str = f"arn:aws:iam::{ACCOUNT_ID}:user/rehearsal"
    quotas: dict[str, float | None] = {}  # by quota code; None has AWS's default alone
    quota_requests: dict[str, float] = {}  # pending requests for more
    billing_alerts: bool = True  # whether CloudWatch gets the account's charges
    service_linked_roles: list[str] = [*LINKED_ROLES]  # services whose linked role exists
    spot: Spot = Spot()
    build_failure: str = ""  # last line of the log of every CodeBuild build, which then fails

    def become(self, other: "World") -> None:
        """Take over everything of another world."""
        for name in World.model_fields:
            setattr(self, name, getattr(other, name))


WORLD = World()  # of the account that this process emulates; moto keeps its state per process too
