"""A dashboard asked: every query of it, answered by a Prometheus over a time."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from helpers.telemetry.board import Board, Panel
from helpers.telemetry.server import Server

MOST_POINTS = 1200  # of a line; more than a picture has columns of pixels
KEYS = ("panel", "query", "line")
COLUMNS = ["time", *KEYS, "value"]
PLACES = {"time", "value"}


@dataclass(frozen=True)
class Window:
    """The time that is looked at.

    Attributes:
        start: Begin, UTC.
        end: End, UTC.
        interval_s: Seconds between two scrapes.
    """

    start: datetime
    end: datetime
    interval_s: float

    @property
    def step_s(self) -> float:
        """Seconds between two points: one scrape, or more where the time is long."""
        seconds = (self.end - self.start).total_seconds()
        return max(self.interval_s, seconds / MOST_POINTS)


@dataclass(frozen=True)
class Answers:
    """What a dashboard's queries were answered.

    Attributes:
        board: The dashboard.
        window: The time.
        table: One row a value: `time` (UTC), `panel` (its number), `query` (its letter), `line`
            (its name in the legend), `value`. What is not a number is left out.
        note: What a reader must know of the data, such as that it was not measured; may be empty.
    """

    board: Board
    window: Window
    table: pd.DataFrame
    note: str = ""

    def of(self, panel: Panel) -> pd.DataFrame:
        """The rows of a panel."""
        rows: pd.DataFrame = self.table[self.table["panel"] == panel.id]
        return rows

    def unanswered(self) -> dict[str, str]:
        """Panel and query without a value → what that means."""
        answered = set(zip(self.table["panel"], self.table["query"], strict=True))
        return {
            f"{panel.title} ({query.ref})": query.absence
            for panel in self.board.panels
            for query in panel.queries
            if (panel.id, query.ref) not in answered
        }


def ask(server: Server, board: Board, window: Window, *, note: str = "") -> Answers:
    """Ask every query of a dashboard.

    Args:
        server: The Prometheus.
        board: The dashboard.
        window: The time.
        note: What a reader must know of the data.

    Raises:
        Problem: Prometheus does not answer, or refuses a query.
    """
    found = [
        _lines(server, panel, number, window)
        for panel in board.panels
        for number in range(len(panel.queries))
    ]
    table = pd.concat(found, ignore_index=True)
    for name in KEYS[1:]:  # a name is stored once, however many values it has
        table[name] = table[name].astype("category")
    return Answers(board, window, table, note)


def _lines(server: Server, panel: Panel, number: int, window: Window) -> pd.DataFrame:
    query = panel.queries[number]
    step = window.step_s
    asked = query.asked(step, window.interval_s)
    found = server.query_range(asked, window.start, window.end, step).dropna(subset=["value"])
    labels = [str(name) for name in found.columns if name not in PLACES]
    frame = found[["time", "value"]].copy()
    frame["panel"], frame["query"] = panel.id, query.ref
    frame["line"] = _names(query.name, found, labels)
    return frame[COLUMNS]


def _names(name: Any, found: pd.DataFrame, labels: list[str]) -> Any:
    """The name of each row's line; made once for each line, not for each value."""
    if not labels:
        return name({})
    known: dict[tuple[str, ...], str] = {}
    rows = found[labels].fillna("").itertuples(index=False, name=None)
    return [known.get(row) or known.setdefault(row, name(dict(zip(labels, row, strict=True))))
            for row in rows]  # fmt: skip
