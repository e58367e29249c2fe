"""The run's events as annotations in Grafana."""

from typing import Any

from helpers.run import Run
from helpers.telemetry import marks
from helpers.telemetry.grafana import Annotation, Grafana
from helpers.telemetry.marks import Mark

TAG = "gpu-e2e"


def run_tag(run: Run) -> str:
    """The tag that the run's annotations are found by."""
    return f"run:{run.run_id}"


def of_run(run: Run) -> list[Annotation]:
    """The run's events as annotations: what has a length is a region."""
    return [_annotation(run, one) for one in marks.of_run(run)]


def publish(run: Run, grafana: Grafana) -> int:
    """Make the annotations that Grafana does not have yet; returns how many were made.

    It may be called again and again: an event is annotated once, and a region that was a line
    because it had not ended is made anew.

    Raises:
        Problem: Grafana refuses, or cannot be reached.
    """
    known = grafana.annotations([TAG, run_tag(run)])
    made = 0
    for one in of_run(run):
        same = [found for found in known if one.is_as(found)]
        if any(_ends_alike(one, found) for found in same):
            continue
        for found in same:
            grafana.delete_annotation(int(found["id"]))
        grafana.annotate(one)
        made += 1
    return made


def _annotation(run: Run, mark: Mark) -> Annotation:
    tags = (TAG, run_tag(run), mark.kind, *([f"source:{mark.source}"] if mark.source else []))
    return Annotation(mark.at, mark.text, tags, mark.until)


def _ends_alike(one: Annotation, found: dict[str, Any]) -> bool:
    """Grafana gives a line the same end as its begin."""
    wanted = one.body.get("timeEnd", one.body["time"])
    return bool((found.get("timeEnd") or found["time"]) == wanted)
