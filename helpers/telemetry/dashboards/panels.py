"""What all dashboards share: how a series becomes a panel, the variables, the run's events."""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    prometheus,
    stat,
    timeseries,
)
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models

from helpers.scenario import Kpis
from helpers.telemetry import units
from helpers.telemetry.catalogue import EVERYTHING, VARIABLES, Series

TAG = "gpu-e2e"
STORE = models.DataSourceRef(type_val="grafana", uid="-- Grafana --")
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
ANNOTATIONS = 500  # a session's events; Grafana's default of 100 would drop the oldest
WIDE, HALF, SMALL = 24, 12, 6
TALL, FLAT = 8, 4
GOOD, BAD = "green", "red"


@dataclass(frozen=True)
class Target:
    """A limit that a panel draws.

    Attributes:
        value: In the panel's unit.
        at_least: Whether values below it are the bad ones.
    """

    value: float
    at_least: bool = False


@dataclass(frozen=True)
class Choices:
    """What the panels' thresholds come from.

    Attributes:
        kpis: The profile's targets.
        limits: The limits of `k8s/rules/limits.yaml`, by name.
    """

    kpis: Kpis
    limits: dict[str, float]


def board(name: str, title: str, description: str) -> dashboard.Dashboard:
    """An empty dashboard with the variables, the run's events, and links to the others."""
    made = (
        dashboard.Dashboard(title)
        .uid(f"{TAG}-{name}")
        .description(description)
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
        .annotation(_events())
        .with_variable(dashboard.DatasourceVariable("datasource").type("prometheus"))
    )
    for variable in VARIABLES:
        made.with_variable(_variable(variable))
    return made


def over_time(
    series: Series | Sequence[Series],
    *,
    title: str = "",
    names: Sequence[str] = (),
    target: Target | None = None,
    span: int = HALF,
    floor: float | None = 0,
) -> timeseries.Panel:
    """Lines over time; several series of one unit may share a panel.

    Args:
        series: What is drawn.
        title: What the panel is called; empty takes the first series' title.
        names: What several series are called in the legend.
        target: The limit that is drawn.
        span: Width, of 24 columns.
        floor: Where the axis begins; None leaves it to the data.
    """
    several = (series,) if isinstance(series, Series) else tuple(series)
    made = (
        timeseries.Panel()
        .title(title or several[0].title)
        .description(_description(several))
        .datasource(SOURCE)
        .unit(units.to_grafana(several[0].unit))
        .span(span)
        .height(TALL)
        .line_width(1.5)
        .fill_opacity(8)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.TABLE)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["mean", "max", "lastNotNull"])
        )
        .thresholds(_thresholds(target))
    )
    if floor is not None:
        made.axis_soft_min(floor)
    if target is not None:
        dashed = common_models.GraphThresholdsStyleMode.DASHED
        made.thresholds_style(common.GraphThresholdsStyleConfig().mode(dashed))
    for number, one in enumerate(several):
        made.with_target(_query(one, number, names[number] if names else ""))
    return made


def figure(series: Series, *, target: Target | None = None, decimals: int = 1) -> stat.Panel:
    """One figure in large digits: the last value, coloured by its target.

    Args:
        series: What is shown.
        target: The limit that colours it.
        decimals: Digits behind the point.
    """
    return (
        stat.Panel()
        .title(series.title)
        .description(_description((series,)))
        .datasource(SOURCE)
        .unit(units.to_grafana(series.unit))
        .decimals(decimals)
        .span(SMALL)
        .height(FLAT)
        .no_value("no value")
        .color_mode(common_models.BigValueColorMode.VALUE)
        .graph_mode(common_models.BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(target))
        .with_target(_query(series, 0))
    )


def _query(one: Series, number: int, name: str = "") -> prometheus.Dataquery:
    label = f"{{{{{one.label}}}}}" if one.label else ""
    told = "GPU" if one.label == "gpu" else name  # a bare number would tell nobody what it is
    legend = f"{told} {label}".strip() or one.title
    return (
        prometheus.Dataquery()
        .expr(one.grafana)
        .range()
        .legend_format(legend)
        .ref_id(chr(ord("A") + number))
        .datasource(SOURCE)
    )


def _description(several: Sequence[Series]) -> str:
    return "\n\n".join(dict.fromkeys(one.about for one in several))


def _thresholds(target: Target | None) -> dashboard.ThresholdsConfig:
    made = dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE)
    if target is None:
        return made.steps([models.Threshold(value=None, color=GOOD)])
    low, high = (BAD, GOOD) if target.at_least else (GOOD, BAD)
    return made.steps(
        [models.Threshold(value=None, color=low), models.Threshold(value=target.value, color=high)]
    )


def _variable(name: str) -> dashboard.QueryVariable:
    where = "nv_inference_count" if name == "model" else '{__name__=~"nv_inference_count|DCGM_.*"}'
    return (
        dashboard.QueryVariable(name)
        .label(name)
        .description("Where the label is absent, as on a laptop, All selects everything.")
        .datasource(SOURCE)
        .query(f"label_values({where}, {name})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(EVERYTHING)
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


def _events() -> dashboard.AnnotationQuery:
    tagged = (
        dashboard.AnnotationTarget().limit(ANNOTATIONS).match_any(False).tags([TAG]).type("tags")
    )
    return (
        dashboard.AnnotationQuery()
        .name("Events of the run")
        .datasource(STORE)
        .enable(True)
        .icon_color("purple")
        .target(tagged)
    )
