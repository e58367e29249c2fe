"""The series that charts and figures are drawn from: which there are, and those of a load test."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pandas as pd

from helpers.errors import Problem
from helpers.run import Run
from helpers.telemetry.catalogue import CATALOGUE, CPU, GPU, NO_GPU, Series
from helpers.telemetry.prometheus import gpu_absent
from helpers.telemetry.report import SeriesFacts, Telemetry
from helpers.telemetry.server import Server

TABLE = "metrics"
COLUMNS = ["time", "series", "label", "value"]
MARGIN = timedelta(seconds=5)
SCRAPES_IN_WINDOW = 5  # a rate needs two; the rest forgives scrapes that come late
MOST_STEPS = 10_000  # Prometheus refuses more than 11,000
FINISHED = "finished"  # the outcome of a load that nothing interrupted
NO_PROMETHEUS = "there is no Prometheus on this machine"


@dataclass(frozen=True)
class Span:
    """A time under load, from the first request of a scenario to its last answer."""

    scenario: str
    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end - self.start).total_seconds()


def collect(run: Run, server: Server | None) -> Telemetry:
    """Read every series back over the window of the load, and utilisation under load alone.

    Saves the table `metrics` and the record `Telemetry`.

    Args:
        run: The run whose load it is.
        server: The Prometheus that watched; None where there was none, and every series is absent.

    Raises:
        Problem: The run has no finished load, or Prometheus does not answer.
    """
    loads = spans(run)
    start, end = window(run)
    if server is None:
        return _nothing(run, start, end)
    no_gpu = gpu_absent(server, end)
    tables = {one.name: _read(run, server, one, start, end) for one in CATALOGUE}
    run.save_table(TABLE, pd.concat(tables.values(), ignore_index=True))
    gpu_mean = _mean_under_load(server, GPU, loads)
    telemetry = Telemetry(
        start=_iso(start),
        end=_iso(end),
        series=tuple(_facts(run, one, len(tables[one.name]), no_gpu) for one in CATALOGUE),
        cpu_utilisation_pct=_mean_under_load(server, CPU, loads),
        gpu_utilisation_pct=gpu_mean,
        gpu_absent="" if gpu_mean is not None else no_gpu or NO_GPU,
    )
    run.save(telemetry)
    return telemetry


def _nothing(run: Run, start: datetime, end: datetime) -> Telemetry:
    """Nobody watched: every series is absent, and says so."""
    run.save_table(TABLE, pd.DataFrame(columns=COLUMNS))
    telemetry = Telemetry(
        start=_iso(start),
        end=_iso(end),
        series=tuple(_facts(run, one, 0, NO_PROMETHEUS) for one in CATALOGUE),
        cpu_utilisation_pct=None,
        gpu_utilisation_pct=None,
        gpu_absent=NO_PROMETHEUS,
    )
    run.save(telemetry)
    return telemetry


def window(run: Run) -> tuple[datetime, datetime]:
    """Begin and end of the time that the run's loads fill, with a margin on both sides.

    Raises:
        Problem: No scenario was fired to its end.
    """
    loads = spans(run)
    start = min(one.start for one in loads) - MARGIN
    # what lies in the future would show the last values as if they went on
    return start, min(max(one.end for one in loads) + MARGIN, datetime.now(UTC))


def spans(run: Run) -> list[Span]:
    """When the run was under load: the last finished firing of each scenario, oldest first.

    Raises:
        Problem: No scenario was fired to its end.
    """
    begun: dict[str, datetime] = {}
    finished: dict[str, Span] = {}
    for event in run.events():
        if event["kind"] == "load-start":
            begun[event["scenario"]] = datetime.fromisoformat(event["at"])
        elif event["kind"] == "load-stop" and event["scenario"] in begun:
            start = begun.pop(event["scenario"])
            if event.get("outcome", FINISHED) == FINISHED:
                end = datetime.fromisoformat(event["at"])
                finished[event["scenario"]] = Span(event["scenario"], start, end)
    if not finished:
        raise Problem(f"Run {run.run_id} has no finished load.", "Run the load of stage 05 first.")
    return sorted(finished.values(), key=lambda span: span.start)


def frame(telemetry: Telemetry) -> pd.DataFrame:
    """What was read back, for people."""
    means = {CPU.name: telemetry.cpu_utilisation_pct, GPU.name: telemetry.gpu_utilisation_pct}
    shown = {name: f"{mean:.1f}" for name, mean in means.items() if mean is not None}
    return pd.DataFrame(
        {
            "Series": [one.title for one in telemetry.series],
            "Unit": [one.unit for one in telemetry.series],
            "Samples": [one.samples for one in telemetry.series],
            "Mean under load": [shown.get(one.name, "") for one in telemetry.series],
            "Absent because": [one.absent for one in telemetry.series],
        }
    )


def catalogue_frame(scrape_interval_s: float = 1.0) -> pd.DataFrame:
    """Every series there is, for people.

    Args:
        scrape_interval_s: Seconds between two scrapes; rates look back over several.
    """
    return pd.DataFrame(
        {
            "Series": [one.title for one in CATALOGUE],
            "Unit": [one.unit for one in CATALOGUE],
            "One line for each": [one.label for one in CATALOGUE],
            "PromQL": [one.query(_window_s(scrape_interval_s)) for one in CATALOGUE],
            "If absent": [one.absence for one in CATALOGUE],
        }
    )


def _window_s(scrape_interval_s: float) -> float:
    return SCRAPES_IN_WINDOW * scrape_interval_s


def _read(run: Run, server: Server, one: Series, start: datetime, end: datetime) -> pd.DataFrame:
    interval = run.profile.telemetry.scrape_interval_s
    step = max(interval, (end - start).total_seconds() / MOST_STEPS)
    found = server.query_range(one.query(_window_s(interval)), start, end, step)
    found["series"] = one.name
    found["label"] = found.get(one.label, "")
    return found[COLUMNS]


def _facts(run: Run, one: Series, samples: int, no_gpu: str) -> SeriesFacts:
    known = no_gpu if one.absence == NO_GPU or no_gpu == NO_PROMETHEUS else ""
    return SeriesFacts(
        name=one.name,
        title=one.title,
        unit=one.unit,
        query=one.query(_window_s(run.profile.telemetry.scrape_interval_s)),
        samples=samples,
        absent="" if samples else known or one.absence,
    )


def _mean_under_load(server: Server, one: Series, loads: list[Span]) -> float | None:
    """Mean over all times under load; a window as long as each leaves the gaps out exactly."""
    weighted, seconds = 0.0, 0.0
    for span in loads:
        found = server.query(one.query(span.seconds), span.end)
        if not found.empty:
            weighted += float(found["value"].mean()) * span.seconds
            seconds += span.seconds
    return weighted / seconds if seconds else None


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
