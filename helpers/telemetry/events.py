"""What happened during a load, from those who saw it, into the run's event log.

Every event has its source. Who is asked twice tells nothing twice: an event is known by kind,
time, source and subject.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from helpers.cloud.account import Account, asking
from helpers.run import Run
from helpers.telemetry.answers import Window
from helpers.telemetry.server import Server

LONGEST_TEXT = 200
ERRORS_SHARE, FEWEST_ERRORS = 0.05, 3  # of a second's requests, so that one failure is no burst
# Kubernetes' reasons (kubelet, node controller, autoscalers, AWS's termination handler) → kind
REASONS = {
    "BackOff": "pod-restart",
    "RegisteredNode": "node-added",
    "RemovingNode": "node-removed",
    "DeletingNode": "node-removed",
    "TriggeredScaleUp": "scale-up",
    "ScaledUpGroup": "scale-up",
    "ScaleDown": "scale-down",
    "ScaleDownEmpty": "scale-down",
    "SpotInterruption": "spot-interruption",
    "RebalanceRecommendation": "spot-interruption",
}
_RESCALED = re.compile(r"New size: (\d+)|[Ss]caled (up|down)")
_SPOT = re.compile(r"spot (instance )?interruption|rebalance recommendation", re.IGNORECASE)


@dataclass(frozen=True)
class Happening:
    """One event that somebody saw.

    Attributes:
        kind: As in the run's event log.
        at: When, UTC.
        source: Who saw it.
        subject: What it happened to.
        text: What was said; may be empty.
        until: When it was over; None where it has no length.
    """

    kind: str
    at: datetime
    source: str
    subject: str = ""
    text: str = ""
    until: datetime | None = None

    @property
    def facts(self) -> dict[str, str]:
        """As the event log holds it."""
        facts = {"at": _iso(self.at), "source": self.source, "subject": self.subject,
                 "text": self.text[:LONGEST_TEXT]}  # fmt: skip
        return facts | ({"until": _iso(self.until)} if self.until else {})


def log(run: Run, stage: str, happenings: Iterable[Happening]) -> int:
    """Put events into the run's log, those that are not in it yet; returns how many.

    Args:
        run: The run.
        stage: The stage that asked.
        happenings: What was seen; each keeps the time it happened at.
    """
    known = {_key(event) for event in run.events()}
    fresh = {
        _key({"kind": one.kind, **one.facts}): one
        for one in sorted(happenings, key=lambda one: one.at)
    }
    added = [one for key, one in fresh.items() if key not in known]
    for one in added:
        run.event(one.kind, stage, **one.facts)
    return len(added)


def of_alerts(server: Server, window: Window) -> Iterator[Happening]:
    """Each time an alert fired, from Prometheus.

    Raises:
        Problem: Prometheus does not answer.
    """
    fired = server.query_range(
        'ALERTS{alertstate="firing"}', window.start, window.end, window.step_s
    )
    labels = [name for name in ("alertname", "model", "pod", "gpu", "job") if name in fired]
    for names, start, end in _stretches(fired, labels, window.step_s):
        subject = " ".join(name for name in names if name)
        yield Happening("alert", start, "Prometheus", subject, "fired", end)


def of_throttling(server: Server, window: Window) -> Iterator[Happening]:
    """Each time a GPU's clocks were held down, by reason, from DCGM or NVML.

    Raises:
        Problem: Prometheus does not answer.
    """
    reasons = 'clock_event=~"hw_.*|sw_thermal|power_cap"'
    held = server.query_range(
        f"sum by (gpu, clock_event) (DCGM_EXP_CLOCK_EVENTS_COUNT{{{reasons}}}) > 0",
        window.start, window.end, window.step_s,
    )  # fmt: skip
    labels = [name for name in ("gpu", "clock_event") if name in held]
    for names, start, end in _stretches(held, labels, window.step_s):
        yield Happening("throttling", start, "DCGM", f"GPU {' '.join(names)}", "", end)


def of_errors(started: datetime, scenario: str, requests: pd.DataFrame) -> Iterator[Happening]:
    """Bursts of errors: neighbouring seconds of which a good part of the requests failed.

    Args:
        started: The scenario's second 0, UTC.
        scenario: Its name.
        requests: Its table; `intended_s` and `outcome` are read.
    """
    if requests.empty:
        return
    seconds = (requests["intended_s"] // 1).astype(int)
    failed = requests["outcome"].ne("ok").groupby(seconds).agg(["sum", "mean"])
    bad = failed[failed["sum"].ge(FEWEST_ERRORS) & failed["mean"].ge(ERRORS_SHARE)]
    for _, burst in bad.groupby((bad.index.to_series().diff() != 1).cumsum()):
        first, last = int(burst.index[0]), int(burst.index[-1])
        yield Happening(
            "error-burst",
            started + timedelta(seconds=first),
            "load engine",
            scenario,
            f"{int(burst['sum'].sum())} requests failed",
            started + timedelta(seconds=last + 1),
        )


def of_kubernetes(found: Iterable[Any], since: datetime) -> Iterator[Happening]:
    """What the cluster's own events tell of pods, nodes and scaling.

    Args:
        found: Event objects of the kubernetes client (`CoreV1Event`).
        since: Leave out what happened earlier.
    """
    for one in found:
        at = one.event_time or one.last_timestamp or one.first_timestamp
        kind = _kind(one.reason or "", one.message or "")
        if kind and at and at >= since:
            subject = f"{one.involved_object.kind} {one.involved_object.name}"
            yield Happening(kind, at.astimezone(UTC), "Kubernetes", subject, one.message or "")


def of_pods(found: Iterable[Any], since: datetime) -> Iterator[Happening]:
    """Containers that ended and were started again; a crash leaves no event of its own.

    Args:
        found: Pods of the kubernetes client (`V1Pod`).
        since: Leave out what happened earlier.
    """
    for pod in found:
        for one in pod.status.container_statuses or ():
            ended = one.last_state.terminated if one.restart_count and one.last_state else None
            if ended and ended.finished_at and ended.finished_at >= since:
                said = f"{one.name} ended ({ended.reason}, exit status {ended.exit_code})"
                at = ended.finished_at.astimezone(UTC)
                yield Happening("pod-restart", at, "Kubernetes", f"Pod {pod.metadata.name}", said)


def of_asg(account: Account, group: str, since: datetime) -> Iterator[Happening]:
    """What the Auto Scaling group of the GPU nodes did.

    Args:
        account: Whom to ask.
        group: The group's name.
        since: Leave out what happened earlier.

    Raises:
        Problem: AWS refuses or cannot be reached.
    """
    with asking(f"the activities of {group}"):
        client = account.client("autoscaling")
        pages = client.get_paginator("describe_scaling_activities")
        found = [one for page in pages.paginate(AutoScalingGroupName=group)
                 for one in page["Activities"]]  # fmt: skip
    for one in found:
        if one["StartTime"] >= since:
            at, said = one["StartTime"].astimezone(UTC), one.get("Description", "")
            yield Happening(_activity(one), at, "Auto Scaling group", group, said)


def _kind(reason: str, message: str) -> str:
    """A run's kind of event for a reason of Kubernetes; empty where it is none."""
    if reason in ("ScalingReplicaSet", "SuccessfulRescale"):
        match = _RESCALED.search(message)
        if match is None:
            return ""
        return "scale-down" if match[2] == "down" or "below target" in message else "scale-up"
    if reason == "Killing":  # also said of a pod that is deleted
        return "pod-restart" if "will be restarted" in message else ""
    return REASONS.get(reason, "")


def _activity(one: dict[str, Any]) -> str:
    if _SPOT.search(one.get("Cause", "")):
        return "spot-interruption"
    launched = one.get("Description", "").startswith("Launching")
    return "node-added" if launched else "node-removed"


def _stretches(
    found: pd.DataFrame, labels: list[str], step_s: float
) -> Iterator[tuple[tuple[str, ...], datetime, datetime]]:
    """The labels, begin and end of each stretch of samples without a gap."""
    found = found.dropna(subset=["value"])
    if found.empty:
        return
    named = found.assign(**{name: found[name].fillna("") for name in labels})
    for names, rows in named.groupby(labels, sort=False):
        times = rows["time"].sort_values()
        gaps = times.diff().dt.total_seconds().gt(1.5 * step_s).cumsum()
        for _, stretch in times.groupby(gaps):
            told = tuple(map(str, names if isinstance(names, tuple) else (names,)))
            yield told, stretch.iloc[0].to_pydatetime(), stretch.iloc[-1].to_pydatetime()


def _key(event: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(event.get(name, "")) for name in ("kind", "at", "source", "subject"))


def _iso(moment: datetime) -> str:
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
