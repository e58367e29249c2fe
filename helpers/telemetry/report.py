"""What stages 04 and 05 record of the telemetry.

Table `metrics` (parquet and CSV), one row a sample: `time` (UTC timestamp), `series` (name in the
catalogue), `label` (what tells several lines of a series apart; may be empty), `value` (float).
"""

from helpers.run import Record
from helpers.scenario import Settings


class SeriesFacts(Settings):
    """One series of the catalogue, as it was read back.

    Attributes:
        name: The catalogue's name.
        title: What people read.
        unit: Unit of the values.
        query: The PromQL that was asked.
        samples: How many values came back.
        absent: Why there are none; empty where there are some.
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
        prometheus: Version of the server.
        up: Scrape job → whether its last scrape succeeded.
        scrape_interval_s: Seconds between two scrapes.
        gpu: Name of the GPU that is sampled, or why there is none.
        retention: How long it keeps what it scraped.
        series: How many series its memory holds.
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


class BoardFacts(Settings):
    """One dashboard, asked.

    Attributes:
        name: Its name in `k8s/dashboards`.
        title: What people read.
        panels: How many it has.
        queries: How many they ask.
        answered: How many queries had a value.
        values: How many values came back.
        absent: Panel and query without a value → what that means.
    """

    name: str
    title: str
    panels: int
    queries: int
    answered: int
    values: int
    absent: dict[str, str]


class Dashboards(Record, stage="04", name="dashboards"):
    """Every query of every dashboard, asked of a Prometheus that scraped Triton under load.

    Attributes:
        prometheus: Version of the server.
        requests: Requests that Triton was sent meanwhile.
        note: What a reader must know of the data; empty where all of it was measured.
        boards: One for each dashboard.
    """

    prometheus: str
    requests: int
    note: str
    boards: tuple[BoardFacts, ...]

    @property
    def all_answered(self) -> bool:
        """Whether every query had a value, and there is one."""
        return bool(self.boards) and all(one.queries == one.answered > 0 for one in self.boards)

    @property
    def summary(self) -> str:
        """One sentence: how many queries were answered, and by what."""
        queries = sum(one.queries for one in self.boards)
        answered = sum(one.answered for one in self.boards)
        return (
            f"{answered} of {queries} queries of {len(self.boards)} dashboards answered by "
            f"Prometheus {self.prometheus}, drawn from their JSON, not by Grafana"
            f"{f'; {self.note}' if self.note else ''}"
        )


class Rules(Record, stage="04", name="rules"):
    """The rules, as promtool judges them.

    Attributes:
        promtool: Version of promtool.
        recording: How many recording rules there are.
        alerts: How many alerts.
        tests: Files of unit tests that passed.
        failures: What promtool found wrong; empty where nothing is.
    """

    promtool: str
    recording: int
    alerts: int
    tests: tuple[str, ...]
    failures: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One sentence: how many, and whether they hold."""
        found = f"{self.recording} recording rules and {self.alerts} alerts"
        if self.failures:
            return f"{found}; promtool {self.promtool} refuses: {'; '.join(self.failures)}"
        return f"{found}; {len(self.tests)} files of unit tests pass promtool {self.promtool}"


class Provision(Record, stage="04", name="provision"):
    """The chart that brings dashboards and rules into the cluster, as the real helm renders it.

    Attributes:
        helm: Version of helm.
        dashboards: ConfigMaps for Grafana's sidecar.
        rules: PrometheusRule objects.
        largest_bytes: Size of the largest dashboard.
        faults: What is not rendered as it stands in the repository; empty where nothing is.
    """

    helm: str
    dashboards: int
    rules: int
    largest_bytes: int
    faults: tuple[str, ...]


class Telemetry(Record, stage="05", name="telemetry"):
    """The series of the load test, and utilisation while under load.

    Attributes:
        start: UTC, begin of the window.
        end: UTC, end of the window.
        series: Every series of the catalogue.
        cpu_utilisation_pct: Mean CPU utilisation of this machine under load; None where absent.
        gpu_utilisation_pct: Mean GPU utilisation under load; None where there is no GPU.
        gpu_absent: Why there is no GPU figure; empty where there is one.
    """

    start: str
    end: str
    series: tuple[SeriesFacts, ...]
    cpu_utilisation_pct: float | None
    gpu_utilisation_pct: float | None
    gpu_absent: str


class SourceFacts(Settings):
    """Somebody who may have seen an event.

    Attributes:
        name: Who.
        added: How many events were new to the run's log.
        absent: Why it was not asked, or did not answer; empty where it did.
    """

    name: str
    added: int
    absent: str


class EventSources(Record, stage="05", name="events"):
    """Who was asked what happened during the load."""

    sources: tuple[SourceFacts, ...]

    @property
    def summary(self) -> str:
        """One sentence: who answered, and with how many events."""
        asked = [f"{one.name} {one.added}" for one in self.sources if not one.absent]
        return f"events beyond the load's own: {', '.join(asked) or 'nobody could be asked'}"


class BoardSnapshot(Settings):
    """One dashboard, kept with its data.

    Attributes:
        name: Its name in `k8s/dashboards`.
        values: Values inside.
        page: The page that opens without anything else, relative to the run's folder.
        grafana: The same as Grafana takes it (POST /api/snapshots).
        picture: PNG; the SVG lies beside it.
        url: Where Grafana shows it; empty where no Grafana was asked.
    """

    name: str
    values: int
    page: str
    grafana: str
    picture: str
    url: str = ""


class Snapshots(Record, stage="05", name="snapshots"):
    """Every dashboard as it stood at the end of the load.

    Attributes:
        start: UTC, begin of the time shown.
        end: UTC, end of it.
        boards: One for each dashboard.
        events: Marks on their time axes.
        absent: Why nothing was kept; empty where something was.
    """

    start: str
    end: str
    boards: tuple[BoardSnapshot, ...]
    events: int
    absent: str = ""

    @property
    def has_data(self) -> bool:
        """Whether the snapshots hold data."""
        return bool(self.boards) and sum(one.values for one in self.boards) > 0

    @property
    def summary(self) -> str:
        """One sentence: how many, and with how much in them."""
        values = sum(one.values for one in self.boards)
        kept = sum(bool(one.url) for one in self.boards)
        grafana = f"; {kept} in Grafana" if kept else "; no Grafana was asked"
        return (
            f"{len(self.boards)} dashboards with {values:,} values and {self.events} events, "
            f"as pages and as Grafana snapshots{grafana}"
        )


class Scale(Record, stage="05", name="telemetry-scale"):
    """What watching costs.

    Attributes:
        scrape_interval_s: Seconds between two scrapes.
        retention: How long Prometheus keeps what it scraped.
        series: Series in Prometheus's memory.
        samples_per_second: Samples it took in each second, mean over the load.
        sampler_cpu_pct: CPU time of the sampler, per cent of one core, mean over the load.
        prometheus_cpu_pct: The same of Prometheus.
        prometheus_memory_mib: Resident memory of Prometheus at the end of the load.
    """

    scrape_interval_s: float
    retention: str
    series: int
    samples_per_second: float
    sampler_cpu_pct: float | None
    prometheus_cpu_pct: float | None
    prometheus_memory_mib: float | None


class Shown(Record, stage="05", name="annotations"):
    """The run's events in Grafana, read back.

    Attributes:
        grafana: Its version.
        annotations: How many it gave back.
    """

    grafana: str
    annotations: int
