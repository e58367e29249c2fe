"""A dashboard's JSON, read: what its pictures and its queries need of it."""

import json
import re
from dataclasses import dataclass
from typing import Any

from helpers.telemetry import units
from helpers.telemetry.catalogue import EVERY, GRAFANA_WINDOW, duration, filled

_LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_ABSENCE = {one.grafana: one.absence for one in EVERY}
FEWEST_SCRAPES = 4  # as Grafana's $__rate_interval: never fewer scrapes than this in a window


@dataclass(frozen=True)
class Query:
    """One query of a panel.

    Attributes:
        ref: Its letter.
        expression: As the dashboard holds it, with variables.
        legend: Pattern of its lines' names.
    """

    ref: str
    expression: str
    legend: str

    def asked(self, step_s: float, interval_s: float) -> str:
        """The query with everything selected, for a step between points.

        Args:
            step_s: Seconds between two points.
            interval_s: Seconds between two scrapes.
        """
        window = max(step_s + interval_s, FEWEST_SCRAPES * interval_s)
        return filled(self.expression.replace(GRAFANA_WINDOW, duration(window)))

    def name(self, labels: dict[str, Any]) -> str:
        """What a line of these labels is called.

        >>> Query("A", "up", "{{job}} is up").name({"job": "triton"})
        'triton is up'
        """
        return _LABEL.sub(lambda match: str(labels.get(match[1], "")), self.legend).strip()

    @property
    def absence(self) -> str:
        """What it means that there is no value; empty for a query of no catalogue."""
        return _ABSENCE.get(self.expression, "")


@dataclass(frozen=True)
class Limit:
    """A threshold of a panel.

    Attributes:
        value: In the panel's unit.
        bad_above: Whether values from there on are the bad ones (False: those below).
    """

    value: float
    bad_above: bool

    def is_broken_by(self, value: float) -> bool:
        """Whether a value is on the bad side."""
        return value >= self.value if self.bad_above else value < self.value


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        id: Its number.
        title: What people read.
        description: What it says.
        kind: `timeseries` or `stat`.
        unit: Unit of its values; empty for a plain number.
        decimals: Digits behind the point; None leaves it to the size of the value.
        place: x, y, width and height in Grafana's grid of 24 columns.
        queries: What it asks.
        limit: The threshold that it draws; None where there is none.
    """

    id: int
    title: str
    description: str
    kind: str
    unit: str
    decimals: int | None
    place: tuple[int, int, int, int]
    queries: tuple[Query, ...]
    limit: Limit | None


@dataclass(frozen=True)
class Board:
    """One dashboard.

    Attributes:
        uid: Grafana's name of it.
        title: What people read.
        description: What it is for.
        panels: In reading order.
    """

    uid: str
    title: str
    description: str
    panels: tuple[Panel, ...]


def read(text: str) -> Board:
    """A dashboard from its JSON."""
    content = json.loads(text)
    return Board(
        uid=content["uid"],
        title=content["title"],
        description=content["description"],
        panels=tuple(_panel(one) for one in content["panels"]),
    )


def _panel(content: dict[str, Any]) -> Panel:
    shown, grid = content["fieldConfig"]["defaults"], content["gridPos"]
    return Panel(
        id=content["id"],
        title=content["title"],
        description=content["description"],
        kind=content["type"],
        unit=units.from_grafana(shown["unit"]),
        decimals=shown.get("decimals"),
        place=(grid["x"], grid["y"], grid["w"], grid["h"]),
        queries=tuple(
            Query(one["refId"], one["expr"], one["legendFormat"]) for one in content["targets"]
        ),
        limit=_limit(shown["thresholds"]["steps"]),
    )


def _limit(steps: list[dict[str, Any]]) -> Limit | None:
    if len(steps) < 2:
        return None
    return Limit(float(steps[1]["value"]), bad_above=steps[1]["color"] == "red")
