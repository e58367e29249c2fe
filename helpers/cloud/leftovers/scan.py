"""Looks for everything a run may have left: every kind, listed in full and judged item by item."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jmespath
import pandas as pd
from botocore.exceptions import ClientError

from helpers.cloud.account import Account
from helpers.cloud.leftovers import commands
from helpers.cloud.leftovers.calls import Ask, Caller, is_gone, mask, sentence, tags_of
from helpers.cloud.leftovers.claims import Marks
from helpers.cloud.leftovers.kinds import Kind, kinds
from helpers.run import Run, now
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


@dataclass(frozen=True)
class Item:
    """One listed resource.

    Attributes:
        kind: Its kind.
        region: Where it is.
        facts: What the templates of its kind know: id, name, parent, vpc, item, account, region.
        state: Its state; empty where it has none.
    """

    kind: Kind
    region: str
    facts: Mapping[str, Any]
    state: str

    @property
    def id(self) -> str:
        """Its identifier."""
        return str(self.facts["id"])

    @property
    def ended(self) -> bool:
        """Whether it is gone but for its name."""
        return self.state in self.kind.ended

    @property
    def leaving(self) -> bool:
        """Whether it is on its way out."""
        return self.state in self.kind.leaving

    def tags(self, caller: Caller) -> dict[str, str] | None:
        """Its tags as they are now; None where its kind has none of its own.

        Raises:
            ClientError: AWS refuses.
        """
        match self.kind.tags:
            case None:
                return None
            case Ask() as ask:
                return caller.tags(self.kind.service, self.region, ask, self.facts)
            case path:
                return tags_of(jmespath.search(path, self.facts["item"]))


def scan(
    run: Run,
    account: Account,
    *,
    vpcs: Iterable[str] = (),
    only: Iterable[str] = (),
    caller: Caller | None = None,
) -> Scan:
    """Look for everything the run may have left, and for what looks as if it were ours.

    Args:
        run: Whose resources are looked for.
        account: Where.
        vpcs: VPCs known to be the run's, also when they are gone.
        only: Kinds to look for; empty looks for all.
        caller: Who asks; given by who looks more than once, since making clients takes seconds.

    Raises:
        Problem: The credentials are missing or have expired, or AWS cannot be reached. A list
            that AWS refuses is no Problem: it stands among `not_scanned`.
    """
    wanted = set(only) or {one.kind for one in kinds()}
    chosen = [one for one in kinds() if one.kind in wanted]
    looking = _Looking(caller or Caller.of(account), Marks.of(run, frozenset(filter(None, vpcs))))
    looking.look([one for one in chosen if not one.within])
    looking.look([one for one in chosen if one.within])
    order = [one.kind for one in kinds()]
    return Scan(
        at=now(),
        filters=looking.marks.filters,
        looked=tuple(looking.looked),
        found=tuple(sorted(looking.found, key=lambda one: (order.index(one.kind), one.id))),
    )


class _Looking:
    """One look in progress: what is known so far decides where to look next."""

    def __init__(self, caller: Caller, marks: Marks) -> None:
        self.caller, self.marks = caller, marks
        self.looked: list[Looked] = []
        self.found: list[Found] = []

    def look(self, chosen: list[Kind]) -> None:
        """List kinds, and keep what counts as ours."""
        read = [
            (one, region, *self._listed(one, region))
            for one in chosen
            for region in one.places(self.caller.account.region)
        ]
        self._learn_vpcs(item for _, _, items, _ in read for item in items)
        for one, region, items, problem in read:
            problems, found = [problem] if problem else [], 0
            for item in items:
                try:
                    found += self._judge(item)
                except ClientError as error:
                    if not is_gone(error):
                        problems.append(f"{item.id}: {sentence(error)}")
            call = f"{one.service}.{one.list.call}"
            self.looked.append(
                Looked(kind=one.kind, call=call, region=region, listed=len(items), found=found,
                       problem="; ".join(problems[:3]))
            )  # fmt: skip

    def _listed(self, one: Kind, region: str) -> tuple[list[Item], str]:
        items: list[Item] = []
        try:
            for parent in self._parents(one):
                items += listed(self.caller, one, region, parent)
        except ClientError as error:
            return items, sentence(error)
        return [item for item in items if not item.ended], ""

    def _parents(self, one: Kind) -> list[str]:
        if not one.within:
            return [""]
        return [found.id for found in self.found if found.kind == one.within and not found.kept]

    def _parent(self, item: Item) -> Found:
        place = (item.kind.within, item.facts["parent"])
        return next(one for one in self.found if (one.kind, one.id) == place)

    def _learn_vpcs(self, items: Iterable[Item]) -> None:
        """A VPC that is ours makes ours what is in it."""
        for item in items:
            if item.kind.kind == "VPC":
                name, tags = str(item.facts["name"]), item.tags(self.caller) or {}
                if self.marks.reasons(name, tags, ""):
                    self.marks = self.marks.beside(frozenset({item.id}))

    def _judge(self, item: Item) -> bool:
        tags = item.tags(self.caller)
        if tags is None:
            parent = self._parent(item)
            reasons, owned = parent.inherited, parent.owned
        else:
            name, vpc = str(item.facts["name"]), str(item.facts["vpc"])
            reasons, owned = self.marks.reasons(name, tags, vpc), self.marks.owns(tags)
        if not reasons:
            return False
        self.found.append(
            Found(
                kind=item.kind.kind,
                region=item.region,
                id=item.id,
                parent=item.facts["parent"],
                reasons=reasons,
                state=item.state,
                owned=owned,
                leaving=item.leaving,
                kept=self.marks.kept(item.kind.kind, item.id, tags or {}),
                command=commands.command(self.caller, item.kind, item.region, item.facts),
            )
        )
        return True


def listed(caller: Caller, one: Kind, region: str, parent: str = "") -> list[Item]:
    """Everything of a kind, whoever it belongs to.

    Raises:
        ClientError: AWS refuses.
        Problem: The credentials have expired, or AWS cannot be reached.
    """
    place = {"account": caller.account_id, "region": region, "parent": parent}
    rows = caller.rows(one.service, region, one.list, place)
    return [item for row in rows for item in _items(caller, one, region, place, row)]


def _items(
    caller: Caller, one: Kind, region: str, place: dict[str, str], row: Any
) -> Iterator[Item]:
    """The item of a row; none where the detail says that it is gone, or not of the kind."""
    rows = [row]
    if one.detail:
        try:
            rows = caller.rows(one.service, region, one.detail, {**place, "id": row})
        except ClientError as error:
            if not is_gone(error):
                raise
            rows = []
    for item in rows:
        identity = str(jmespath.search(one.id, item))
        name = jmespath.search(one.name, item) if one.name else re.split("[/:]", identity)[-1]
        vpc = jmespath.search(one.vpc, item) if one.vpc else ""
        state = jmespath.search(one.state, item) if one.state else ""
        facts = {**place, "id": identity, "name": name or "", "vpc": vpc or "", "item": item}
        yield Item(one, region, facts, str(state or ""))


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
