"""The records that stages 04 and 05 write about telemetry."""

from helpers.run import Record
from helpers.scenario import Settings


class SeriesFacts(Settings):
    """One series of the catalogue, as read back from Prometheus.

    Attributes:
        name: The catalogue's name.
        title: Title of the series.
        unit: Unit of the values.
        query: The PromQL query.
        samples: Number of values Prometheus returned.
        absent: Why there are no values; empty if there are some.
    """

    name: str
    title: str
    unit: str
    query: str
    samples: int
    absent: str


class Targets(Record, stage="04", name="targets"):
    """What Prometheus scrapes.

    Attributes:
        prometheus: Version of Prometheus.
        up: Scrape job → whether the last scrape succeeded.
        scrape_interval_s: Seconds between two scrapes.
        gpu: Name of the sampled GPU, or why there is none.
        retention: How long Prometheus keeps samples.
        series: How many series it holds in memory.
    """

    prometheus: str
    up: dict[str, bool]
    scrape_interval_s: float
    gpu: str
    retention: str = ""
    series: int = 0

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
    """How the queries of one dashboard were answered.

    Attributes:
        name: Its name in `k8s/dashboards`.
        title: Title of the series.
        panels: Number of panels.
        queries: Number of queries in these panels.
        answered: Queries that returned at least one value.
        values: Number of values returned.
        absent: Panel and query without a value → the likely reason.
    """

    name: str
    title: str
    panels: int
    queries: int
    answered: int
    values: int
    absent: dict[str, str]


class Dashboards(Record, stage="04", name="dashboards"):
    """The result of evaluating every dashboard query while Triton was under load.

    Attributes:
        prometheus: Version of Prometheus.
        requests: Requests sent to Triton during the check.
        note: A warning about the data; empty if all of it was measured.
        boards: One entry per dashboard.
    """

    prometheus: str
    requests: int
    note: str
    boards: tuple[DashboardFacts, ...]

    @property
    def all_answered(self) -> bool:
        """Whether every query returned a value."""
        return bool(self.boards) and all(
            board.queries == board.answered > 0 for board in self.boards
        )

    @property
    def summary(self) -> str:
        """One sentence: how many queries were answered."""
        queries = sum(board.queries for board in self.boards)
        answered = sum(board.answered for board in self.boards)
        return (
            f"{answered} of {queries} queries of {len(self.boards)} dashboards answered by "
            f"Prometheus {self.prometheus}; pictures drawn by matplotlib, not Grafana"
            f"{f'; {self.note}' if self.note else ''}"
        )


class RuleChecks(Record, stage="04", name="rules"):
    """The result of checking the rules with promtool.

    Attributes:
        promtool: Version of promtool.
        recording: Number of recording rules.
        alerts: Number of alerts.
        tests: Files with unit tests.
        failures: Errors that promtool reported; empty if there are none.
    """

    promtool: str
    recording: int
    alerts: int
    tests: tuple[str, ...]
    failures: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One sentence: number of rules, and whether promtool accepts them."""
        counts = f"{self.recording} recording rules and {self.alerts} alerts"
        if self.failures:
            return f"{counts}; promtool {self.promtool} rejects: {'; '.join(self.failures)}"
        return f"{counts}; {len(self.tests)} files of unit tests pass promtool {self.promtool}"


class ChartCheck(Record, stage="04", name="provision"):
    """The rendered chart with dashboards and rules, compared with the files in the repository.

    Attributes:
        helm: Version of helm.
        dashboards: ConfigMaps for Grafana's sidecar.
        rules: PrometheusRule objects.
        largest_bytes: Size of the largest dashboard.
        faults: Differences from the repository; empty if there are none.
    """

    helm: str
    dashboards: int
    rules: int
    largest_bytes: int
    faults: tuple[str, ...]


class Telemetry(Record, stage="05", name="telemetry"):
    """The series read back after the load test, and mean utilisation under load.

    Attributes:
        start: Start of the window, UTC.
        end: End of the window, UTC.
        series: The series that belong to a load test.
        cpu_utilisation_pct: Mean CPU utilisation of this machine under load; None if absent.
        gpu_utilisation_pct: Mean GPU utilisation under load; None without a GPU.
        gpu_absent: Why there is no GPU figure; empty if there is one.
    """

    start: str
    end: str
    series: tuple[SeriesFacts, ...]
    cpu_utilisation_pct: float | None
    gpu_utilisation_pct: float | None
    gpu_absent: str


class EventSource(Settings):
    """A source that was queried for events.

    Attributes:
        name: Name of the source.
        added: Number of events that were new to the run's log.
        absent: Why it was not queried or did not answer; empty if it answered.
    """

    name: str
    added: int
    absent: str


class EventSources(Record, stage="05", name="events"):
    """The sources that were queried for events during the load."""

    sources: tuple[EventSource, ...]

    @property
    def summary(self) -> str:
        """One sentence: which sources answered, with how many events."""
        answered = [f"{source.name} {source.added}" for source in self.sources if not source.absent]
        return (
            f"events beyond the load's own: {', '.join(answered) or 'no source could be queried'}"
        )


class DashboardSnapshot(Settings):
    """The files that keep one dashboard with its data.

    Attributes:
        name: Its name in `k8s/dashboards`.
        values: Number of values.
        page: The self-contained page, relative to the run's folder.
        grafana: The body for Grafana's snapshot API (POST /api/snapshots).
        picture: The PNG; an SVG is next to it.
        url: Address of the snapshot in Grafana; empty without Grafana.
    """

    name: str
    values: int
    page: str
    grafana: str
    picture: str
    url: str = ""


class Snapshots(Record, stage="05", name="snapshots"):
    """Every dashboard with its data at the end of the load.

    Attributes:
        start: Start of the time shown, UTC.
        end: End of the time shown, UTC.
        boards: One entry per dashboard.
        events: Number of events marked on the time axes.
        absent: Why there are no snapshots; empty if there are some.
    """

    start: str
    end: str
    boards: tuple[DashboardSnapshot, ...]
    events: int
    absent: str = ""

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
    """The run's events, read back from Grafana.

    Attributes:
        grafana: Version of Grafana.
        annotations: Number of annotations it returned.
    """

    grafana: str
    annotations: int
