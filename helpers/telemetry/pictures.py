"""Dashboards as pictures: the same JSON that Grafana shows, drawn by matplotlib."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers import style
from helpers.run import Run
from helpers.telemetry.answers import Answers
from helpers.telemetry.board import Panel
from helpers.telemetry.marks import Mark

FOLDER = "dashboards"
COLUMNS, UNIT_IN, WIDTH_IN = 24, 0.34, 13.0  # Grafana's grid, and how large it is drawn
HEAD_IN, FOOT_IN, TITLE_IN, LINE_IN, BELOW_IN = 0.45, 0.4, 0.3, 0.15, 0.34
LEFT_IN, RIGHT_IN = 0.62, 0.22
MOST_LINES = 6
LIMIT = (0, (5, 3))
LOADS = "load-start"
MOST_NAMED, KEY_COLUMNS, KEY_IN = 24, 3, 0.17  # the key of events; further ones are lines alone
GOOD, BAD = "#00694d", "#a83500"


def draw(
    run: Run, name: str, answers: Answers, marks: Sequence[Mark] = (), *, place: str = FOLDER
) -> str:
    """Draw a dashboard, keep it as PNG and SVG, and show it in a notebook.

    Args:
        run: The run it belongs to.
        name: Of the files.
        answers: What its queries were answered.
        marks: Events, drawn as lines across every panel with time.
        place: The run's folder that the files go to.

    Returns:
        What the picture says, for those who cannot see it.
    """
    with style.theme():
        figure = _figure(answers, _shown(answers, marks))
        alt = describe(answers)
        style.finish(run, figure, name, alt, place=place)
    return alt


def describe(answers: Answers) -> str:
    """A dashboard in words: each panel with its last value, or that it has none."""
    told = []
    for panel in answers.board.panels:
        rows = answers.of(panel)
        if rows.empty:
            told.append(f"{panel.title}: no value")
        else:
            last = rows.groupby("line", observed=True)["value"].last()
            told.append(f"{panel.title}: {', '.join(number(one, panel) for one in last)}")
    note = f" {answers.note}." if answers.note else ""
    return f"{answers.board.title}.{note} Last values: {'; '.join(told)}."


def number(value: float, panel: Panel) -> str:
    """A value with the panel's digits and unit."""
    size = abs(value)
    digits = panel.decimals if panel.decimals is not None else 0 if size >= 100 else 1
    digits = 3 if panel.decimals is None and 0 < size < 1 else digits
    return f"{value:,.{digits}f} {panel.unit}".strip()


def _figure(answers: Answers, marks: Sequence[Mark]) -> Figure:
    board = answers.board
    rows = max(y + height for _, y, _, height in (one.place for one in board.panels))
    named = list(enumerate(marks[:MOST_NAMED], 1))
    foot = FOOT_IN + KEY_IN * -(-len(named) // KEY_COLUMNS)
    total = rows * UNIT_IN + HEAD_IN + foot
    figure = style.canvas(WIDTH_IN, total)
    for panel in board.panels:
        if panel.kind == "stat":
            _stat(figure.add_axes(_place(panel, total, 0)), panel, answers.of(panel))
            continue
        lines = answers.of(panel)["line"].nunique()
        axes = figure.add_axes(_place(panel, total, min(lines, MOST_LINES + 1)))
        _over_time(axes, panel, answers)
        _mark(axes, marks)
    figure.text(0.012, 1 - 0.28 / total, board.title, fontweight="bold", fontsize=13)
    colour = style.VERMILION if answers.note else style.GREY
    figure.text(0.012, 0.12 / total, _foot(answers, marks), fontsize=8, color=colour)
    for number, one in named:
        down, across = divmod(number - 1, KEY_COLUMNS)
        place = 0.012 + across / KEY_COLUMNS, (foot - 0.12 - KEY_IN * down) / total
        text = f"{number}  {one.at:%H:%M:%S}  {one.text}"
        figure.text(*place, text, fontsize=7.5, color=style.GREY, va="top")
    return figure


def _place(panel: Panel, total: float, lines: int) -> tuple[float, float, float, float]:
    """Left, bottom, width and height of a panel's axes, in shares of the figure.

    Args:
        panel: The panel.
        total: Height of the figure, inches.
        lines: Of its legend, below the axes.
    """
    x, y, width, height = panel.place
    below = BELOW_IN + lines * LINE_IN if panel.kind != "stat" else 0.1
    top = HEAD_IN + y * UNIT_IN + TITLE_IN
    tall = height * UNIT_IN - TITLE_IN - below
    left = x / COLUMNS * WIDTH_IN + LEFT_IN
    wide = width / COLUMNS * WIDTH_IN - LEFT_IN - RIGHT_IN
    return left / WIDTH_IN, 1 - (top + tall) / total, wide / WIDTH_IN, tall / total


def _stat(axes: Axes, panel: Panel, rows: pd.DataFrame) -> None:
    """One figure in large digits; of several lines the worst against the limit."""
    axes.set_axis_off()
    axes.set_title(panel.title, fontsize=9)
    if rows.empty:
        axes.text(0.0, 0.4, "no value", fontsize=13, color=style.GREY, transform=axes.transAxes)
        return
    last = rows.groupby("line", observed=True)["value"].last()
    highest_is_worst = panel.limit is None or panel.limit.bad_above
    value = float(last.max() if highest_is_worst else last.min())
    colour = style.BLACK
    if panel.limit:
        colour = BAD if panel.limit.is_broken_by(value) else GOOD
    text = number(value, panel)
    axes.text(
        0.0, 0.35, text, fontsize=18, fontweight="bold", color=colour, transform=axes.transAxes
    )


def _over_time(axes: Axes, panel: Panel, answers: Answers) -> None:
    rows = answers.of(panel)
    axes.set_title(panel.title, fontsize=9.5)
    axes.set_ylabel(panel.unit, fontsize=8)
    axes.set_xlim(style.date_number(answers.window.start), style.date_number(answers.window.end))
    style.use_time_scale(axes.xaxis)
    axes.tick_params(labelsize=8)
    if rows.empty:
        _absent(axes, panel)
        return
    lines = list(rows.groupby("line", observed=True))
    for (name, line), colour in zip(lines[:MOST_LINES], style.LINES, strict=False):
        _line(axes, panel, str(name), line, answers.window.step_s, colour)
    if len(lines) > MOST_LINES:
        axes.plot([], [], " ", label=f"and {len(lines) - MOST_LINES} more")
    if panel.limit:
        _limit(axes, panel)
    if rows["value"].min() >= 0 and panel.limit is None:
        axes.set_ylim(bottom=0)
    below = -(BELOW_IN - 0.08) / style.height(axes)
    axes.legend(
        loc="upper left", bbox_to_anchor=(-0.02, below), fontsize=7.5, frameon=False, borderpad=0,
        borderaxespad=0, labelspacing=0.15, handlelength=1.4,
    )  # fmt: skip


def _line(
    axes: Axes, panel: Panel, name: str, line: pd.DataFrame, step_s: float, colour: str
) -> None:
    """A line that breaks where nothing was scraped."""
    times = line["time"].dt.tz_convert(None).to_numpy()  # with a zone they were objects, and slow
    values = line["value"].to_numpy()
    gaps = np.flatnonzero(np.diff(times) > np.timedelta64(round(2500 * step_s), "ms")) + 1
    times = (
        np.insert(times, gaps, times[gaps - 1] + np.timedelta64(1, "ms")) if len(gaps) else times
    )
    values = np.insert(values, gaps, np.nan) if len(gaps) else values
    mean, top, last = (number(one, panel) for one in (np.nanmean(values), np.nanmax(values),
                                                      values[-1]))  # fmt: skip
    label = f"{name or panel.title}: mean {mean}, max {top}, last {last}"
    single = len(line) == 1
    axes.plot(times, values, "." if single else "-", color=colour, linewidth=1.3, label=label)


def _limit(axes: Axes, panel: Panel) -> None:
    assert panel.limit is not None
    axes.axhline(panel.limit.value, color=style.VERMILION, linewidth=1, linestyle=LIMIT)
    axes.annotate(
        f"limit {panel.limit.value:g}", (1.0, panel.limit.value),
        xycoords=("axes fraction", "data"), xytext=(-3, 2), textcoords="offset points",
        ha="right", va="bottom", fontsize=7, color=style.VERMILION,
    )  # fmt: skip
    low, high = axes.get_ylim()
    axes.set_ylim(min(0.0, low), max(high, panel.limit.value * 1.12))


def _absent(axes: Axes, panel: Panel) -> None:
    reasons = dict.fromkeys(one.absence for one in panel.queries if one.absence)
    axes.set_yticks([])
    axes.text(
        0.5, 0.5, f"absent: {'; '.join(reasons) or 'no value'}", ha="center", va="center",
        fontsize=8, color=style.GREY, transform=axes.transAxes, wrap=True,
    )  # fmt: skip


def _mark(axes: Axes, marks: Sequence[Mark]) -> None:
    """Loads as shaded times, events as lines; each has its number in the key below the panels."""
    low, high = axes.get_xlim()
    for number, one in enumerate(marks, 1):
        at = max(style.date_number(one.at), low)
        if one.kind == LOADS and one.until:
            until = min(style.date_number(one.until), high)
            axes.axvspan(at, until, color=style.SKY, alpha=0.12, linewidth=0)
        text = str(number) if number <= MOST_NAMED else ""
        style.mark_event(axes, at, text, row=(number - 1) % 3)


def _shown(answers: Answers, marks: Sequence[Mark]) -> list[Mark]:
    start, end = answers.window.start, answers.window.end
    return [one for one in marks if (one.until or one.at) >= start and one.at <= end]


def _foot(answers: Answers, marks: Sequence[Mark]) -> str:
    window = answers.window
    scraped = f"Every {window.interval_s:g} s scraped, a point each {window.step_s:.3g} s, UTC."
    more = (
        f", {len(marks) - MOST_NAMED} of them without a number" if len(marks) > MOST_NAMED else ""
    )
    events = f" {len(marks)} events{more}." if marks else ""
    return f"{scraped}{events} {answers.note}".strip()
