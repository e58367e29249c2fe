"""The five dashboards, defined once: Grafana's JSON and the run's pictures both come from here.

    python -m helpers.telemetry.dashboards          # write k8s/dashboards/*.json
    python -m helpers.telemetry.dashboards --check  # list the files that are out of date

The committed files contain the targets of the profile `aws`, because that is what the cluster
shows. A run uses the targets of its own profile.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models

from helpers.paths import ROOT
from helpers.profile import Profile
from helpers.scenario import Kpis
from helpers.telemetry import catalogue, rules
from helpers.telemetry.catalogue import Series

FOLDER = ROOT / "k8s" / "dashboards"
COMMITTED_PROFILE = "aws"
TAG = "gpu-e2e"
GRAFANA_STORE = models.DataSourceRef(type_val="grafana", uid="-- Grafana --")
PROMETHEUS = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
MOST_ANNOTATIONS = 500  # events of a session; Grafana's default of 100 would drop the oldest
GRAFANA_UNITS = {
    "1/s": "reqps", "ms": "ms", "%": "percent", "MiB": "mbytes", "GiB": "gbytes", "W": "watt",
    "°C": "celsius", "h": "h", "US$": "currencyUSD", "": "none",
}  # fmt: skip


@dataclass(frozen=True)
class Limit:
    """The target or limit of a panel."""

    value: float  # in the panel's unit
    # whether values must be at least this high (False: values must stay below)
    at_least: bool = False

    def is_broken_by(self, value: float) -> bool:
        """Whether a value is on the wrong side."""
        return value < self.value if self.at_least else value >= self.value


@dataclass(frozen=True)
class Panel:
    """One panel; all its series have the same unit."""

    series: tuple[Series, ...]  # what it shows
    title: str  # title for readers
    legends: tuple[str, ...] = ()  # prefix of each series' lines in the legend; may be empty
    limit: Limit | None = None  # the target line; None if there is none
    # whether it shows the last value as a large figure instead of lines over time
    is_figure: bool = False
    decimals: int | None = None  # decimal places; None chooses them by the size of the value
    is_wide: bool = False  # whether it spans the whole width
    from_zero: bool = True  # whether the axis starts at zero

    @property
    def unit(self) -> str:
        """Unit of its values; empty for a plain number."""
        return self.series[0].unit

    @property
    def description(self) -> str:
        """What its series measure."""
        return "\n\n".join(dict.fromkeys(series.about for series in self.series))

    def line_name(self, series: Series, label: str) -> str:
        """What a line of a series is called in the legend."""
        prefix = "GPU" if series.label == "gpu" else ""  # a number alone would say nothing
        if self.legends:
            prefix = self.legends[self.series.index(series)]
        return f"{prefix} {label}".strip() or series.title


@dataclass(frozen=True)
class Dashboard:
    """One dashboard."""

    name: str  # of its file
    title: str  # title for readers
    description: str  # what it is for
    panels: tuple[Panel, ...]  # in reading order


def build(kpis: Kpis) -> tuple[Dashboard, ...]:
    """All dashboards."""
    limits = rules.limits()
    p95, budget = Limit(kpis.p95_ms), Limit(kpis.cost_usd)
    errors, rate = Limit(kpis.error_rate_pct), Limit(kpis.throughput_rps, at_least=True)
    gpu_used = Limit(kpis.gpu_utilisation_pct, at_least=True)
    time_left = Limit(limits["ttl_seconds"] / 3600, at_least=True)
    return (
        Dashboard(
            "overview",
            "gpu-e2e · Overview",
            "Is the service up, fast and free of errors? Is the GPU used? What does it cost? "
            "Lines across a panel are the profile's targets.",
            (
                _figure(catalogue.UP, Limit(1, at_least=True), decimals=0),
                _figure(catalogue.ALERTS, Limit(1), decimals=0),
                _figure(catalogue.REQUESTS),
                _figure(catalogue.ERROR_SHARE, errors, decimals=2),
                _figure(catalogue.P95, p95),
                _figure(catalogue.GPU_UTILISATION, gpu_used, decimals=0),
                _figure(catalogue.BURN, decimals=2),
                _figure(catalogue.SPENT, budget, decimals=2),
                Panel((catalogue.REQUESTS,), catalogue.REQUESTS.title, limit=rate, is_wide=True),
                _graph(catalogue.P95, p95),
                _graph(catalogue.GPU_UTILISATION, gpu_used),
                _graph(catalogue.CPU),
                _graph(catalogue.PENDING),
            ),
        ),
        Dashboard(
            "latency",
            "gpu-e2e · Latency",
            "How long requests take inside Triton: percentiles from its summaries (it has "
            "histograms only for streaming models), means from its counters. The latency that "
            "the client measures, including the network, is in the figures of stage 05.",
            (
                _graph(catalogue.P50, Limit(kpis.p50_ms)),
                _graph(catalogue.P95, p95),
                _graph(catalogue.P99, Limit(kpis.p99_ms)),
                Panel(
                    (catalogue.QUEUE, catalogue.COMPUTE, catalogue.HAND_OVER),
                    "Where the time goes, mean per request",
                    ("queue", "compute", "hand-over"),
                ),
                _graph(catalogue.QUEUE_P95),
                _graph(catalogue.INFER_P95),
                _graph(catalogue.QUEUE),
                _graph(catalogue.NETWORK),
            ),
        ),
        Dashboard(
            "throughput",
            "gpu-e2e · Throughput",
            "How many requests are answered, how well they are batched, how many wait or fail.",
            (
                _graph(catalogue.REQUESTS, rate),
                _graph(catalogue.INFERENCES),
                _graph(catalogue.BATCH_SIZE),
                _graph(catalogue.PENDING, Limit(limits["pending_requests"])),
                _graph(catalogue.FAILURES),
                _graph(catalogue.ERROR_SHARE, errors),
                _graph(catalogue.MEMORY),
                _graph(catalogue.CPU_BY_ROLE),
            ),
        ),
        Dashboard(
            "gpu",
            "gpu-e2e · GPU",
            "What the GPU does: from the DCGM exporter in the cluster, from NVML on a machine "
            "with a GPU. Without either the panels are empty.",
            (
                _graph(catalogue.GPU_UTILISATION, gpu_used),
                _graph(catalogue.PER_GPU),
                _graph(catalogue.GPU_MEMORY),
                _graph(catalogue.GPU_MEMORY_SHARE, Limit(limits["gpu_memory_pct"])),
                _graph(catalogue.GPU_POWER),
                _graph(catalogue.GPU_TEMPERATURE, Limit(limits["gpu_temperature_celsius"])),
                Panel((catalogue.GPU_CLOCK,), catalogue.GPU_CLOCK.title, from_zero=False),
                _graph(catalogue.THROTTLING, Limit(1)),
                _graph(catalogue.XID, Limit(1)),
                _graph(catalogue.GPU_NODES),
            ),
        ),
        Dashboard(
            "cost",
            "gpu-e2e · Cost",
            "An estimate during the session: the plan's prices times what exists. The cost report "
            "of stage 06 compares it with the bill. A rehearsal costs nothing.",
            (
                _figure(catalogue.BURN, decimals=2),
                _figure(catalogue.SPENT, budget, decimals=2),
                _figure(catalogue.GPU_HOURS, decimals=2),
                _figure(catalogue.HOURS_LEFT, time_left),
                _graph(catalogue.BURN),
                _graph(catalogue.SPENT, budget),
                _graph(catalogue.PER_1000),
                _graph(catalogue.GPU_NODES),
            ),
        ),
    )


def _graph(series: Series, limit: Limit | None = None) -> Panel:
    return Panel((series,), series.title, limit=limit)


def _figure(series: Series, limit: Limit | None = None, *, decimals: int = 1) -> Panel:
    return Panel((series,), series.title, limit=limit, is_figure=True, decimals=decimals)


# ── Grafana's JSON ──────────────────────────────────────────────────────────────────────────────


def grafana_json(board: Dashboard) -> str:
    """A dashboard as JSON for Grafana."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(f"{TAG}-{board.name}")
        .description(board.description)
        .tags([TAG])
        .timezone("utc")
        .time("now-30m", "now")
        .refresh("10s")
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("gpu-e2e dashboards")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .include_vars(True)
            .keep_time(True)
        )
        .annotation(
            dashboard.AnnotationQuery()
            .name("Events of the run")
            .datasource(GRAFANA_STORE)
            .enable(True)
            .icon_color("purple")
            .target(
                dashboard.AnnotationTarget()
                .limit(MOST_ANNOTATIONS)
                .match_any(False)
                .tags([TAG])
                .type("tags")
            )
        )
        .with_variable(dashboard.DatasourceVariable("datasource").type("prometheus"))
    )
    for variable in catalogue.VARIABLES:
        made.with_variable(_variable(variable))
    for panel in board.panels:
        made.with_panel(_grafana_figure(panel) if panel.is_figure else _grafana_graph(panel))
    content = json.loads(JSONEncoder(sort_keys=True, indent=2).encode(made.build()))
    # annotations and snapshots refer to panels by number, so the numbers must be stable
    for number, raw in enumerate(content["panels"], 1):
        raw["id"] = number
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _grafana_graph(panel: Panel) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.description)
        .datasource(PROMETHEUS)
        .unit(_grafana_unit(panel.unit))
        .span(24 if panel.is_wide else 12)
        .height(8)
        .line_width(1.5)
        .fill_opacity(8)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.TABLE)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["mean", "max", "lastNotNull"])
        )
        .thresholds(_thresholds(panel.limit))
    )
    if panel.from_zero:
        made.axis_soft_min(0)
    if panel.limit is not None:
        dashed = common_models.GraphThresholdsStyleMode.DASHED
        made.thresholds_style(common.GraphThresholdsStyleConfig().mode(dashed))
    for query in _queries(panel):
        made.with_target(query)
    return made


def _grafana_figure(panel: Panel) -> stat.Panel:
    made = (
        stat.Panel()
        .title(panel.title)
        .description(panel.description)
        .datasource(PROMETHEUS)
        .unit(_grafana_unit(panel.unit))
        .decimals(panel.decimals or 0)
        .span(6)
        .height(4)
        .no_value("no value")
        .color_mode(common_models.BigValueColorMode.VALUE)
        .graph_mode(common_models.BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(panel.limit))
    )
    for query in _queries(panel):
        made.with_target(query)
    return made


def _queries(panel: Panel) -> list[prometheus.Dataquery]:
    return [
        prometheus.Dataquery()
        .expr(series.grafana_query)
        .range()
        .legend_format(panel.line_name(series, f"{{{{{series.label}}}}}" if series.label else ""))
        .ref_id(chr(ord("A") + number))
        .datasource(PROMETHEUS)
        for number, series in enumerate(panel.series)
    ]


def _grafana_unit(unit: str) -> str:
    return GRAFANA_UNITS.get(unit, f"suffix: {unit}")


def _thresholds(limit: Limit | None) -> dashboard.ThresholdsConfig:
    made = dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE)
    if limit is None:
        return made.steps([models.Threshold(value=None, color="green")])
    low, high = ("red", "green") if limit.at_least else ("green", "red")
    return made.steps(
        [models.Threshold(value=None, color=low), models.Threshold(value=limit.value, color=high)]
    )


def _variable(name: str) -> dashboard.QueryVariable:
    metric = "nv_inference_count" if name == "model" else '{__name__=~"nv_inference_count|DCGM_.*"}'
    return (
        dashboard.QueryVariable(name)
        .label(name)
        .description("If the label is absent, as on a laptop, All selects everything.")
        .datasource(PROMETHEUS)
        .query(f"label_values({metric}, {name})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(catalogue.MATCH_ALL)
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


# ── the committed files ─────────────────────────────────────────────────────────────────────────


def committed() -> dict[str, str]:
    """File name → content of every committed dashboard, as it should be."""
    kpis = Profile.load_named(COMMITTED_PROFILE).kpis
    return {f"{board.name}.json": grafana_json(board) for board in build(kpis)}


def differences(folder: Path = FOLDER) -> list[str]:
    """One sentence for each committed dashboard that is out of date."""
    wanted = committed()
    stored = {path.name: path.read_text() for path in sorted(folder.glob("*.json"))}
    return [
        f"{name} is out of date; run 'python -m helpers.telemetry.dashboards'"
        for name, text in wanted.items()
        if stored.get(name) != text
    ] + [f"{name} is not generated by the code" for name in stored if name not in wanted]


def main(arguments: list[str]) -> int:
    """Write the committed dashboards, or with `--check` list those that are out of date."""
    if "--check" in arguments:
        outdated = differences()
        print("\n".join(outdated) or "Every dashboard is up to date.")
        return int(bool(outdated))
    for name, text in committed().items():
        (FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
