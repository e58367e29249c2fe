"""What Grafana is given of a run: its events as annotations, its dashboards as snapshots."""

from helpers.errors import Problem, Unavailable
from helpers.promises import Status, Tick, claim, tick
from helpers.run import Run
from helpers.telemetry import annotations
from helpers.telemetry.access import NO_GRAFANA, Access
from helpers.telemetry.grafana import Grafana
from helpers.telemetry.report import Shown, Snapshots
from helpers.telemetry.snapshots import of_file, window_of

PROMISE = "04.annotations"
SNAPSHOT_DAYS = 30
SIZE = (1400, 1300)


def show(run: Run, access: Access) -> Tick:
    """Make the run's events annotations, read them back, and say so in the checklist.

    Args:
        run: The run.
        access: Whom it can ask; without a Grafana the promise is NOT REHEARSED.

    Raises:
        Problem: Grafana refuses, or cannot be reached.
    """
    if access.grafana is None:
        made = len(annotations.of_run(run))
        note = f"{NO_GRAFANA}; {made} events are lines in them"
        return tick(run, PROMISE, Status.NOT_REHEARSED, note=note)
    annotations.publish(run, access.grafana)
    found = access.grafana.annotations([annotations.TAG, annotations.run_tag(run)])
    shown = Shown(grafana=access.grafana.health().version, annotations=len(found))
    run.save(shown)
    if not run.events("load-start"):
        return tick(run, PROMISE, Status.NOT_REHEARSED, note="no load yet; stage 05 shows it")
    kinds = {tag for one in found for tag in one["tags"]}
    holds = len(found) >= len(annotations.of_run(run)) and "load-start" in kinds
    note = f"{len(found)} annotations read back from Grafana {shown.grafana}"
    return claim(run, PROMISE, holds=holds, evidence=shown.path(), note=note)


def keep(run: Run, taken: Snapshots, grafana: Grafana | None) -> Snapshots:
    """Have Grafana keep the snapshots too, and draw its own pictures where it can.

    Args:
        run: The run.
        taken: What was kept as files.
        grafana: Where there is one.

    Raises:
        Problem: Grafana refuses, or cannot be reached.
    """
    if grafana is None:
        return taken
    seconds = SNAPSHOT_DAYS * 24 * 3600
    boards = tuple(
        one.model_copy(
            update={"url": grafana.snapshot(of_file(run, one), f"{run.run_id} {one.name}", seconds)}
        )
        for one in taken.boards
    )
    kept = taken.model_copy(update={"boards": boards})
    run.save(kept)
    _render(run, kept, grafana)
    return kept


def _render(run: Run, taken: Snapshots, grafana: Grafana) -> None:
    window = window_of(run)
    try:
        for one in taken.boards:
            picture = grafana.render(f"gpu-e2e-{one.name}", window.start, window.end, SIZE)
            run.write(one.picture.replace(".png", ".grafana.png"), picture)
    except Unavailable as reason:
        print(f"No pictures of Grafana's own: {reason}")
    except Problem as problem:
        print(f"Grafana's own pictures are missing: {problem}")
