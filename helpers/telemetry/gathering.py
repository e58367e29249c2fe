"""Asks everybody who may have seen something during the load, and keeps what they tell."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TypeVar

import pandas as pd

from helpers.cloud.stack import Stack
from helpers.cluster import contract
from helpers.cluster.client import Cluster, asking
from helpers.errors import Problem
from helpers.run import Run
from helpers.telemetry import events
from helpers.telemetry.access import Access
from helpers.telemetry.answers import Window
from helpers.telemetry.events import Happening
from helpers.telemetry.report import EventSources, SourceFacts
from helpers.telemetry.series import NO_PROMETHEUS

T = TypeVar("T")
STAGE = "05"
NO_CLUSTER = "a rehearsal has no cluster"
NO_GROUP = "a rehearsal has no Auto Scaling group that does anything"


def gather(run: Run, window: Window, access: Access) -> EventSources:
    """Put what happened during the load into the run's event log, and record who was asked.

    A source that cannot be asked is named with its reason; the others are asked all the same.

    Args:
        run: The run.
        window: The time of the load.
        access: Whom it can ask.
    """
    sources = EventSources(
        sources=tuple(_ask(run, *one) for one in _witnesses(run, window, access))
    )
    run.save(sources)
    return sources


def _witnesses(
    run: Run, window: Window, access: Access
) -> Iterator[tuple[str, str, Callable[[], Iterable[Happening]]]]:
    """Name, why it cannot be asked, and how it is asked."""
    server, stack = access.server, run.find(Stack)
    group = stack.gpu_asg_name if stack else ""
    unwatched = "" if server else NO_PROMETHEUS
    yield "load engine", "", lambda: _errors(run)
    yield "Prometheus alerts", unwatched, lambda: events.of_alerts(_needed(server), window)
    yield "GPU clocks", unwatched, lambda: events.of_throttling(_needed(server), window)
    yield (
        "Kubernetes",
        "" if access.cluster else NO_CLUSTER,
        lambda: _cluster(_needed(access.cluster), window.start),
    )
    yield (
        "Auto Scaling group",
        "" if access.account and group else NO_GROUP,
        lambda: events.of_asg(_needed(access.account), group, window.start),
    )


def frame(sources: EventSources) -> pd.DataFrame:
    """One row a source, for people."""
    return pd.DataFrame(
        {
            "Source": one.name,
            "New events": "–" if one.absent else one.added,
            "Not asked because": one.absent,
        }
        for one in sources.sources
    )


def _ask(run: Run, name: str, absent: str, seen: Callable[[], Iterable[Happening]]) -> SourceFacts:
    if absent:
        return SourceFacts(name=name, added=0, absent=absent)
    try:
        return SourceFacts(name=name, added=events.log(run, STAGE, list(seen())), absent="")
    except Problem as problem:
        return SourceFacts(name=name, added=0, absent=problem.what)


def _errors(run: Run) -> Iterator[Happening]:
    """Bursts of errors of every scenario that was fired to its end."""
    started = {one["scenario"]: one["at"] for one in run.events("load-start")}
    for scenario, at in started.items():
        try:
            requests = run.load_table(f"requests-{scenario}", ["intended_s", "outcome"])
        except Problem:
            continue
        yield from events.of_errors(datetime.fromisoformat(at), scenario, requests)


def _cluster(cluster: Cluster, since: datetime) -> Iterator[Happening]:
    with asking("The cluster's events"):
        found = cluster.core.list_event_for_all_namespaces().items
        pods = cluster.core.list_namespaced_pod(contract.load().namespaces.triton).items
    yield from events.of_kubernetes(found, since)
    yield from events.of_pods(pods, since)


def _needed(thing: T | None) -> T:
    assert thing is not None
    return thing
