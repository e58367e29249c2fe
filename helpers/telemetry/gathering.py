"""Asks everybody who may have seen something during the load, and keeps what they tell."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TypeVar

import pandas as pd

from helpers.cloud.account import Account
from helpers.cloud.reports import Stack
from helpers.cluster import contract
from helpers.cluster.client import Cluster, asking
from helpers.errors import Problem
from helpers.run import Run
from helpers.telemetry import events
from helpers.telemetry.answers import Window
from helpers.telemetry.events import Happening
from helpers.telemetry.report import EventSources, SourceFacts
from helpers.telemetry.server import Server

T = TypeVar("T")
STAGE = "05"
NO_CLUSTER = "a rehearsal has no cluster"
NO_GROUP = "a rehearsal has no Auto Scaling group that does anything"


def gather(
    run: Run,
    window: Window,
    *,
    server: Server | None,
    cluster: Cluster | None = None,
    account: Account | None = None,
) -> EventSources:
    """Put what happened during the load into the run's event log, and record who was asked.

    A source that cannot be asked is named with its reason; the others are asked all the same.

    Args:
        run: The run.
        window: The time of the load.
        server: The Prometheus that watched; None where there was none.
        cluster: The cluster; None in a rehearsal.
        account: The AWS account of the Auto Scaling group; None in a rehearsal.
    """
    stack = run.find(Stack)
    facts = [
        _ask(run, "load engine", lambda: _errors(run), ""),
        _ask(run, "Prometheus alerts", lambda: events.of_alerts(_needed(server), window),
             "" if server else "there is no Prometheus on this machine"),
        _ask(run, "GPU clocks", lambda: events.of_throttling(_needed(server), window),
             "" if server else "there is no Prometheus on this machine"),
        _ask(run, "Kubernetes", lambda: _cluster(_needed(cluster), window.start),
             "" if cluster else NO_CLUSTER),
        _ask(run, "Auto Scaling group",
             lambda: events.of_asg(_needed(account), _needed(stack).gpu_asg_name, window.start),
             "" if account and stack else NO_GROUP),
    ]  # fmt: skip
    sources = EventSources(sources=tuple(facts))
    run.save(sources)
    return sources


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


def _ask(run: Run, name: str, seen: Callable[[], Iterable[Happening]], absent: str) -> SourceFacts:
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
