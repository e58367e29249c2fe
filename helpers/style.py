"""The one look of every figure, and how it is kept and shown."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from IPython.core.getipython import get_ipython
from IPython.display import Image, display
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from helpers.run import Run

# Okabe and Ito (2008): told apart by readers with any colour vision
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
LINES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
GREY = "#6b6b6b"
WIDTH_IN = 9.0
DPI = 110
FIGURES = "evidence/figures"
LABEL_GAP = 14 / 72  # inches between the middles of two labels beside one another

_LOOK = {
    "font.size": 10,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=LINES),
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
    "svg.fonttype": "none",
    "svg.hashsalt": "gpu-e2e",
}


class LineLabel(NamedTuple):
    """What is written at the right end of a line: at which height, what, in which colour."""

    y: float
    text: str
    colour: str


def theme() -> AbstractContextManager[None]:
    """Matplotlib's settings while a figure is drawn."""
    context: AbstractContextManager[None] = mpl.rc_context(_LOOK)  # type: ignore[arg-type]
    return context


def panels(count: int, *, height: float, share_x: bool) -> tuple[Figure, Sequence[Axes]]:
    """A figure with panels one below the other.

    Args:
        count: How many.
        height: Of each, inches.
        share_x: Whether they have one horizontal axis.
    """
    figure, axes = plt.subplots(
        count, 1, figsize=(WIDTH_IN, height * count + 0.4), sharex=share_x, squeeze=False
    )
    return figure, list(axes[:, 0])


def canvas(width: float, height: float) -> Figure:
    """An empty figure, for layouts that are no column of panels.

    Args:
        width: Inches.
        height: Inches.
    """
    figure = plt.figure(figsize=(width, height))
    figure.set_layout_engine("none")
    return figure


def finish(run: Run, figure: Figure, name: str, alt: str, *, place: str = FIGURES) -> None:
    """Watermark a figure, keep it as PNG and SVG with its text, and show it in a notebook.

    Args:
        run: The run it belongs to.
        figure: What was drawn.
        name: Of the files.
        alt: What the picture says, for those who cannot see it.
        place: The run's folder that the files go to.
    """
    folder = run.folder / place
    folder.mkdir(parents=True, exist_ok=True)
    save(figure, folder / name, [run])
    run.write(f"{place}/{name}.txt", alt + "\n")
    if get_ipython() is not None:
        shown = Image(data=(folder / f"{name}.png").read_bytes())
        display(shown, metadata={"image/png": {"alt": alt}})


def save(figure: Figure, path: Path, runs: Iterable[Run]) -> None:
    """Write a figure as PNG and SVG, watermarked where a rehearsal's figures are in it.

    Args:
        figure: What was drawn; it is closed.
        path: Of the files, without ending.
        runs: Whose figures it shows.
    """
    if any(run.profile.target == "rehearsal" for run in runs):
        _watermark(figure)
    for ending, options in (("png", {"dpi": DPI}), ("svg", {"metadata": {"Date": None}})):
        figure.savefig(path.with_name(f"{path.name}.{ending}"), **options)
    plt.close(figure)


def mark_event(axes: Axes, at: float, text: str, *, row: int = 0) -> None:
    """Mark an event on the horizontal axis.

    Args:
        axes: Where.
        at: The event's place, in data.
        text: Its name.
        row: The line of text, from the top, that the name stands in; neighbours take turns.
    """
    axes.axvline(at, color=GREY, linewidth=0.9, linestyle=(0, (2, 2)))
    axes.annotate(
        text,
        (at, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(3, -2 - 11 * row),
        textcoords="offset points",
        va="top",
        fontsize=8,
        color=GREY,
    )


def label_lines(axes: Axes, labels: Sequence[LineLabel], height: float) -> None:
    """Label lines at their right ends, in their colours; neighbours move apart.

    Args:
        axes: Where; its limits and scale are final.
        labels: One a line.
        height: Of the axes, inches.
    """
    to_fraction = axes.transData + axes.transAxes.inverted()
    placed = -np.inf
    for y, label in sorted((to_fraction.transform((0, one.y))[1], one) for one in labels):
        placed = max(y, placed + LABEL_GAP / height)
        axes.annotate(
            label.text,
            (1.0, placed),
            xycoords="axes fraction",
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=label.colour,
            fontsize=9,
            annotation_clip=False,
        )


def legend(axes: Axes, **options: Any) -> None:
    """A legend, where anything has a name."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(**options)


def headroom(axes: Axes, share: float) -> None:
    """Leave a share of the axes' height free above the data, for the names of events."""
    low, high = axes.transData.inverted().transform(
        axes.transAxes.transform([(0, 0), (0, 1 / (1 - share))])
    )[:, 1]
    axes.set_ylim(low, high)


def footnote(figure: Figure, text: str, colour: str = GREY) -> None:
    """Write a line below everything."""
    if text:
        figure.supxlabel(text, fontsize=8, color=colour, x=0.01, ha="left")


def use_log_scale(axis: Axis) -> None:
    """A logarithmic axis with numbers that people read: 1, 2, 5, 10."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def height(axes: Axes) -> float:
    """Height of axes, inches."""
    return float(axes.bbox.height / axes.figure.dpi)


def use_time_scale(axis: Axis) -> None:
    """An axis of times with as few digits as tell them apart; the day stands at its end."""
    locator = dates.AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
    axis.set_major_locator(locator)
    axis.set_major_formatter(dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axis.get_offset_text().set_fontsize(7)


def date_number(at: datetime) -> float:
    """A moment's place on an axis of times."""
    return float(dates.date2num(at))  # type: ignore[no-untyped-call]


def _watermark(figure: Figure) -> None:
    figure.text(
        0.5,
        0.5,
        "REHEARSAL",
        ha="center",
        va="center",
        rotation=18,
        fontsize=52,
        fontweight="bold",
        color="#000000",
        alpha=0.07,
        zorder=10,
    )
