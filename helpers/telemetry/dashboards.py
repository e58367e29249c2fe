"""The five dashboards, defined once: Grafana's JSON and the run's pictures both come from here.

`ci/dashboards.py` writes those of the cluster, `k8s/dashboards/*.json`.
"""

import json
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models

from helpers.scenario import Kpis
from helpers.telemetry import catalogue, rules
from helpers.telemetry.catalogue import SERIES, Series

TAG = "gpu-e2e"
EVENTS = "Events of the run"
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


# of large figures; one otherwise
DECIMALS = {
    **dict.fromkeys(("up", "alerts", "gpu_utilisation"), 0),
    **dict.fromkeys(("error_share", "burn", "spent", "gpu_hours"), 2),
}


def build(kpis: Kpis) -> tuple[Dashboard, ...]:
    """All dashboards."""
    others = rules.limits()
    limits = {
        "up": Limit(1, at_least=True),
        "alerts": Limit(1),
        "requests": Limit(kpis.throughput_rps, at_least=True),
        "error_share": Limit(kpis.error_rate_pct),
        "latency_p50": Limit(kpis.p50_ms),
        "latency_p95": Limit(kpis.p95_ms),
        "latency_p99": Limit(kpis.p99_ms),
        "gpu_utilisation": Limit(kpis.gpu_utilisation_pct, at_least=True),
        "gpu_memory_share": Limit(others["gpu_memory_pct"]),
        "gpu_temperature": Limit(others["gpu_temperature_celsius"]),
        "gpu_throttling": Limit(1),
        "gpu_xid": Limit(1),
        "spent": Limit(kpis.cost_usd),
        "hours_left": Limit(others["ttl_seconds"] / 3600, at_least=True),
    }

    def panel(name: str, **options: Any) -> Panel:
        series = SERIES[name]
        return Panel((series,), series.title, **{"limit": limits.get(name), **options})

    def graphs(names: str) -> list[Panel]:
        return [panel(name) for name in names.split()]

    def figures(names: str) -> list[Panel]:
        decimals = {name: DECIMALS.get(name, 1) for name in names.split()}
        return [panel(name, is_figure=True, decimals=count) for name, count in decimals.items()]

    # fmt: off
    return (
        Dashboard("overview", "gpu-e2e · Overview",
            "Is the service up, fast and free of errors? Is the GPU used? What does it cost? "
            "Lines across a panel are the profile's targets.", (
                *figures("up alerts"),
                panel("requests", limit=None, is_figure=True, decimals=1),
                *figures("error_share latency_p95 gpu_utilisation burn spent"),
                panel("requests", is_wide=True),
                *graphs("latency_p95 gpu_utilisation cpu_utilisation pending"))),
        Dashboard("latency", "gpu-e2e · Latency",
            "How long requests take inside Triton: percentiles from its summaries (it has "
            "histograms only for streaming models), means from its counters. The latency that "
            "the client measures, including the network, is in the figures of stage 05.", (
                *graphs("latency_p50 latency_p95 latency_p99"),
                Panel((SERIES["queue_time"], SERIES["compute_time"], SERIES["hand_over"]),
                      "Where the time goes, mean per request", ("queue", "compute", "hand-over")),
                *graphs("queue_p95 infer_p95 queue_time network"))),
        Dashboard("throughput", "gpu-e2e · Throughput",
            "How many requests are answered, how well they are batched, how many wait or fail.", (
                *graphs("requests inferences batch_size"),
                panel("pending", limit=Limit(others["pending_requests"])),
                *graphs("failures error_share memory_used cpu_by_role"))),
        Dashboard("gpu", "gpu-e2e · GPU",
            "What the GPU does: from the DCGM exporter in the cluster, from NVML on a machine "
            "with a GPU. Without either the panels are empty.", (
                *graphs("gpu_utilisation requests_per_gpu gpu_memory gpu_memory_share gpu_power"),
                *graphs("gpu_temperature"),
                panel("gpu_clock", from_zero=False),
                *graphs("gpu_throttling gpu_xid gpu_nodes"))),
        Dashboard("cost", "gpu-e2e · Cost",
            "An estimate during the session: the plan's prices times what exists. The cost report "
            "of stage 06 compares it with the bill. A rehearsal costs nothing.", (
                *figures("burn spent gpu_hours hours_left"),
                *graphs("burn spent usd_per_1000 gpu_nodes"))),
    )
    # fmt: on


def grafana_json(board: Dashboard) -> str:
    """A dashboard as JSON for Grafana."""
    made = dashboard.Dashboard(board.title).uid(f"{TAG}-{board.name}").tags([TAG])
    made.description(board.description).timezone("utc").time("now-30m", "now").refresh("10s")
    made.readonly().tooltip(models.DashboardCursorSync.CROSSHAIR)
    link = dashboard.DashboardLink("gpu-e2e dashboards").type(models.DashboardLinkType.DASHBOARDS)
    made.link(link.tags([TAG]).include_vars(True).keep_time(True))
    target = dashboard.AnnotationTarget().limit(MOST_ANNOTATIONS).match_any(False).tags([TAG])
    events = dashboard.AnnotationQuery().name(EVENTS).datasource(GRAFANA_STORE).enable(True)
    made.annotation(events.icon_color("purple").target(target.type("tags")))
    made.with_variable(dashboard.DatasourceVariable("datasource").type("prometheus"))
    for variable in catalogue.VARIABLES:
        made.with_variable(_variable(variable))
    for panel in board.panels:
        made.with_panel(_grafana_panel(panel))
    content = json.loads(JSONEncoder(sort_keys=True, indent=2).encode(made.build()))
    # annotations and snapshots refer to panels by number, so the numbers must be stable
    for number, raw in enumerate(content["panels"], 1):
        raw["id"] = number
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _grafana_panel(panel: Panel) -> stat.Panel | timeseries.Panel:
    made = _grafana_figure(panel) if panel.is_figure else _grafana_graph(panel)
    made.title(panel.title).description(panel.description).datasource(PROMETHEUS)
    made.unit(GRAFANA_UNITS.get(panel.unit, f"suffix: {panel.unit}"))
    low, high = ("red", "green") if panel.limit and panel.limit.at_least else ("green", "red")
    steps = [models.Threshold(value=None, color=low)]
    if panel.limit is not None:
        steps.append(models.Threshold(value=panel.limit.value, color=high))
    thresholds = dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE)
    made.thresholds(thresholds.steps(steps))
    for number, series in enumerate(panel.series):
        label = f"{{{{{series.label}}}}}" if series.label else ""
        query = prometheus.Dataquery().expr(series.grafana_query).range().datasource(PROMETHEUS)
        query.legend_format(panel.line_name(series, label)).ref_id(chr(ord("A") + number))
        made.with_target(query)
    return made


def _grafana_graph(panel: Panel) -> timeseries.Panel:
    made = timeseries.Panel().span(24 if panel.is_wide else 12).height(8)
    legend = common.VizLegendOptions().display_mode(common_models.LegendDisplayMode.TABLE)
    legend.placement(common_models.LegendPlacement.BOTTOM).show_legend(True)
    made.line_width(1.5).fill_opacity(8).legend(legend.calcs(["mean", "max", "lastNotNull"]))
    if panel.from_zero:
        made.axis_soft_min(0)
    if panel.limit is not None:
        dashed = common_models.GraphThresholdsStyleMode.DASHED
        made.thresholds_style(common.GraphThresholdsStyleConfig().mode(dashed))
    return made


def _grafana_figure(panel: Panel) -> stat.Panel:
    made = stat.Panel().span(6).height(4).decimals(panel.decimals or 0).no_value("no value")
    made.color_mode(common_models.BigValueColorMode.VALUE)
    made.graph_mode(common_models.BigValueGraphMode.AREA)
    return made.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))


def _variable(name: str) -> dashboard.QueryVariable:
    metric = "nv_inference_count" if name == "model" else '{__name__=~"nv_inference_count|DCGM_.*"}'
    made = dashboard.QueryVariable(name).label(name).datasource(PROMETHEUS)
    made.description("If the label is absent, as on a laptop, All selects everything.")
    made.query(f"label_values({metric}, {name})").multi(True)
    made.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    everything = models.VariableOption(selected=True, text="All", value="$__all")
    return made.include_all(True).all_value(catalogue.MATCH_ALL).current(everything)
