"""A load as it is watched: a line a second, or a chart that is redrawn where a person looks on."""

from collections import deque
from collections.abc import Callable
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import HTML, display

from helpers.load.progress import Second

WIDTH, HEIGHT, MARGIN = 640, 150, 34
MOST_POINTS = 300  # seconds shown at once
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#6b6b6b"
Lines = list[tuple[str, str, list[float | None]]]


def printed(name: str) -> Callable[[str, Any], None]:
    """Prints a line a second.

    Args:
        name: Of the scenario.
    """

    def told(kind: str, what: Any) -> None:
        if kind == "second":
            print(what.line(name), flush=True)

    return told


def shown(name: str) -> Callable[[str, Any], None]:
    """Redraws a chart once a second where a person looks on, and prints lines elsewhere."""
    if not is_watched():
        return printed(name)
    seconds: deque[Second] = deque(maxlen=MOST_POINTS)
    handle = display(HTML(""), display_id=True)

    def told(kind: str, what: Any) -> None:
        if kind == "second":
            seconds.append(what)
            handle.update(HTML(chart(name, seconds)))

    return told


def is_watched() -> bool:
    """Whether this runs in a notebook that a person can answer, not in a batch run."""
    kernel: Any = getattr(get_ipython(), "kernel", None)
    return bool(kernel) and bool(kernel.get_parent().get("content", {}).get("allow_stdin"))


def chart(name: str, seconds: "deque[Second]") -> str:
    """Rates and latency of the last seconds as SVG, made of text alone: it costs next to nothing.

    Args:
        name: Of the scenario.
        seconds: At least one.
    """
    now = seconds[-1]
    rates: Lines = [("offered /s", GREY, [one.offered_rps for one in seconds]),
             ("answered /s", BLUE, [one.throughput_rps for one in seconds])]  # fmt: skip
    times: Lines = [("P50 ms", BLUE, [one.p50_ms for one in seconds]),
             ("P99 ms", VERMILION, [one.p99_ms for one in seconds])]  # fmt: skip
    return f"<div>{_panel(rates)}{_panel(times)}<pre>{now.line(name)}</pre></div>"


def _panel(lines: Lines) -> str:
    top = max((value for _, _, values in lines for value in values if value), default=1.0)
    drawn = "".join(_line(values, top, colour) for _, colour, values in lines)
    keys = "".join(
        f'<text x="{MARGIN + 6 + 90 * number}" y="12" fill="{colour}">{label}</text>'
        for number, (label, colour, _) in enumerate(lines)
    )
    axis = (
        f'<path d="M{MARGIN} 18V{HEIGHT - 6}H{WIDTH}" stroke="{GREY}" fill="none"/>'
        f'<text x="0" y="26" fill="{GREY}">{top:.3g}</text>'
        f'<text x="0" y="{HEIGHT - 6}" fill="{GREY}">0</text>'
    )
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" font-size="11" '
        f'font-family="sans-serif">{axis}{keys}{drawn}</svg>'
    )


def _line(values: list[float | None], top: float, colour: str) -> str:
    step = (WIDTH - MARGIN) / max(len(values) - 1, 1)
    points = " ".join(
        f"{MARGIN + number * step:.1f},{HEIGHT - 6 - value / top * (HEIGHT - 24):.1f}"
        for number, value in enumerate(values)
        if value is not None
    )
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
