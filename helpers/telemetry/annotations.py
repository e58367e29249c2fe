"""The run's events as annotations on a time axis: which are shown, and with which text."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from helpers.run import Run

# kind → text; events of stages and services are left out
NAMES = {
    "load-start": "Load Test Start",
    "load-stop": "Load Test Stop",
    "phase-start": "phase",
    "scale-up": "scale-up",
    "scale-down": "scale-down",
    "node-added": "node added",
    "node-removed": "node removed",
    "spot-interruption": "spot interruption notice",
    "pod-restart": "pod restarted",
    "throttling": "GPU throttled",
    "error-burst": "errors",
    "alert": "alert",
}
REGIONS = {"load-start": "load-stop", "phase-start": "phase-stop"}
SOURCES = {"load-start": "load engine", "load-stop": "load engine", "phase-start": "load engine"}
SUBJECTS = ("scenario", "phase", "subject")


@dataclass(frozen=True)
class Annotation:
    """An event on a time axis."""

    kind: str  # kind of the event
    at: datetime  # when, UTC
    until: datetime | None  # when it ended; None for a single moment, or if it has not ended
    text: str  # text for readers
    source: str  # who observed it


def run_annotations(
    run: Run, start: datetime | None = None, end: datetime | None = None
) -> list[Annotation]:
    """The annotations of a run from `start` to `end`, oldest first."""
    events = run.events()
    annotations = [
        Annotation(
            kind=event["kind"],
            at=datetime.fromisoformat(event["at"]),
            until=_end(event, events[number + 1 :]),
            text=f"{NAMES[event['kind']]} {' · '.join(_subject(event))}".strip(),
            source=str(event.get("source") or SOURCES.get(event["kind"], "")),
        )
        for number, event in enumerate(events)
        if event["kind"] in NAMES
    ]
    return [
        annotation
        for annotation in sorted(annotations, key=lambda annotation: annotation.at)
        if (end is None or annotation.at <= end)
        and (start is None or (annotation.until or annotation.at) >= start)
    ]


def _end(event: dict[str, Any], later: list[dict[str, Any]]) -> datetime | None:
    if until := event.get("until"):
        return datetime.fromisoformat(until)
    stop = REGIONS.get(event["kind"], "")
    for other in later:
        if other["kind"] == stop and _subject(other) == _subject(event):
            return datetime.fromisoformat(other["at"])
    return None


def _subject(event: dict[str, Any]) -> list[str]:
    return [str(event[key]) for key in SUBJECTS if event.get(key)]
