"""What a look says: every list that was read, and every resource that counts as ours."""

import pandas as pd

from helpers.cloud.leftovers.calls import mask
from helpers.scenario import Settings


class Found(Settings):
    """One resource that counts as ours.

    Attributes:
        kind: What it is.
        region: Where it is.
        id: Its identifier.
        parent: What it is inside of; empty where it stands alone.
        reasons: Why it counts as ours.
        state: Its state in AWS's words; empty where it has none.
        owned: Whether it carries this run's tag: only then may it be removed.
        leaving: Whether it is on its way out already.
        kept: Why it is meant to outlive the run; empty where it is not.
        command: The command that removes it.
    """

    kind: str
    region: str
    id: str
    parent: str = ""
    reasons: tuple[str, ...]
    state: str = ""
    owned: bool
    leaving: bool = False
    kept: str = ""
    command: str

    @property
    def inherited(self) -> tuple[str, ...]:
        """Why what is inside of it counts as ours."""
        return (f"in {self.kind} {self.id}",)


class Looked(Settings):
    """One list that was read.

    Attributes:
        kind: What was looked for.
        call: The call that lists it.
        region: Where.
        listed: How many there are, whoever they belong to.
        found: How many of these count as ours.
        problem: Why it could not be read in full; empty where it could.
    """

    kind: str
    call: str
    region: str
    listed: int = 0
    found: int = 0
    problem: str = ""


class Scan(Settings):
    """What one look found.

    Attributes:
        at: When, UTC.
        filters: By what resources count as ours.
        looked: Every list that was read, or could not be.
        found: Every resource that counts as ours.
    """

    at: str
    filters: tuple[str, ...]
    looked: tuple[Looked, ...]
    found: tuple[Found, ...]

    @property
    def left(self) -> tuple[Found, ...]:
        """What is left over: found, and not meant to stay."""
        return tuple(one for one in self.found if not one.kept)

    @property
    def kept(self) -> tuple[Found, ...]:
        """What is meant to stay."""
        return tuple(one for one in self.found if one.kept)

    @property
    def not_scanned(self) -> tuple[Looked, ...]:
        """Lists that could not be read: nothing is known about them."""
        return tuple(one for one in self.looked if one.problem)

    @property
    def is_clean(self) -> bool:
        """Whether everything was looked at and nothing is left."""
        return not self.left and not self.not_scanned

    @property
    def summary(self) -> str:
        """One sentence: how much was looked at, and what is left."""
        kinds_seen = len({one.kind for one in self.looked if not one.problem})
        listed = sum(one.listed for one in self.looked)
        told = f"{kinds_seen} kinds, {listed} resources looked at: {len(self.left)} left"
        missing = ", ".join(dict.fromkeys(one.kind for one in self.not_scanned))
        return f"{told}; not scanned: {missing}" if missing else told

    def without(self, account_id: str) -> "Scan":
        """The same, without the account's number."""
        return type(self).model_validate_json(mask(self.model_dump_json(), account_id))


def frame(seen: Scan) -> pd.DataFrame:
    """What is left, why it counts as ours, and the command that removes it."""
    return pd.DataFrame(
        {
            "Kind": [one.kind for one in seen.left],
            "Id": [one.id for one in seen.left],
            "Because of": ["; ".join(one.reasons) for one in seen.left],
            "This run's own": ["yes" if one.owned else "no: not touched" for one in seen.left],
            "Removed by": [one.command for one in seen.left],
        }
    )


def looked_frame(seen: Scan) -> pd.DataFrame:
    """What was looked at, for people."""
    return pd.DataFrame(
        {
            "Kind": [one.kind for one in seen.looked],
            "Call": [one.call for one in seen.looked],
            "Region": [one.region for one in seen.looked],
            "Listed": [one.listed for one in seen.looked],
            "Ours": [one.found for one in seen.looked],
            "Not scanned": [one.problem for one in seen.looked],
        }
    )
