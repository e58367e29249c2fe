"""Looks for everything a run may have left: every kind, listed in full and judged item by item."""

from collections.abc import Iterable

from botocore.exceptions import ClientError

from helpers.cloud.account import Account
from helpers.cloud.leftovers import commands
from helpers.cloud.leftovers.calls import Caller, is_gone, sentence
from helpers.cloud.leftovers.claims import Marks
from helpers.cloud.leftovers.findings import Found, Looked, Scan
from helpers.cloud.leftovers.items import Item, listed
from helpers.cloud.leftovers.kinds import Kind, kinds
from helpers.run import Run, now


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
