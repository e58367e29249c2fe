"""Dashboards with their data: pictures, self-contained pages, and bodies for Grafana.

All of them are made from the same values: those of the table `metrics`, which the stage read from
Prometheus once.
"""

import base64
import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jinja2
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from helpers import style
from helpers.profile import LABEL
from helpers.run import Run
from helpers.telemetry import dashboards, series
from helpers.telemetry.annotations import Annotation, run_annotations
from helpers.telemetry.catalogue import SERIES, Series
from helpers.telemetry.dashboards import Dashboard, Panel
from helpers.telemetry.records import DashboardSnapshot, Snapshots, Telemetry
from helpers.telemetry.series import NO_PROMETHEUS, Window

FOLDER = "snapshots"
NO_DATA_SOURCE = {"type": "datasource", "uid": "grafana"}
WIDTH_IN, FIGURE_IN, GRAPH_IN = 13.0, 0.9, 2.6
HEAD_IN, FOOT_LINE_IN = 0.6, 0.14
LINE_LENGTH = 170  # characters of a line below the panels
COLUMNS = 4  # large figures in a row; a graph spans two of them
MOST_LINES, MOST_NAMED = 6, 24  # lines of a graph, events in the key; further ones are counted
GOOD, BAD = "#00694d", "#a83500"


@dataclass(frozen=True)
class DashboardData:
    """A dashboard with its values."""

    board: Dashboard  # the dashboard
    window: Window  # the time shown
    values: pd.DataFrame  # as in the table `metrics`
    note: str = ""  # a warning about the data, such as that there is no GPU; may be empty
    annotations: Sequence[Annotation] = ()  # the events to mark

    def lines(self, panel: Panel) -> list[tuple[Series, str, pd.DataFrame]]:
        """Series, name and values of each line of a panel."""
        return [
            (shown, panel.line_name(shown, str(label)), rows)
            for shown in panel.series
            for label, rows in self.values[self.values["series"] == shown.name].groupby("label")
        ]

    def why_blank(self, panel: Panel) -> str:
        """Why a panel has nothing to look at; empty if it has."""
        lines = self.lines(panel)
        if any(rows["value"].any() for *_, rows in lines):
            return ""
        reasons = dict.fromkeys(shown.absence for shown in panel.series)
        return "always 0" if lines else "; ".join(reasons)

    def count(self) -> int:
        """How many values its panels show."""
        return sum(len(rows) for panel in self.board.panels for *_, rows in self.lines(panel))


def take(run: Run, telemetry: Telemetry) -> Snapshots:
    """Store every dashboard with the values of the load, and record it."""
    if telemetry.gpu_absent == NO_PROMETHEUS:
        absent = Snapshots(start=telemetry.start, end=telemetry.end, absent=NO_PROMETHEUS)
        return run.save(absent)
    stored = []
    for board in dashboards.build(run.profile.kpis):
        data = of_load(run, telemetry, board)
        alt = draw(run, data, folder=FOLDER)
        body = json.dumps(grafana_body(run, data), ensure_ascii=False)
        place = f"{FOLDER}/{board.name}"
        run.write(f"{place}.grafana.json", body + "\n")
        run.write(f"{place}.html", _page(run, data, alt))
        stored.append(DashboardSnapshot(
            name=board.name, values=data.count(), page=f"{place}.html",
            grafana=f"{place}.grafana.json", picture=f"{place}.png" if alt else "",
        ))  # fmt: skip
    window, events = data.window, len(data.annotations)
    first, last = (at.isoformat(timespec="seconds") for at in (window.start, window.end))
    return run.save(Snapshots(start=first, end=last, boards=tuple(stored), events=events))


def of_load(run: Run, telemetry: Telemetry, board: Dashboard) -> DashboardData:
    """A dashboard with the values and events of the load, without models that were idle in it."""
    start, end = (datetime.fromisoformat(text) for text in (telemetry.start, telemetry.end))
    window = Window(start, end, run.profile.telemetry.scrape_interval_s)
    note = f"No GPU: {telemetry.gpu_absent}" if telemetry.gpu_absent else ""
    values = run.load_table(series.TABLE)
    requests = values[values["series"].isin(["requests", "failures"]) & values["value"].gt(0)]
    of_model = values["series"].isin(
        [name for name, known in SERIES.items() if known.label == "model"]
    )
    if len(requests):
        values = values[~of_model | values["label"].isin(requests["label"])]
    return DashboardData(board, window, values, note, run_annotations(run, start, end))


def frame(record: Snapshots) -> pd.DataFrame:
    """One row per dashboard."""
    rows = [(board.name, board.values, board.page, board.grafana) for board in record.boards]
    return pd.DataFrame(rows, columns=["Dashboard", "Values", "Page", "For Grafana"])


def grafana_body(run: Run, data: DashboardData) -> dict[str, Any]:
    """A dashboard with its data, as Grafana's snapshot API accepts it."""
    content: dict[str, Any] = json.loads(dashboards.grafana_json(data.board))
    for raw, panel in zip(content["panels"], data.board.panels, strict=True):
        raw["targets"], raw["datasource"] = [], NO_DATA_SOURCE
        raw["snapshotData"] = [
            {
                "refId": chr(ord("A") + panel.series.index(shown)),
                "fields": [
                    {"name": "Time", "type": "time", "config": {}, "values": _milliseconds(rows)},
                    {
                        "name": "Value",
                        "type": "number",
                        "values": rows["value"].tolist(),
                        "config": {"displayNameFromDS": name},
                    },
                ],
            }
            for shown, name, rows in data.lines(panel)
        ]
    content["templating"] = {"list": []}
    (events,) = content["annotations"]["list"]
    del events["target"]
    events["snapshotData"] = [
        {
            "time": round(event.at.timestamp() * 1000),
            "timeEnd": round((event.until or event.at).timestamp() * 1000),
            "isRegion": event.until is not None,
            "text": event.text,
            "tags": [tag for tag in (event.kind, event.source) if tag],
        }
        for event in data.annotations
    ]
    window = data.window
    content["time"] = {"from": window.start.isoformat(), "to": window.end.isoformat()}
    content["refresh"] = ""
    content["title"] = f"{content['title']} · {run.run_id}"
    content["description"] = f"{LABEL[run.profile.target]} {data.note}".strip()
    return content


def _page(run: Run, data: DashboardData, alt: str) -> str:
    """A self-contained page: picture, events, statistics of each line, and the values as JSON."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(dashboards.TEMPLATES), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    panels, values = [], {}
    for panel in data.board.panels:
        lines = [(name, rows["value"], _milliseconds(rows)) for _, name, rows in data.lines(panel)]
        statistics = [
            (name, *(format_value(value, panel) for value in (
                line.min(), line.mean(), line.max(), line.iloc[-1])))
            for name, line, _ in lines
        ]  # fmt: skip
        panels.append((panel, statistics))
        values[panel.title] = {name: [times, line.tolist()] for name, line, times in lines}
    picture = (run.folder / FOLDER / f"{data.board.name}.png").read_bytes() if alt else b""
    return environment.get_template("snapshot.html.j2").render(
        run=run, label=LABEL[run.profile.target], data=data, alt=alt,
        picture=base64.b64encode(picture).decode(), panels=panels,
        blank=dict.fromkeys(data.why_blank(panel) for panel in data.board.panels),
        # as JSON that can stand inside a script element
        values=json.dumps(values, ensure_ascii=False).replace("<", "\\u003c"),
    )  # fmt: skip


def _milliseconds(rows: pd.DataFrame) -> list[int]:
    times: list[int] = rows["time"].dt.as_unit("ms").astype("int64").tolist()
    return times


def draw(run: Run, data: DashboardData, *, folder: str) -> str:
    """Draw a dashboard as PNG and SVG, and show it in a notebook; returns its description.

    Graphs without a line, or with none but zeros, are named below the others. A dashboard without
    any value is not drawn, and its description is empty.
    """
    figures = [panel for panel in data.board.panels if panel.is_figure]
    graphs = [panel for panel in data.board.panels
              if not panel.is_figure and not data.why_blank(panel)]  # fmt: skip
    figure_rows, graph_rows = -(-len(figures) // COLUMNS), -(-len(graphs) // 2)
    heights = [FIGURE_IN] * figure_rows + [GRAPH_IN] * graph_rows
    if not heights or not data.count():
        return ""
    with style.theme():
        key = _footnote(data)
        height = sum(heights) + HEAD_IN + FOOT_LINE_IN * len(key)
        figure = plt.figure(figsize=(WIDTH_IN, height))
        figure.set_layout_engine("constrained")
        grid = figure.add_gridspec(len(heights), COLUMNS, height_ratios=heights)
        for number, panel in enumerate(figures):
            row, column = divmod(number, COLUMNS)
            _draw_figure(figure.add_subplot(grid[row, column]), panel, data)
        for number, panel in enumerate(graphs):
            row, column = divmod(number, 2)
            right = COLUMNS if panel is graphs[-1] else 2 * column + 2
            cells = grid[figure_rows + row, 2 * column : right]
            _draw_graph(figure.add_subplot(cells), panel, data)
        figure.suptitle(data.board.title, x=0.01, ha="left", fontweight="bold", fontsize=13)
        colour = style.VERMILION if data.note else style.GREY
        style.footnote(figure, "\n".join(key), colour)
        alt = describe(data)
        style.finish(run, figure, data.board.name, alt, place=folder)
    return alt


def describe(data: DashboardData) -> str:
    """A dashboard in words: the last values of each panel."""
    texts = []
    for panel in data.board.panels:
        last = [format_value(rows["value"].iloc[-1], panel) for *_, rows in data.lines(panel)]
        texts.append(f"{panel.title}: {', '.join(last) or 'no value'}")
    note = f" {data.note}." if data.note else ""
    return f"{data.board.title}.{note} Last values: {'; '.join(texts)}."


def format_value(value: float, panel: Panel) -> str:
    """A value with three digits and the panel's unit."""
    digits = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{digits} {panel.unit}".strip()


def _draw_figure(axes: Axes, panel: Panel, data: DashboardData) -> None:
    """The last value in large digits; of several lines the worst one."""
    axes.set_axis_off()
    axes.set_title(panel.title, fontsize=9)
    text, colour, size = "no value", style.GREY, 13
    if last := [float(rows["value"].iloc[-1]) for *_, rows in data.lines(panel)]:
        limit = panel.limit
        value = min(last) if limit and limit.at_least else max(last)
        text, colour, size = format_value(value, panel), style.BLACK, 18
        if limit:
            broken = value < limit.value if limit.at_least else value >= limit.value
            colour = BAD if broken else GOOD
    figure = axes.text(0, 0.3, text, fontsize=size, fontweight="bold", color=colour)
    figure.set_in_layout(False)


def _draw_graph(axes: Axes, panel: Panel, data: DashboardData) -> None:
    axes.set_title(panel.title, fontsize=9.5)
    axes.set_ylabel(panel.unit, fontsize=8)
    axes.set_xlim(style.date_number(data.window.start), style.date_number(data.window.end))
    style.use_time_scale(axes.xaxis)
    axes.tick_params(labelsize=8)
    for number, event in enumerate(data.annotations, 1):
        text = str(number) if number <= MOST_NAMED else ""
        at = max(event.at, data.window.start)
        style.mark_event(axes, style.date_number(at), text, row=(number - 1) % 3)
    lines = data.lines(panel)
    for (_, name, rows), colour in zip(lines[:MOST_LINES], style.LINES, strict=False):
        mean, most, last = (format_value(value, panel) for value in (
            rows["value"].mean(), rows["value"].max(), rows["value"].iloc[-1]))  # fmt: skip
        label = f"{name}: mean {mean}, max {most}, last {last}"
        times = rows["time"].dt.tz_convert(None)
        gaps = times.diff().dt.total_seconds().gt(2.5 * data.window.step_s).cumsum()
        for _, piece in rows.assign(time=times).groupby(gaps):  # no line where nothing was scraped
            marker = "." if len(piece) == 1 else ""
            axes.plot(
                piece["time"].to_numpy(), piece["value"].to_numpy(), marker=marker,
                color=colour, linewidth=1.3, label=label,
            )  # fmt: skip
            label = "_"  # only the first piece is in the legend
    if len(lines) > MOST_LINES:
        axes.plot([], [], " ", label=f"and {len(lines) - MOST_LINES} more")
    if panel.limit:
        axes.axhline(panel.limit.value, color=style.VERMILION, linewidth=1, linestyle=(0, (5, 3)))
        axes.annotate(
            f"limit {panel.limit.value:g}", (1.0, panel.limit.value),
            xycoords=("axes fraction", "data"), xytext=(-3, 2), textcoords="offset points",
            ha="right", va="bottom", fontsize=7, color=style.VERMILION,
        )  # fmt: skip
    if min(rows["value"].min() for *_, rows in lines) >= 0:
        axes.set_ylim(bottom=0)
    axes.legend(
        loc="upper left", bbox_to_anchor=(0, -0.16), fontsize=7.5, frameon=False, borderpad=0,
        borderaxespad=0, labelspacing=0.15, handlelength=1.4,
    )  # fmt: skip


def _footnote(data: DashboardData) -> list[str]:
    window, annotations = data.window, data.annotations
    text = f"Scraped every {window.interval_s:g} s, a point every {window.step_s:.3g} s, UTC."
    if len(annotations) > MOST_NAMED:
        text += f" {len(annotations)} events, {len(annotations) - MOST_NAMED} without a number."
    key = (f"{number}  {event.at:%H:%M:%S}  {event.text}"
           for number, event in enumerate(annotations[:MOST_NAMED], 1))  # fmt: skip
    blank = [f"{panel.title} ({why})" for panel in data.board.panels
             if not panel.is_figure and (why := data.why_blank(panel))]  # fmt: skip
    left_out = textwrap.wrap(f"Not drawn: {', '.join(blank)}.", LINE_LENGTH) if blank else []
    return [f"{text} {data.note}".strip(), *left_out, *key]
