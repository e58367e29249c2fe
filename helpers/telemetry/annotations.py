"""The run's events as annotations on a time axis: which are shown, and with which text."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from helpers.run import Run

# which kinds are shown and with which text, what ends them, and who observed them
KINDS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
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
            text=f"{KINDS['names'][event['kind']]} {' · '.join(_subject(event))}".strip(),
            source=str(event.get("source") or KINDS["sources"].get(event["kind"], "")),
        )
        for number, event in enumerate(events)
        if event["kind"] in KINDS["names"]
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
    stop = KINDS["regions"].get(event["kind"])
    for other in later:
        if other["kind"] == stop and _subject(other) == _subject(event):
            return datetime.fromisoformat(other["at"])
    return None


def _subject(event: dict[str, Any]) -> list[str]:
    return [str(event[key]) for key in SUBJECTS if event.get(key)]
