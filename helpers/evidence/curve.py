"""The curve of latency against throughput: where it bends, and where the run operated."""

from collections.abc import Iterator

from matplotlib.axes import Axes

from helpers import style
from helpers.load.report import Capacity, LoadReport, Step
from helpers.run import Run

# MLCommons' inference rules, Server scenario: ResNet50-v1.5 on ImageNet, P99 within 15 ms
MLPERF_RESNET50_P99_MS = 15.0
HEIGHT_IN = 4.4
SHOWN = (("p50_ms", "P50", style.BLUE), ("p95_ms", "P95", style.ORANGE),
         ("p99_ms", "P99", style.VERMILION))  # fmt: skip


def capacity_curve(run: Run) -> None:
    """Percentiles at every rate that was tried, with the knee, the operating point and limits.

    Raises:
        Problem: The run has searched no capacity.
    """
    found = run.load(Capacity)
    steps = [one for one in found.steps if one.p50_ms is not None]
    with style.theme():
        figure, (axes,) = style.panels(1, height=HEIGHT_IN, share_x=False)
        _lines(axes, steps)
        axes.set(yscale="log", xlabel="throughput, good answers per second", ylabel="latency, ms")
        style.use_log_scale(axes.yaxis)
        axes.set_xlim(left=0)
        _limits(axes, found)
        _operating_point(run, axes, found)
        axes.margins(y=0.12)
        axes.legend(loc="upper left", frameon=False, fontsize=8, ncols=2)
        title = f"Capacity: {found.sentence}"
        axes.set_title(title)
        if notes := list(_notes(found)):
            style.footnote(figure, "; ".join(notes), style.VERMILION)
        knee = found.knee
        told = f" The knee lies at {knee.throughput_rps:,.0f}/s." if knee else ""
        alt = (
            f"Latency percentiles of {found.model} over {found.protocol} at {len(steps)} rates. "
            f"{title}.{told} A line marks MLPerf's Server limit for ResNet50, "
            f"{MLPERF_RESNET50_P99_MS:g} ms."
        )
        style.finish(run, figure, "capacity-curve", alt)


def capacity_curve_where_searched(run: Run) -> None:
    """As `capacity_curve`; nothing, and one printed sentence, where no capacity was searched."""
    if run.find(Capacity):
        capacity_curve(run)
    else:
        print("No capacity was searched in this run.")


def _lines(axes: Axes, steps: list[Step]) -> None:
    for key, name, colour in SHOWN:
        known = [one for one in steps if getattr(one, key) is not None]
        x = [one.throughput_rps for one in known]
        y = [getattr(one, key) for one in known]
        axes.plot(x, y, "o-", color=colour, markersize=4, label=name)
        over = [number for number, one in enumerate(known) if one.overloaded]
        axes.plot([x[n] for n in over], [y[n] for n in over], "x", color=style.BLACK, markersize=8,
                  label="overloaded" if over and key == "p50_ms" else None)  # fmt: skip


def _notes(found: Capacity) -> Iterator[str]:
    """Which steps must not be believed, and which were fired twice."""
    doubted = [f"{one.rate:,.0f}/s" for one in found.steps if one.invalid]
    repeated = [f"{one.rate:,.0f}/s" for one in found.steps if one.repeated]
    if doubted:
        yield f"Not to be believed: {', '.join(doubted)}"
    if repeated:
        yield f"Fired twice, as the client was the bottleneck: {', '.join(repeated)}"


def _limits(axes: Axes, found: Capacity) -> None:
    axes.axhline(found.objective_p99_ms, color=style.BLACK, linewidth=1, linestyle="--",
                 label=f"target P99 ≤ {found.objective_p99_ms:g} ms")  # fmt: skip
    axes.axhline(MLPERF_RESNET50_P99_MS, color=style.PURPLE, linewidth=1, linestyle=":",
                 label=f"MLPerf Server, ResNet50: P99 ≤ {MLPERF_RESNET50_P99_MS:g} ms")  # fmt: skip
    if found.knee and found.knee.p50_ms:
        axes.annotate(
            f"knee, {found.knee.throughput_rps:,.0f}/s",
            (found.knee.throughput_rps, found.knee.p50_ms),
            xytext=(0, -26),
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
            arrowprops={"arrowstyle": "-", "color": style.GREY},
        )


def _operating_point(run: Run, axes: Axes, found: Capacity) -> None:
    """Where the scenario ran that the targets are held against."""
    report = run.readable(LoadReport)
    scenarios = report.scenarios if report else ()
    for one in scenarios:
        p99 = one.measured.latency.get("p99")
        if one.name == found.scenario and p99:
            axes.plot(one.measured.throughput_rps, p99.ms, "D", color=style.GREEN, markersize=8,
                      label=f"operating point: {one.name}, P99")  # fmt: skip
