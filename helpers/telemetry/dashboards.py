"""The dashboards of `dashboards.yaml` as Grafana's JSON; the run's pictures come from them too.

`ci/dashboards.py` writes those of the cluster, `k8s/dashboards/*.json`.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import yaml
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
    limit: Limit | None  # the target line; None if there is none
    is_figure: bool  # whether it shows the last value in large digits instead of lines over time

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
        if len(self.series) > 1:
            prefix = series.name.replace("_", " ")
        return f"{prefix} {label}".strip() or series.title


@dataclass(frozen=True)
class Dashboard:
    """One dashboard."""

    name: str  # of its file
    title: str  # title for readers
    description: str  # what it is for
    panels: tuple[Panel, ...]  # in reading order


def build(kpis: Kpis) -> tuple[Dashboard, ...]:
    """All dashboards of `dashboards.yaml`, with a profile's targets."""
    limits = kpis.model_dump() | rules.limits()
    limits["ttl_hours"] = limits["ttl_seconds"] / 3600

    def panel(entry: str | dict[str, list[str]], is_figure: bool) -> Panel:
        if isinstance(entry, dict):
            ((title, names),) = entry.items()
            return Panel(tuple(SERIES[name] for name in names), title, None, is_figure)
        series = SERIES[entry]
        wanted = series.at_least or series.below
        limit = (
            Limit(float(limits.get(str(wanted), wanted)), bool(series.at_least)) if wanted else None
        )
        return Panel((series,), series.title, limit, is_figure)

    boards = []
    for raw in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text()):
        panels = [panel(name, True) for name in raw.get("figures", ())]
        panels += [panel(entry, False) for entry in raw["graphs"]]
        boards.append(Dashboard(raw["name"], raw["title"], raw["description"], tuple(panels)))
    return tuple(boards)


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
    made = _grafana_figure() if panel.is_figure else _grafana_graph(panel)
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
    made = timeseries.Panel().span(12).height(8).axis_soft_min(0)
    legend = common.VizLegendOptions().display_mode(common_models.LegendDisplayMode.TABLE)
    legend.placement(common_models.LegendPlacement.BOTTOM).show_legend(True)
    made.line_width(1.5).fill_opacity(8).legend(legend.calcs(["mean", "max", "lastNotNull"]))
    if panel.limit is not None:
        dashed = common_models.GraphThresholdsStyleMode.DASHED
        made.thresholds_style(common.GraphThresholdsStyleConfig().mode(dashed))
    return made


def _grafana_figure() -> stat.Panel:
    made = stat.Panel().span(6).height(4).no_value("no value")
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
