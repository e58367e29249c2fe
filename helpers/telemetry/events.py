"""What happened during a load: events from every source, added to the run's log.

Every event has a source. An event is identified by kind, time, source and subject, so that
gathering twice adds nothing twice. A source that does not answer raises `Problem`.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from helpers.cloud.account import Account, asking
from helpers.cloud.stack import Stack
from helpers.cluster import client as clusters
from helpers.cluster import contract, nodes
from helpers.cluster.client import Cluster
from helpers.errors import Problem
from helpers.run import Run, iso
from helpers.telemetry.access import Access
from helpers.telemetry.prometheus_api import Prometheus
from helpers.telemetry.records import EventSource, EventSources
from helpers.telemetry.series import NO_PROMETHEUS, Window

STAGE = "05"
NO_CLUSTER = "a rehearsal has no cluster"
NO_GROUP = "a rehearsal has no Auto Scaling group that does anything"
LONGEST_TEXT = 200
ERROR_SHARE, FEWEST_ERRORS = 0.05, 3  # of one second's requests: one failure is not a burst
REASONS: dict[str, str] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
_RESCALED = re.compile(r"New size: (\d+)|[Ss]caled (up|down)")
_SPOT = re.compile(r"spot (instance )?interruption|rebalance recommendation", re.IGNORECASE)


@dataclass(frozen=True)
class ObservedEvent:
    """An event that one of the sources observed."""

    kind: str  # as in the run's event log
    at: datetime  # when, UTC
    source: str  # who observed it
    subject: str = ""  # what it happened to
    text: str = ""  # the source's message; may be empty
    until: datetime | None = None  # when it ended; None for a single moment


def gather(run: Run, window: Window, access: Access) -> EventSources:
    """Query every source for events during the load, add them to the run's log, and record it.

    A source that cannot be queried is recorded with the reason; the others are queried anyway.
    """
    server, cluster, account = access.prometheus, access.cluster, access.account
    stack = run.find(Stack)
    group = stack.gpu_asg_name if stack else ""
    queries: dict[str, tuple[str, Iterator[ObservedEvent] | None]] = {
        "load engine": ("", _load_errors(run)),
        "Prometheus alerts": (NO_PROMETHEUS, alert_events(server, window) if server else None),
        "GPU clocks": (NO_PROMETHEUS, throttling_events(server, window) if server else None),
        "Kubernetes": (
            NO_CLUSTER, _cluster_events(run, cluster, window.start) if cluster else None),
        "Auto Scaling group": (
            NO_GROUP, scaling_events(account, group, window.start) if account and group else None),
    }  # fmt: skip
    sources = []
    for name, (absent, query) in queries.items():
        added = 0
        if query is not None:  # a generator: the query runs now
            try:
                added, absent = add_to_log(run, STAGE, list(query)), ""
            except Problem as problem:
                absent = problem.what
        sources.append(EventSource(name=name, added=added, absent=absent))
    return run.save(EventSources(sources=tuple(sources)))


def frame(gathered: EventSources) -> pd.DataFrame:
    """One row per source."""
    rows = [(source.name, "–" if source.absent else source.added, source.absent)
            for source in gathered.sources]  # fmt: skip
    return pd.DataFrame(rows, columns=["Source", "New events", "Not queried because"])


def add_to_log(run: Run, stage: str, events: Iterable[ObservedEvent]) -> int:
    """Add the events that are not in the run's log yet; returns how many were added."""
    known = {_key(event) for event in run.events()}
    added = 0
    for event in sorted(events, key=lambda event: event.at):
        details = {"at": iso(event.at), "source": event.source, "subject": event.subject,
                   "text": event.text[:LONGEST_TEXT]}  # fmt: skip
        details |= {"until": iso(event.until)} if event.until else {}
        key = _key({"kind": event.kind, **details})
        if key not in known:
            known.add(key)
            run.event(event.kind, stage, **details)
            added += 1
    return added


def alert_events(server: Prometheus, window: Window) -> Iterator[ObservedEvent]:
    """Each time an alert fired, from Prometheus."""
    labels = ("alertname", "model", "pod", "gpu", "job")
    for values, start, end in _stretches(server, 'ALERTS{alertstate="firing"}', window, labels):
        subject = " ".join(value for value in values if value)
        yield ObservedEvent("alert", start, "Prometheus", subject, "fired", end)


def throttling_events(server: Prometheus, window: Window) -> Iterator[ObservedEvent]:
    """Each time a GPU's clocks were reduced, by reason, from DCGM or NVML."""
    query = (
        "sum by (gpu, clock_event) (DCGM_EXP_CLOCK_EVENTS_COUNT"
        '{clock_event=~"hw_.*|sw_thermal|power_cap"}) > 0'
    )
    for values, start, end in _stretches(server, query, window, ("gpu", "clock_event")):
        yield ObservedEvent("throttling", start, "DCGM", f"GPU {' '.join(values)}", "", end)


def _stretches(
    server: Prometheus, query: str, window: Window, labels: Iterable[str]
) -> Iterator[tuple[tuple[str, ...], datetime, datetime]]:
    """Label values, start and end of each stretch of samples without a gap."""
    step_s = window.step_s
    samples = server.query_range(query, window.start, window.end, step_s).dropna(subset=["value"])
    names = [name for name in labels if name in samples]
    if samples.empty or not names:
        return
    samples[names] = samples[names].fillna("")
    for values, rows in samples.groupby(names, sort=False):
        times = rows["time"].sort_values()
        gaps = times.diff().dt.total_seconds().gt(1.5 * step_s).cumsum()
        for _, stretch in times.groupby(gaps):
            key = values if isinstance(values, tuple) else (values,)
            start, end = stretch.iloc[0].to_pydatetime(), stretch.iloc[-1].to_pydatetime()
            yield tuple(map(str, key)), start, end


def _load_errors(run: Run) -> Iterator[ObservedEvent]:
    """Error bursts: consecutive seconds in which a relevant share of the requests failed."""
    started = {event["scenario"]: event["at"] for event in run.events("load-start")}
    for scenario, at in started.items():
        try:
            requests = run.load_table(f"requests-{scenario}", ["intended_s", "outcome"])
        except Problem:
            continue
        seconds = (requests["intended_s"] // 1).astype(int)
        failed = requests["outcome"].ne("ok").groupby(seconds).agg(["sum", "mean"])
        bad = failed[failed["sum"].ge(FEWEST_ERRORS) & failed["mean"].ge(ERROR_SHARE)]
        for _, burst in bad.groupby((bad.index.to_series().diff() != 1).cumsum()):
            first, end = (datetime.fromisoformat(at) + timedelta(seconds=int(second))
                          for second in (burst.index[0], burst.index[-1] + 1))  # fmt: skip
            text = f"{int(burst['sum'].sum())} requests failed"
            yield ObservedEvent("error-burst", first, "load engine", scenario, text, end)


def _cluster_events(run: Run, cluster: Cluster, since: datetime) -> Iterator[ObservedEvent]:
    nodes.record_pulled_images(run, cluster)
    with clusters.asking("The cluster's events"):
        events = cluster.core.list_event_for_all_namespaces().items
        pods = cluster.core.list_namespaced_pod(contract.load().namespaces.triton).items
    yield from kubernetes_events(events, since)
    yield from restart_events(pods, since)


def kubernetes_events(events: Iterable[Any], since: datetime) -> Iterator[ObservedEvent]:
    """The cluster's own events about pods, nodes and scaling."""
    for event in events:
        at = event.event_time or event.last_timestamp or event.first_timestamp
        kind = _kubernetes_kind(event.reason or "", event.message or "")
        if kind and at and at >= since:
            subject = f"{event.involved_object.kind} {event.involved_object.name}"
            message = event.message or ""
            yield ObservedEvent(kind, at.astimezone(UTC), "Kubernetes", subject, message)


def restart_events(pods: Iterable[Any], since: datetime) -> Iterator[ObservedEvent]:
    """Containers that ended and were restarted; a crash leaves no event of its own."""
    for pod in pods:
        for status in pod.status.container_statuses or ():
            last = status.last_state if status.restart_count else None
            ended = last.terminated if last else None
            if ended and ended.finished_at and ended.finished_at >= since:
                text = f"{status.name} ended ({ended.reason}, exit status {ended.exit_code})"
                at = ended.finished_at.astimezone(UTC)
                subject = f"Pod {pod.metadata.name}"
                yield ObservedEvent("pod-restart", at, "Kubernetes", subject, text)


def scaling_events(account: Account, group: str, since: datetime) -> Iterator[ObservedEvent]:
    """The activities of the GPU nodes' Auto Scaling group."""
    with asking(f"the activities of {group}"):
        pages = account.client("autoscaling").get_paginator("describe_scaling_activities")
        activities = [activity for page in pages.paginate(AutoScalingGroupName=group)
                      for activity in page["Activities"]]  # fmt: skip
    for activity in activities:
        if activity["StartTime"] < since:
            continue
        description = activity.get("Description", "")
        kind = "node-added" if description.startswith("Launching") else "node-removed"
        if _SPOT.search(activity.get("Cause", "")):
            kind = "spot-interruption"
        at = activity["StartTime"].astimezone(UTC)
        yield ObservedEvent(kind, at, "Auto Scaling group", group, description)


def _kubernetes_kind(reason: str, message: str) -> str:
    """The kind of a Kubernetes event in the run's log; empty if it is ignored."""
    if reason == "Killing":  # also the reason for a deleted pod
        return "pod-restart" if "will be restarted" in message else ""
    if reason not in ("ScalingReplicaSet", "SuccessfulRescale"):
        return REASONS.get(reason, "")
    match = _RESCALED.search(message)
    down = match and (match[2] == "down" or "below target" in message)
    return "scale-down" if down else "scale-up" if match else ""


def _key(event: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(event.get(name, "")) for name in ("kind", "at", "source", "subject"))
