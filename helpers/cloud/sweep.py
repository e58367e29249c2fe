"""Removes what a run has left, and nothing else: tags are read again right before each removal.

Load balancers come first in a teardown: Terraform does not know them, and they block the VPC.
"""

import time
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple, get_args

import pandas as pd
from botocore.exceptions import ClientError

from helpers.cloud.account import Account, is_denied, is_not_found
from helpers.cloud.leftovers import MADE_BY_CLUSTER, Leftover, Marks, error_text, scan
from helpers.cloud.resource_kinds import (
    Caller,
    Item,
    kind_named,
    kinds,
    list_items,
    mask_account,
    remove_item,
)
from helpers.cloud.stack import Stack
from helpers.errors import Problem
from helpers.run import Record, Run, now
from helpers.scenario import Settings

Outcome = Literal["removed", "leaving", "untouched", "failed"]
# A node group takes up to a quarter of an hour, and blocks what it uses until then.
ROUNDS, PAUSE_S, IDLE_ROUNDS = 90, 10.0, 12
FOREIGN = "does not have this run's tag"
LOAD_BALANCER_KINDS = ("load balancer", "classic load balancer", "target group")
# The controller takes a minute or two; the network interfaces go later, and destroy waits for them.
BALANCER_ROUNDS = 45


class Swept(Settings):
    """What became of a leftover."""

    kind: str
    id: str  # without the account's number
    outcome: Outcome
    reason: str = ""  # why it was not touched, or AWS's words why it could not be removed


class Sweep(Record, stage="06", name="sweep"):
    """What a sweep did, and when it ended (UTC)."""

    at: str
    swept: tuple[Swept, ...]

    def count(self, outcome: Outcome) -> int:
        """How many leftovers have this outcome."""
        return sum(item.outcome == outcome for item in self.swept)

    @property
    def summary(self) -> str:
        """One sentence: how many leftovers have which outcome."""
        parts = [f"{count} {name}" for name in get_args(Outcome) if (count := self.count(name))]
        return ", ".join(parts) or "nothing to sweep"


def frame(sweep: Sweep) -> pd.DataFrame:
    """What became of each leftover, for people."""
    rows = [item.model_dump().values() for item in sweep.swept]
    return pd.DataFrame(rows, columns=["Kind", "Id", "Outcome", "Why"])


def remove_leftovers(
    run: Run,
    account: Account,
    items: Iterable[Leftover],
    *,
    rounds: int = ROUNDS,
    sleep: Callable[[float], None] = time.sleep,
    store: bool = True,
) -> Sweep:
    """Remove what has this run's tag, in the order of dependencies.

    What cannot go yet is tried again until it can, or until nothing has changed for a while.
    `items` are what a scan found; `store`: whether the result is the run's record of its sweep.
    """
    sweeper, idle = _Sweeper(Caller.identify(account), Marks.for_run(run), tuple(items)), 0
    for number in range(rounds):
        if number:
            sleep(PAUSE_S)
        idle = 0 if sweeper.try_all() else idle + 1
        if idle == IDLE_ROUNDS or all(state.settled for state in sweeper.states.values()):
            break
    sweep = Sweep(at=now(), swept=tuple(
        Swept(kind=item.kind, id=mask_account(item.id, sweeper.caller.account_id),
              outcome=state.outcome, reason=state.reason)
        for item, state in sweeper.states.items()
    ))  # fmt: skip
    return run.save(sweep) if store else sweep


class _State(NamedTuple):
    """What has become of a leftover so far; once settled it is not tried again."""

    outcome: Outcome
    reason: str = ""
    settled: bool = True


class _Sweeper:
    """A sweep in progress."""

    def __init__(self, caller: Caller, marks: Marks, items: tuple[Leftover, ...]) -> None:
        order = [kind.kind for kind in kinds()]
        self.caller, self.marks = caller, marks
        self.leftovers = sorted(
            items, key=lambda item: (_parent(item, items) is not None, order.index(item.kind))
        )
        self.states: dict[Leftover, _State] = {}

    def try_all(self) -> bool:
        """Try whatever is not settled; True where something has changed."""
        before = dict(self.states)
        for item in self.leftovers:
            if item not in before or not before[item].settled:
                self.states[item] = self._try(item)
        return before != self.states

    def _try(self, leftover: Leftover) -> _State:
        if leftover.kept or not leftover.owned:
            return _State("untouched", leftover.kept or FOREIGN)
        if parent := _parent(leftover, self.leftovers):
            return self.states[parent]._replace(reason=f"goes with {parent.kind} {parent.id}")
        try:
            item = self._current(leftover)
            if item and not self._is_owned(leftover, item):
                return _State("untouched", f"{FOREIGN} any more")
            if item and not item.leaving:
                remove_item(self.caller, item)
                item = self._current(leftover)
            return _State("leaving", item.state, settled=False) if item else _State("removed")
        except ClientError as error:
            if is_not_found(error):
                return _State("removed")
            # another resource in the way may go away; a missing permission will not appear
            return _State("failed", error_text(error), settled=is_denied(error))

    def _current(self, leftover: Leftover) -> Item | None:
        kind = kind_named(leftover.kind)
        items = list_items(self.caller, kind, leftover.region, leftover.parent)
        return next((i for i in items if i.id == leftover.id and not i.ended), None)

    def _is_owned(self, leftover: Leftover, item: Item) -> bool:
        """Whether it, or what it is inside of, is this run's own now."""
        tags, marks = item.tags(self.caller), self.marks
        if item.kind.kind in MADE_BY_CLUSTER:
            for vpc in list_items(self.caller, kind_named("VPC"), leftover.region):
                marks = marks.knowing(vpc, self.caller)
        if tags is None:
            parents = list_items(self.caller, kind_named(item.kind.within), leftover.region)
            parent = next((parent for parent in parents if parent.id == leftover.parent), None)
            tags = parent.tags(self.caller) if parent else {}
        return marks.owns(tags or {}, item.kind.kind, str(item.facts["vpc"]))


def _parent(item: Leftover, others: Iterable[Leftover]) -> Leftover | None:
    """What includes it when it is removed: an image goes with its repository."""
    kind = kind_named(item.kind)
    place = (kind.within, item.parent) if kind.tags is None else None
    return next((other for other in others if (other.kind, other.id) == place), None)


def free_network(run: Run, account: Account) -> tuple[Swept, ...]:
    """What holds the run's VPC: its own is removed, all else is named with the reason."""
    found = scan(run, account, only=("VPC", *MADE_BY_CLUSTER)).found
    own = {f"VPC {item.id}" for item in found if item.kind == "VPC" and item.owned}
    held = [item for item in found if item.kind != "VPC" and own & {*item.reasons}]
    return remove_leftovers(run, account, held, store=False).swept


class LoadBalancersGone(Record, stage="06", name="load-balancers"):
    """What became of the run's load balancers."""

    at: str  # when, UTC
    seen: int  # how many there were at first
    swept: int  # how many load balancers and target groups had to be removed here
    problem: str = ""  # why it is not known that all are gone; it does not stop the teardown

    @property
    def summary(self) -> str:
        """One sentence: how many there were, and who removed them, or why they may stay."""
        if self.problem:
            return f"NOT DONE, and the teardown goes on: {self.problem}"
        if not self.seen:
            return "there was no load balancer"
        removed = f"{self.swept} load balancers and target groups removed here"
        return f"{self.seen} load balancers are gone; {removed}"


def count_load_balancers(run: Run, account: Account) -> tuple[Leftover, ...]:
    """The run's load balancers and target groups; the meter counts them from here on."""
    stack = run.find(Stack)
    result = scan(run, account, vpcs=[stack.vpc_id] if stack else [], only=LOAD_BALANCER_KINDS)
    if result.not_scanned:
        raise Problem(
            f"The load balancers cannot be listed: {result.not_scanned[0].problem}.",
            "They cost by the hour and block the VPC's removal: allow what is refused, and repeat.",
        )
    count, before = _balancers(result.found), run.events("load-balancers")
    if count != (before[-1]["count"] if before else 0):
        run.event("load-balancers", count=count, source="ELBv2")
    return result.found


def remove_load_balancers(
    run: Run,
    account: Account,
    *,
    rounds: int = BALANCER_ROUNDS,
    sleep: Callable[[float], None] = time.sleep,
) -> LoadBalancersGone:
    """Remove the run's load balancers; one that has another tag, or stays, is in the record."""
    seen, swept, problem = 0, 0, ""
    try:
        if left := count_load_balancers(run, account):
            seen = _balancers(left)
            sweep = remove_leftovers(run, account, left, rounds=rounds, sleep=sleep, store=False)
            swept, left = sweep.count("removed"), count_load_balancers(run, account)
        if left:
            commands = "\n".join(item.command for item in left)
            raise Problem(
                f"{len(left)} load balancers or target groups of this cluster are left; without "
                "this run's tag they are not removed for you.",
                f"Remove them, and run 06 again:\n{commands}",
            )
    except Problem as reason:  # nodes cost more than what it leaves: they go all the same
        problem = str(reason)
    return run.save(LoadBalancersGone(at=now(), seen=seen, swept=swept, problem=problem))


def _balancers(items: tuple[Leftover, ...]) -> int:
    return sum(item.kind in LOAD_BALANCER_KINDS[:2] for item in items)
