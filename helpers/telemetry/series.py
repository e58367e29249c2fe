"""The time series of a run: read from Prometheus once, for figures, dashboards and records.

Table `metrics` (parquet and CSV), one row per sample: `time` (UTC), `series` (name in the
catalogue), `label` (distinguishes the lines of a series; may be empty), `value` (float).
What queries raises `Problem` if Prometheus does not answer, or rejects a query.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pandas as pd

from helpers.errors import Problem
from helpers.run import Run, iso
from helpers.telemetry.catalogue import LOAD_SERIES, NO_GPU, SERIES, Series
from helpers.telemetry.prometheus import gpu_absence
from helpers.telemetry.prometheus_api import Prometheus
from helpers.telemetry.records import SeriesFacts, Telemetry

TABLE = "metrics"
COLUMNS = ["time", "series", "label", "value"]
MARGIN = timedelta(seconds=5)
SCRAPES_IN_WINDOW = 5  # a rate needs two; the others allow for late scrapes
MOST_POINTS = 3600  # per line: every scrape of an hour
CPU, GPU_UTILISATION = SERIES["cpu_utilisation"], SERIES["gpu_utilisation"]
FINISHED = "finished"  # the outcome of a load that was not interrupted
NO_PROMETHEUS = "there is no Prometheus on this machine"


@dataclass(frozen=True)
class Window:
    """A period of time that is read from Prometheus."""

    start: datetime  # start, UTC
    end: datetime  # end, UTC
    interval_s: float  # seconds between two scrapes

    @property
    def step_s(self) -> float:
        """Seconds between two points: one scrape, or more in a long window."""
        seconds = (self.end - self.start).total_seconds()
        return max(self.interval_s, seconds / MOST_POINTS)

    @property
    def range_s(self) -> float:
        """How far rates and means look back, so that no scrape between two points is lost."""
        return max(self.step_s + self.interval_s, SCRAPES_IN_WINDOW * self.interval_s)


Period = tuple[datetime, datetime]  # from the first request of a scenario to its last answer


def read(server: Prometheus, window: Window, wanted: Iterable[Series] = ()) -> pd.DataFrame:
    """The values of all or some series over a window, in the columns of the table `metrics`."""
    tables = []
    for series in wanted or SERIES.values():
        query = series.query(window.range_s)
        values = server.query_range(query, window.start, window.end, window.step_s)
        values["series"] = series.name
        values["label"] = values[series.label].fillna("") if series.label in values else ""
        tables.append(values.dropna(subset=["value"])[COLUMNS])
    return pd.concat(tables, ignore_index=True)


def collect(run: Run, server: Prometheus | None) -> Telemetry:
    """Read every series over the window of the load, and utilisation under load alone.

    Saves the table `metrics` (every series) and the record `Telemetry` (those of the load).
    """
    window, periods = load_window(run), load_periods(run)
    if server is None:
        table = pd.DataFrame(columns=COLUMNS)
        no_gpu, cpu_mean, gpu_mean = NO_PROMETHEUS, None, None
    else:
        table = read(server, window)
        no_gpu = gpu_absence(server, window.end)
        cpu_mean = _mean_under_load(server, CPU, periods)
        gpu_mean = _mean_under_load(server, GPU_UTILISATION, periods)
    run.save_table(TABLE, table)
    samples = table["series"].value_counts()
    facts = []
    for series in LOAD_SERIES:
        count = int(samples.get(series.name, 0))
        known = no_gpu if series.absence == NO_GPU or server is None else ""
        absent = "" if count else known or series.absence
        facts.append(SeriesFacts(
            name=series.name, title=series.title, unit=series.unit, samples=count, absent=absent,
            query=series.query(window.range_s),
        ))  # fmt: skip
    telemetry = Telemetry(
        start=iso(window.start), end=iso(window.end), series=tuple(facts),
        cpu_utilisation_pct=cpu_mean, gpu_utilisation_pct=gpu_mean,
        gpu_absent="" if gpu_mean is not None else no_gpu or NO_GPU,
    )  # fmt: skip
    return run.save(telemetry)


def load_window(run: Run) -> Window:
    """The time of all loads of a run, with a margin on both sides."""
    periods = load_periods(run)
    start = min(start for start, _ in periods) - MARGIN
    # beyond now, Prometheus would continue the last values
    end = min(max(end for _, end in periods) + MARGIN, datetime.now(UTC))
    return Window(start, end, run.profile.telemetry.scrape_interval_s)


def load_periods(run: Run) -> list[Period]:
    """When the run was under load: the last finished load of each scenario, oldest first.

    Raises `Problem` if there is none.
    """
    started: dict[str, datetime] = {}
    finished: dict[str, Period] = {}
    for event in run.events():
        if event["kind"] == "load-start":
            started[event["scenario"]] = datetime.fromisoformat(event["at"])
        elif event["kind"] == "load-stop" and event["scenario"] in started:
            start = started.pop(event["scenario"])
            if event.get("outcome", FINISHED) == FINISHED:
                finished[event["scenario"]] = start, datetime.fromisoformat(event["at"])
    if not finished:
        raise Problem(f"Run {run.run_id} has no finished load.", "Run the load of stage 05 first.")
    return sorted(finished.values())


def frame(telemetry: Telemetry) -> pd.DataFrame:
    """What was read, as a table."""
    means = telemetry.cpu_utilisation_pct, telemetry.gpu_utilisation_pct
    shown = {series.name: f"{mean:.1f}"
             for series, mean in zip((CPU, GPU_UTILISATION), means, strict=True)
             if mean is not None}  # fmt: skip
    rows = [(facts.title, facts.unit, facts.samples, shown.get(facts.name, ""), facts.absent)
            for facts in telemetry.series]  # fmt: skip
    columns = ["Series", "Unit", "Samples", "Mean under load", "Absent because"]
    return pd.DataFrame(rows, columns=columns)


def catalogue_frame() -> pd.DataFrame:
    """The series of a load test, as a table; the queries are those of a scrape every second."""
    rows = [(series.title, series.unit, series.label, series.query(SCRAPES_IN_WINDOW),
             series.absence) for series in LOAD_SERIES]  # fmt: skip
    columns = ["Series", "Unit", "One line for each", "PromQL", "If absent"]
    return pd.DataFrame(rows, columns=columns)


def _mean_under_load(server: Prometheus, series: Series, periods: Sequence[Period]) -> float | None:
    """Mean over all periods under load; a range as long as each period excludes the pauses."""
    weighted, seconds = 0.0, 0.0
    for start, end in periods:
        length_s = (end - start).total_seconds()
        values = server.query(series.query(length_s), end)["value"].dropna()
        if not values.empty:
            weighted += float(values.mean()) * length_s
            seconds += length_s
    return weighted / seconds if seconds else None
