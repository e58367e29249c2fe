"""The style of every figure, and how figures are saved and shown."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from IPython.core.getipython import get_ipython
from IPython.display import Image as ShownImage
from IPython.display import display
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from PIL import Image

from helpers.run import Run

# palette of Okabe and Ito (2008), which colour-blind readers can distinguish
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
LINES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
GREY = "#6b6b6b"
WIDTH_IN = 9.0
DPI = 110
FIGURES = "evidence/figures"

_SHEET = Path(__file__).with_suffix(".mplstyle")
_WATERMARK: dict[str, Any] = dict(
    ha="center", va="center", rotation=18, fontsize=52, fontweight="bold", alpha=0.07, zorder=10
)


def theme() -> AbstractContextManager[None]:
    """Matplotlib's settings while a figure is drawn."""
    return mpl.rc_context({"axes.prop_cycle": cycler(color=LINES)}, _SHEET)


def panels(count: int, *, height: float) -> tuple[Figure, Sequence[Axes]]:
    """A figure with panels of `height` inches each, one below the other."""
    size = (WIDTH_IN, height * count + 0.4)
    figure, axes = plt.subplots(count, 1, figsize=size, squeeze=False)
    return figure, list(axes[:, 0])


def finish(run: Run, figure: Figure, name: str, alt: str, *, place: str = FIGURES) -> None:
    """Save a figure in the run's folder `place`, with its description, and show it in a notebook.

    `name` is the files' name without suffix; `alt` is for readers who cannot see the picture.
    """
    path = run.folder / place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    save(figure, path, [run])
    run.write(f"{place}/{name}.txt", alt + "\n")
    if get_ipython() is not None:
        display(ShownImage(filename=f"{path}.png"), metadata={"image/png": {"alt": alt}})


def save(figure: Figure, path: Path, runs: Iterable[Run]) -> None:
    """Write a figure of these runs as PNG and SVG, and close it; `path` has no suffix.

    It is watermarked if one of the runs is a rehearsal.
    """
    if any(run.profile.target == "rehearsal" for run in runs):
        figure.text(0.5, 0.5, "REHEARSAL", **_WATERMARK)
    figure.set_dpi(DPI)
    bitmap = FigureCanvasAgg(figure)
    bitmap.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(bitmap.buffer_rgba())  # type: ignore[no-untyped-call]
    # a palette halves the size of exported pages
    reduced = Image.fromarray(pixels).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    reduced.save(path.with_name(f"{path.name}.png"), dpi=(DPI, DPI))
    figure.set_layout_engine("none")  # `savefig` would lay out, and draw twice, for each format
    picture = path.with_name(f"{path.name}.svg")
    vectors = FigureCanvasSVG(figure)  # made only now: it changes the resolution
    vectors.print_svg(picture, metadata={"Date": None})  # type: ignore[no-untyped-call]
    plt.close(figure)


def mark_event(axes: Axes, at: float, text: str, *, row: int = 0) -> None:
    """Mark an event with a vertical line and its name; use different rows for neighbours."""
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


def headline(figure: Figure, text: str) -> None:
    """Write a title above all panels."""
    figure.suptitle(text, x=0.01, ha="left", fontweight="bold", fontsize=11.5)


def legend(axes: Axes, **options: Any) -> None:
    """Add a legend, if anything has a label."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(**options)


def headroom(axes: Axes, share: float) -> None:
    """Leave a share of the axes' height free above the data, for names of events."""
    corners = axes.transAxes.transform([(0, 0), (0, 1 / (1 - share))])
    low, high = axes.transData.inverted().transform(corners)[:, 1]
    axes.set_ylim(low, high)


def footnote(figure: Figure, text: str, colour: str = GREY) -> None:
    """Write a line below the figure."""
    if text:
        figure.supxlabel(text, fontsize=8, color=colour, x=0.01, ha="left")


def use_log_scale(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers: 1, 2, 5, 10."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def use_time_scale(axis: Axis) -> None:
    """Label a time axis with as few digits as possible, and the date at its end."""
    locator = dates.AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
    axis.set_major_locator(locator)
    axis.set_major_formatter(dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axis.get_offset_text().set_fontsize(7)


def date_number(at: datetime) -> float:
    """The position of a time on a time axis."""
    return float(dates.date2num(at))  # type: ignore[no-untyped-call]
