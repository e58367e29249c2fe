"""The run's events as marks on a time axis: which are shown, and what they are called."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from helpers.run import Run

# kind → what people read; the events of stages and services are not among them
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
class Mark:
    """One event on a time axis.

    Attributes:
        kind: The event's kind.
        at: When, UTC.
        until: When it was over; None where it has no length, or is not over.
        text: What people read.
        source: Who saw it.
    """

    kind: str
    at: datetime
    until: datetime | None
    text: str
    source: str


def of_run(run: Run, start: datetime | None = None, end: datetime | None = None) -> list[Mark]:
    """The events of a run that belong on a time axis, oldest first.

    Args:
        run: The run.
        start: Leave out what was over before; None leaves out nothing.
        end: Leave out what began later.
    """
    marks = sorted(_marks(run.events()), key=lambda mark: mark.at)
    return [
        one
        for one in marks
        if (end is None or one.at <= end) and (start is None or (one.until or one.at) >= start)
    ]


def _marks(events: list[dict[str, Any]]) -> Iterator[Mark]:
    for place, event in enumerate(events):
        if event["kind"] in NAMES:
            yield Mark(
                kind=event["kind"],
                at=_moment(event["at"]),
                until=_end(events[place + 1 :], event),
                text=_text(event),
                source=str(event.get("source") or SOURCES.get(event["kind"], "")),
            )


def _end(later: list[dict[str, Any]], event: dict[str, Any]) -> datetime | None:
    if until := event.get("until"):
        return _moment(until)
    stop = REGIONS.get(event["kind"], "")
    for other in later:
        if other["kind"] == stop and _subject(other) == _subject(event):
            return _moment(other["at"])
    return None


def _subject(event: dict[str, Any]) -> list[str]:
    return [str(event[key]) for key in SUBJECTS if event.get(key)]


def _text(event: dict[str, Any]) -> str:
    return " ".join([NAMES[event["kind"]], " · ".join(_subject(event))]).strip()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
