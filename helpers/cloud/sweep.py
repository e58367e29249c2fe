"""Removes what a run has left, nothing else: its tag is read again right before each removal."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd
from botocore.exceptions import ClientError

from helpers.cloud.account import Account
from helpers.cloud.leftovers.calls import Caller, fill, is_denied, is_gone, mask, sentence
from helpers.cloud.leftovers.claims import Marks
from helpers.cloud.leftovers.findings import Found
from helpers.cloud.leftovers.items import Item, listed
from helpers.cloud.leftovers.kinds import kind, kinds
from helpers.run import Record, Run, now
from helpers.scenario import Settings

Outcome = Literal["removed", "leaving", "untouched", "failed"]
# A node group takes a quarter of an hour to go at worst, and what it holds cannot go before.
ROUNDS, PAUSE_S, IDLE_ROUNDS = 90, 10.0, 12
FOREIGN = "does not carry this run's tag"


class Swept(Settings):
    """What became of one leftover.

    Attributes:
        kind: What it is.
        id: Its identifier, without the account's number.
        outcome: `removed`, still `leaving`, `untouched` or `failed`.
        reason: Why it was not touched, or AWS's words why it could not be removed.
    """

    kind: str
    id: str
    outcome: Outcome
    reason: str = ""


class Sweep(Record, stage="06", name="sweep"):
    """What a sweep did.

    Attributes:
        at: When it ended, UTC.
        swept: Every leftover that it was given.
    """

    at: str
    swept: tuple[Swept, ...]

    def count(self, outcome: Outcome) -> int:
        """How many leftovers ended so."""
        return sum(one.outcome == outcome for one in self.swept)

    @property
    def summary(self) -> str:
        """One sentence: how many were removed, and how many were not."""
        outcomes: tuple[Outcome, ...] = ("removed", "leaving", "untouched", "failed")
        told = [f"{self.count(one)} {one}" for one in outcomes if self.count(one)]
        return ", ".join(told) or "nothing to sweep"


def remove(
    run: Run,
    account: Account,
    found: Iterable[Found],
    *,
    rounds: int = ROUNDS,
    sleep: Callable[[float], None] = time.sleep,
) -> Sweep:
    """Sweep, and store what became of each leftover. Arguments and errors as of `attempt`."""
    made = attempt(run, account, found, rounds=rounds, sleep=sleep)
    run.save(made)
    return made


def attempt(
    run: Run,
    account: Account,
    found: Iterable[Found],
    *,
    rounds: int = ROUNDS,
    sleep: Callable[[float], None] = time.sleep,
) -> Sweep:
    """Remove what carries this run's tag, in the order in which things depend on each other.

    What depends on something that is still leaving is tried again until it can go, or until
    nothing has moved for a while.

    Args:
        run: Whose leftovers they are.
        account: Where they are.
        found: What a scan found; whatever is not this run's own is left alone.
        rounds: How often to go over what is not settled.
        sleep: How the pause between two rounds is waited out.

    Raises:
        Problem: The credentials are missing or have expired, or AWS cannot be reached.
    """
    sweeping = _Sweeping(Caller.of(account, sleep), Marks.of(run), tuple(found))
    idle = 0
    for number in range(rounds):
        if number:
            sleep(PAUSE_S)
        idle = 0 if sweeping.round() else idle + 1
        if sweeping.is_settled or idle == IDLE_ROUNDS:
            break
    return Sweep(at=now(), swept=sweeping.swept())


@dataclass(frozen=True)
class _State:
    """What has become of a leftover so far; once settled it is not tried again."""

    outcome: Outcome
    reason: str = ""
    settled: bool = True


class _Sweeping:
    """A sweep in progress."""

    def __init__(self, caller: Caller, marks: Marks, found: tuple[Found, ...]) -> None:
        order = [one.kind for one in kinds()]
        self.caller, self.marks = caller, marks
        self.given = sorted(
            found, key=lambda one: (_parent(one, found) is not None, order.index(one.kind))
        )
        self._known: dict[Found, _State] = {}

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing left to try."""
        return all(state.settled for state in self._known.values())

    def swept(self) -> tuple[Swept, ...]:
        """What became of each."""
        return tuple(
            Swept(kind=one.kind, id=mask(one.id, self.caller.account_id),
                  outcome=state.outcome, reason=state.reason)
            for one, state in self._known.items()
        )  # fmt: skip

    def round(self) -> bool:
        """Try whatever is not settled; True where something has moved."""
        before = dict(self._known)
        for one in self.given:
            if one not in self._known or not self._known[one].settled:
                self._known[one] = self._try(one)
        return before != self._known

    def _try(self, one: Found) -> _State:
        if one.kept or not one.owned:
            return _State("untouched", one.kept or FOREIGN)
        if parent := _parent(one, self.given):
            return replace(self._known[parent], reason=f"goes with {parent.kind} {parent.id}")
        try:
            return self._removed(one)
        except ClientError as error:
            if is_gone(error):
                return _State("removed")
            # what else stands in the way may go away; a missing permission does not come
            return _State("failed", sentence(error), settled=is_denied(error))

    def _removed(self, one: Found) -> _State:
        item = self._fresh(one)
        if item is None or item.ended:
            return _State("removed")
        if not self._owned(one, item):
            return _State("untouched", f"{FOREIGN} any more")
        if not item.leaving:
            self._remove(item)
            item = self._fresh(one)
        if item is None or item.ended:
            return _State("removed")
        return _State("leaving", item.state, settled=False)

    def _fresh(self, one: Found) -> Item | None:
        """The leftover as it is now; None where it is gone."""
        items = listed(self.caller, kind(one.kind), one.region, one.parent)
        return next((item for item in items if item.id == one.id), None)

    def _owned(self, one: Found, item: Item) -> bool:
        """Whether it, or what it is inside of, carries this run's tag now."""
        tags = item.tags(self.caller)
        if tags is None:
            parents = listed(self.caller, kind(kind(one.kind).within), one.region)
            parent = next((each for each in parents if each.id == one.parent), None)
            tags = parent.tags(self.caller) if parent else {}
        return self.marks.owns(tags or {})

    def _remove(self, item: Item) -> None:
        service, region = item.kind.service, item.region
        for step in item.kind.remove:
            rows = self.caller.rows(service, region, step.each, item.facts) if step.each else [()]
            for row in rows:
                arguments = fill(step.arguments, {**item.facts, "each": row})
                self.caller.do(service, region, step.call, arguments)


def _parent(one: Found, given: Iterable[Found]) -> Found | None:
    """What takes it along when it is removed: an image goes with its repository."""
    own = kind(one.kind)
    if own.tags is not None:
        return None
    return next((each for each in given if (each.kind, each.id) == (own.within, one.parent)), None)


def frame(made: Sweep) -> pd.DataFrame:
    """What became of each leftover, for people."""
    return pd.DataFrame(
        {
            "Kind": [one.kind for one in made.swept],
            "Id": [one.id for one in made.swept],
            "Outcome": [one.outcome for one in made.swept],
            "Why": [one.reason for one in made.swept],
        }
    )
