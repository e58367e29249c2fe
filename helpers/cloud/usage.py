"""How long what stood: read from the run's events, so that it survives kernels and laptops."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from helpers.run import Run

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Span:
    """So many of something, from one moment to another.

    Attributes:
        start: When it began, UTC.
        end: When it ended, or until when is reckoned.
        count: How many.
    """

    start: datetime
    end: datetime
    count: int = 1

    @property
    def hours(self) -> float:
        """Its length."""
        return (self.end - self.start).total_seconds() / 3600


@dataclass(frozen=True)
class Usage:
    """What stood, and how long.

    Attributes:
        stack: From the beginning of an apply to the end of the destroy that removed it; what
            comes later in an apply is thereby counted a little too long, never too short.
        gpu_nodes: GPU nodes, by how many there were.
        load_balancers: Load balancers, by how many there were.
        until: Until when is reckoned, UTC.
        standing: Whether the stack stands at that moment.
    """

    stack: tuple[Span, ...]
    gpu_nodes: tuple[Span, ...]
    load_balancers: tuple[Span, ...]
    until: datetime
    standing: bool

    @property
    def hours(self) -> float:
        """How long the stack stood, hours."""
        return sum(one.hours for one in self.stack)

    @property
    def gpu_hours(self) -> float:
        """GPU nodes times hours."""
        return sum(one.hours * one.count for one in self.gpu_nodes)

    @property
    def gpus_now(self) -> int:
        """GPU nodes at the end of it."""
        return self.gpu_nodes[-1].count if self.standing and self.gpu_nodes else 0

    @property
    def load_balancers_now(self) -> int:
        """Load balancers at the end of it."""
        return self.load_balancers[-1].count if self.standing and self.load_balancers else 0


def of(run: Run, until: datetime) -> Usage:
    """What stood until a moment; later than now it is reckoned as if nothing changed."""
    events = [one for one in run.events() if moment(one) <= until]
    stack, standing = _stack(events, until)
    gone = [one.end for one in stack if one.end < until or not standing]
    return Usage(
        stack=stack,
        gpu_nodes=_counts(events, "gpu-nodes", gone, until),
        load_balancers=_counts(events, "load-balancers", gone, until),
        until=until,
        standing=standing,
    )


def moment(event: Event) -> datetime:
    """When an event happened."""
    return datetime.fromisoformat(event["at"])


def _stack(events: Iterable[Event], until: datetime) -> tuple[tuple[Span, ...], bool]:
    """An apply that failed half-way has begun to cost; a destroy that failed has not ended it."""
    spans: list[Span] = []
    began: datetime | None = None
    for event in events:
        if event["kind"] == "stack-apply-start" and began is None:
            began = moment(event)
        finished = event["kind"] == "stack-destroy-stop" and event.get("outcome") == "finished"
        if finished and began is not None:
            spans.append(Span(began, moment(event)))
            began = None
    if began is not None:
        spans.append(Span(began, until))
    return tuple(spans), began is not None


def _counts(
    events: Iterable[Event], kind: str, gone: Iterable[datetime], until: datetime
) -> tuple[Span, ...]:
    """Steps of a count; the end of the stack takes it to zero."""
    steps = [(moment(one), int(one["count"])) for one in events if one["kind"] == kind]
    steps = sorted([*steps, *((end, 0) for end in gone)], key=lambda step: step[0])
    steps.append((until, 0))
    return tuple(
        Span(at, end, count) for (at, count), (end, _) in itertools.pairwise(steps) if count
    )
