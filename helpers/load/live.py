"""A load while it runs: its workers' progress as one, a line a second, or a chart in a notebook."""

import math
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from helpers.load.request import BUCKET

OnEvent = Callable[[str, Any], None]
"""Called with `load-start`, `phase-start`, `phase-stop`, `load-stop` and what they are about (the
scenario's name, the phase's name, the outcome), and once a second with `second` and a `Second`."""

RECENT = 5  # seconds that the shown percentiles reach back
WIDTH, HEIGHT, MARGIN = 640, 150, 34
MOST_POINTS = 300  # seconds shown at once
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#6b6b6b"
Lines = list[tuple[str, str, list[float | None]]]


@dataclass(frozen=True)
class Second:
    """One second of a load, over all its workers.

    Attributes:
        elapsed_s: Since the scenario's start.
        phase: Being played.
        offered_rps: Requests released in the last second, per second.
        throughput_rps: Good answers likewise.
        in_flight: Requests without an outcome.
        errors: Since the start.
        error_share: Of the outcomes of the last five seconds, 0 to 1.
        p50_ms: Over the last five seconds, to 2 %, as the other two; None without a good answer.
        p95_ms: See `p50_ms`.
        p99_ms: See `p50_ms`.
        memory_mib: Of all workers together.
    """

    elapsed_s: float
    phase: str
    offered_rps: float
    throughput_rps: float
    in_flight: int
    errors: int
    error_share: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    memory_mib: float

    def line(self, name: str) -> str:
        """The second as one line of text."""
        latencies = [
            f"{label} –" if value is None else f"{label} {value:.1f} ms"
            for label, value in (("P50", self.p50_ms), ("P95", self.p95_ms), ("P99", self.p99_ms))
        ]
        return (
            f"{name} {self.elapsed_s:6.1f} s · {self.phase} · offered {self.offered_rps:.0f}/s · "
            f"answered {self.throughput_rps:.0f}/s · in flight {self.in_flight} · "
            f"errors {self.errors} · {' · '.join(latencies)}"
        )


class ProgressMerger:
    """Makes seconds of a load from the progress of each of its workers.

    Args:
        workers: How many there are.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._parts: dict[int, dict[str, Any]] = {}
        self._before = (0.0, 0, 0)
        self._recent: deque[tuple[Counter[int], int, int]] = deque(maxlen=RECENT + 1)
        self._recent.append((Counter(), 0, 0))

    def add(self, worker: int, progress: dict[str, Any]) -> Second | None:
        """Take the progress of a worker; returns the second once all workers have sent theirs."""
        self._parts[worker] = progress
        if len(self._parts) < self._workers:
            return None
        whole = summed(list(self._parts.values()))
        self._parts = {}
        elapsed, sent, ok = whole["elapsed_s"], whole["sent"], whole["ok"]
        errors = sum(whole["errors"].values())
        self._recent.append((whole["latency"], ok, errors))
        (_, old_ok, old_errors), *last = self._recent
        recent = sum((latency for latency, _, _ in last), Counter())
        before_s, before_sent, before_ok = self._before
        self._before = (elapsed, sent, ok)
        seconds = max(elapsed - before_s, 1e-9)
        outcomes = ok - old_ok + errors - old_errors
        return Second(
            elapsed_s=elapsed,
            phase=whole["phase"],
            offered_rps=(sent - before_sent) / seconds,
            throughput_rps=(ok - before_ok) / seconds,
            in_flight=whole["in_flight"],
            errors=errors,
            error_share=(errors - old_errors) / outcomes if outcomes else 0.0,
            p50_ms=_percentile_ms(recent, 0.50),
            p95_ms=_percentile_ms(recent, 0.95),
            p99_ms=_percentile_ms(recent, 0.99),
            memory_mib=whole["memory_mib"],
        )


def summed(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The progress of several workers as that of one."""
    errors: Counter[str] = Counter()
    latency: Counter[int] = Counter()
    for part in parts:
        errors.update(part["errors"])
        latency.update({int(bucket): count for bucket, count in part["latency"].items()})
    return {
        "kind": "progress",
        "phase": parts[0]["phase"],
        "elapsed_s": max(part["elapsed_s"] for part in parts),
        "errors": errors,
        "latency": latency,
        **{
            name: sum(part[name] for part in parts)
            for name in ("sent", "ok", "in_flight", "memory_mib")
        },
    }


def _percentile_ms(latency: "Counter[int]", share: float) -> float | None:
    rank, reached = share * latency.total(), 0
    for bucket in sorted(latency):
        reached += latency[bucket]
        if reached >= rank:
            return math.exp((bucket + 0.5) * BUCKET) * 1000
    return None


def printer(name: str) -> OnEvent:
    """Prints a line a second of the scenario of this name."""

    def on_event(kind: str, what: Any) -> None:
        if kind == "second":
            print(what.line(name), flush=True)

    return on_event


def display(name: str) -> OnEvent:
    """Redraws a chart once a second in an interactive notebook, and prints lines elsewhere."""
    from IPython.core.getipython import get_ipython
    from IPython.display import HTML
    from IPython.display import display as show

    kernel: Any = getattr(get_ipython(), "kernel", None)
    if not (kernel and kernel.get_parent().get("content", {}).get("allow_stdin")):
        return printer(name)  # nobody who could answer looks on: a batch run
    seconds: deque[Second] = deque(maxlen=MOST_POINTS)
    handle = show(HTML(""), display_id=True)

    def on_event(kind: str, what: Any) -> None:
        if kind == "second":
            seconds.append(what)
            handle.update(HTML(chart(name, seconds)))

    return on_event


def chart(name: str, seconds: "deque[Second]") -> str:
    """Rates and latency of the last seconds, of which there is one at least, as SVG.

    It is made of text alone: that costs next to nothing.
    """
    rates: Lines = [("offered /s", GREY, [second.offered_rps for second in seconds]),
             ("answered /s", BLUE, [second.throughput_rps for second in seconds])]  # fmt: skip
    times: Lines = [("P50 ms", BLUE, [second.p50_ms for second in seconds]),
             ("P99 ms", VERMILION, [second.p99_ms for second in seconds])]  # fmt: skip
    return f"<div>{_panel(rates)}{_panel(times)}<pre>{seconds[-1].line(name)}</pre></div>"


def _panel(lines: Lines) -> str:
    top = max((value for _, _, values in lines for value in values if value), default=1.0)
    parts = [
        f'<path d="M{MARGIN} 18V{HEIGHT - 6}H{WIDTH}" stroke="{GREY}" fill="none"/>'
        f'<text x="0" y="26" fill="{GREY}">{top:.3g}</text>'
        f'<text x="0" y="{HEIGHT - 6}" fill="{GREY}">0</text>'
    ]
    for number, (label, colour, values) in enumerate(lines):
        step = (WIDTH - MARGIN) / max(len(values) - 1, 1)
        points = " ".join(
            f"{MARGIN + at * step:.1f},{HEIGHT - 6 - value / top * (HEIGHT - 24):.1f}"
            for at, value in enumerate(values)
            if value is not None
        )
        parts.append(
            f'<text x="{MARGIN + 6 + 90 * number}" y="12" fill="{colour}">{label}</text>'
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        )
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" font-size="11" '
        f'font-family="sans-serif">{"".join(parts)}</svg>'
    )
