"""The dashboards of `dashboards.yaml` as Grafana's JSON; the run's pictures come from them too.

`ci/dashboards.py` writes those of the cluster, `k8s/dashboards/*.json`.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import jinja2
import yaml

from helpers.scenario import Kpis
from helpers.telemetry import catalogue, rules
from helpers.telemetry.catalogue import SERIES, Series

TAG = "gpu-e2e"
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Limit:
    """The target or limit of a panel."""

    value: float  # in the panel's unit
    # whether values must be at least this high (False: values must stay below)
    at_least: bool = False


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
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined)
    text = environment.get_template("dashboard.yaml.j2").render(
        board=board, tag=TAG, variables=catalogue.VARIABLES
    )
    return json.dumps(yaml.safe_load(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
