"""The records that stages 04 and 05 write about telemetry."""

from helpers.run import Record
from helpers.scenario import Settings

CHECKED = "CHECKED, not measured"


class SeriesFacts(Settings):
    """One series of the catalogue, as read back from Prometheus."""

    name: str  # the catalogue's name
    title: str  # title of the series
    unit: str  # unit of the values
    query: str  # the PromQL query
    samples: int  # number of values Prometheus returned
    absent: str  # why there are no values; empty if there are some


class Targets(Record, stage="04", name="targets"):
    """What Prometheus scrapes."""

    prometheus: str  # version of Prometheus
    up: dict[str, bool]  # scrape job → whether the last scrape succeeded
    scrape_interval_s: float  # seconds between two scrapes
    gpu: str  # name of the sampled GPU, or why there is none
    retention: str = ""  # how long Prometheus keeps samples
    series: int = 0  # how many series it holds in memory

    @property
    def all_up(self) -> bool:
        """Whether every target was scraped."""
        return bool(self.up) and all(self.up.values())

    @property
    def summary(self) -> str:
        """One sentence: which targets are up."""
        up = [job for job, is_up in self.up.items() if is_up]
        return f"Prometheus {self.prometheus}: {len(up)} of {len(self.up)} targets up"


class DashboardFacts(Settings):
    """How the queries of one dashboard were answered."""

    name: str  # its name in `k8s/dashboards`
    title: str  # title of the dashboard
    panels: int  # number of panels
    queries: int  # number of queries in these panels
    answered: int  # queries that returned at least one value
    values: int  # number of values returned
    absent: dict[str, str]  # panel and query without a value → the likely reason


class Dashboards(Record, stage="04", name="dashboards"):
    """The result of evaluating every dashboard query while Triton was under load."""

    prometheus: str  # version of Prometheus
    requests: int  # requests sent to Triton during the check
    note: str  # why queries have no value; empty if all have one
    boards: tuple[DashboardFacts, ...]  # one entry per dashboard

    @property
    def all_answered(self) -> bool:
        """Whether every query returned a value, but for those that are only CHECKED."""
        absent = [why for board in self.boards for why in board.absent.values()]
        answered = any(board.answered for board in self.boards)
        return answered and all(why.startswith(CHECKED) for why in absent)

    @property
    def summary(self) -> str:
        """One sentence: how many queries were answered."""
        queries = sum(board.queries for board in self.boards)
        answered = sum(board.answered for board in self.boards)
        return (
            f"{answered} of {queries} queries of {len(self.boards)} dashboards answered by "
            f"Prometheus {self.prometheus}{f'; {self.note}' if self.note else ''}"
        )


class RuleChecks(Record, stage="04", name="rules"):
    """The result of checking the rules with promtool."""

    promtool: str  # version of promtool
    recording: int  # number of recording rules
    alerts: int  # number of alerts
    tests: tuple[str, ...]  # files with unit tests
    failures: tuple[str, ...]  # errors that promtool reported; empty if there are none

    @property
    def summary(self) -> str:
        """One sentence: number of rules, and whether promtool accepts them."""
        counts = f"{self.recording} recording rules and {self.alerts} alerts"
        if self.failures:
            return f"{counts}; promtool {self.promtool} rejects: {'; '.join(self.failures)}"
        return f"{counts}; {len(self.tests)} files of unit tests pass promtool {self.promtool}"


class ChartCheck(Record, stage="04", name="provision"):
    """The rendered chart with dashboards and rules, compared with the files in the repository."""

    helm: str  # version of helm
    dashboards: int  # configMaps for Grafana's sidecar
    rules: int  # PrometheusRule objects
    largest_bytes: int  # size of the largest dashboard
    faults: tuple[str, ...]  # differences from the repository; empty if there are none


class Telemetry(Record, stage="05", name="telemetry"):
    """The series read back after the load test, and mean utilisation under load."""

    start: str  # start of the window, UTC
    end: str  # end of the window, UTC
    series: tuple[SeriesFacts, ...]  # the series that belong to a load test
    # mean CPU utilisation of this machine under load; None if absent
    cpu_utilisation_pct: float | None
    gpu_utilisation_pct: float | None  # mean GPU utilisation under load; None without a GPU
    gpu_absent: str  # why there is no GPU figure; empty if there is one


class EventSource(Settings):
    """A source that was queried for events."""

    name: str  # name of the source
    added: int  # number of events that were new to the run's log
    absent: str  # why it was not queried or did not answer; empty if it answered


class EventSources(Record, stage="05", name="events"):
    """The sources that were queried for events during the load."""

    sources: tuple[EventSource, ...]


class DashboardSnapshot(Settings):
    """The files that keep one dashboard with its data."""

    name: str  # its name in `k8s/dashboards`
    values: int  # number of values
    page: str  # the self-contained page, relative to the run's folder
    grafana: str  # the body for Grafana's snapshot API (POST /api/snapshots)
    picture: str  # the PNG, with an SVG next to it; empty if there is nothing to draw
    url: str = ""  # address of the snapshot in Grafana; empty without Grafana


class Snapshots(Record, stage="05", name="snapshots"):
    """Every dashboard with its data at the end of the load."""

    start: str  # start of the time shown, UTC
    end: str  # end of the time shown, UTC
    boards: tuple[DashboardSnapshot, ...] = ()  # one entry per dashboard
    events: int = 0  # number of events marked on the time axes
    absent: str = ""  # why there are no snapshots; empty if there are some

    @property
    def has_data(self) -> bool:
        """Whether the snapshots contain data."""
        return bool(self.boards) and sum(board.values for board in self.boards) > 0

    @property
    def summary(self) -> str:
        """One sentence: number of dashboards, values and events."""
        values = sum(board.values for board in self.boards)
        kept = sum(bool(board.url) for board in self.boards)
        grafana = f"; {kept} in Grafana" if kept else "; no Grafana to publish them to"
        return (
            f"{len(self.boards)} dashboards with {values:,} values and {self.events} events, "
            f"as pages and as Grafana snapshots{grafana}"
        )


class PublishedAnnotations(Record, stage="05", name="annotations"):
    """The run's events, read back from Grafana."""

    grafana: str  # version of Grafana
    annotations: int  # number of annotations it returned
