"""The figures of a run. Each answers one question and gives the answer in its title.

A figure raises `Problem` where the run lacks the record it is drawn from.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from helpers import style
from helpers.evidence import kpis
from helpers.load.records import Capacity, LoadReport, PhaseReport, ScenarioReport
from helpers.run import Run
from helpers.telemetry import snapshots
from helpers.telemetry.annotations import run_annotations
from helpers.telemetry.catalogue import LOAD_SERIES
from helpers.telemetry.dashboards import Dashboard, Panel
from helpers.telemetry.records import Telemetry

# MLCommons' inference rules, Server scenario: ResNet50-v1.5 on ImageNet, P99 within 15 ms
MLPERF_RESNET50_P99_MS = 15.0
ROLLING_S = 1.0
FEWEST_TO_ROLL = 5
SCENARIO_IN = 2.3  # height of a panel
CROWDED = 2_000  # more dots than this are drawn fainter
MOST_DOTS = 60_000  # of more, only every n-th is drawn: the picture looks the same
MOST_STEPS = 4_000  # of a distribution; more than the picture has pixels
DRAWN_AS_SPANS = ("load-start", "load-stop", "phase-start")


def latency_distribution(run: Run) -> None:
    """Which share of the requests was answered within which time, by scenario."""
    report, targets = run.load(LoadReport), run.profile.kpis
    with style.theme():
        figure, (axes,) = style.panels(1, height=4.0)
        for scenario, colour in zip(report.scenarios, style.LINES, strict=False):
            latency = good_latencies(run, scenario.name)
            if len(latency):
                ranks = np.unique(np.linspace(1, len(latency), MOST_STEPS).astype(int))
                axes.plot(
                    latency[ranks - 1], ranks / len(latency) * 100, color=colour,
                    drawstyle="steps-post", label=f"{scenario.name}, {len(latency):,} good answers",
                )  # fmt: skip
        for percent, target in ((50, targets.p50_ms), (95, targets.p95_ms), (99, targets.p99_ms)):
            axes.plot(target, percent, marker="D", color=style.BLACK, markersize=5)
            axes.annotate(f"target P{percent} ≤ {target:g} ms", (target, percent), xytext=(6, -11),
                          textcoords="offset points", fontsize=8)  # fmt: skip
        axes.set(xscale="log", xlabel="latency from the intended send time, ms",
                 ylabel="share of good answers, %", ylim=(0, 101))  # fmt: skip
        style.use_log_scale(axes.xaxis)
        style.legend(axes, loc="lower right", frameon=False)
        sentence, judged = "How long answers took, by scenario", kpis.judged_scenario(run)
        if judged and (latencies := _latencies(judged.measured)):
            highest = next(reversed(latencies))
            sentence = (
                f"{judged.name.title()}: half of the answers within {latencies['p50']:.1f} ms, "
                f"{highest[1:]} % within {latencies[highest]:.1f} ms"
            )
        axes.set_title(sentence)
        style.footnote(figure, "; ".join(note.sentence for note in report.calibrations))
        alt = f"Cumulative latency by scenario. {sentence}. Diamonds mark the targets."
        style.finish(run, figure, "latency-distribution", alt)


def latency_over_time(run: Run) -> None:
    """Every request at its intended send time, with phases and errors, by scenario."""
    report = run.load(LoadReport)
    with style.theme():
        figure, panels = style.panels(len(report.scenarios), height=SCENARIO_IN)
        for axes, scenario in zip(panels, report.scenarios, strict=True):
            _draw_requests(axes, run, scenario)
        worst = max(report.scenarios, key=lambda scenario: scenario.measured.max_ms or 0.0)
        slowest = f"{worst.measured.max_ms:,.0f} ms" if worst.measured.max_ms else "unknown"
        title = f"Latency over time: the slowest good answer took {slowest}, in {worst.name}"
        style.headline(figure, title)
        panels[-1].set_xlabel("seconds since the scenario's start")
        style.footnote(figure, "; ".join(note.sentence for note in report.calibrations))
        counts = ", ".join(f"{s.name} {_errors(s)} errors" for s in report.scenarios)
        alt = (
            "One dot per request, latency against intended send time; dashed lines mark Load Test "
            f"Start, Stop and phases; crosses mark errors. Slowest good answer {slowest} in "
            f"{worst.name}; {counts}."
        )
        style.finish(run, figure, "latency-over-time", alt)


def capacity_curve(run: Run) -> None:
    """Percentiles at every rate that was tried, with the knee, the operating point and limits."""
    capacity = run.load(Capacity)
    steps = [step for step in capacity.steps if step.p50_ms is not None]
    with style.theme():
        figure, (axes,) = style.panels(1, height=4.4)
        for name, colour in (("p50", style.BLUE), ("p95", style.ORANGE), ("p99", style.VERMILION)):
            known = [step for step in steps if getattr(step, f"{name}_ms") is not None]
            x = np.array([step.rate for step in known])
            y = np.array([getattr(step, f"{name}_ms") for step in known])
            over = np.array([step.overloaded for step in known], dtype=bool)
            axes.plot(x, y, "o-", color=colour, markersize=4, label=name.upper())
            axes.plot(x[over], y[over], "x", color=style.BLACK, markersize=8,
                      label="overloaded" if over.any() and name == "p50" else None)  # fmt: skip
        axes.set(xscale="log", yscale="log", ylabel="latency, ms",
                 xlabel="rate asked for, requests per second")  # fmt: skip
        style.use_log_scale(axes.xaxis)
        style.use_log_scale(axes.yaxis)
        _draw_limits(axes, run, capacity)
        axes.margins(y=0.12)
        axes.legend(loc="upper left", frameon=False, fontsize=8, ncols=2)
        title = f"Capacity: {capacity.sentence}"
        axes.set_title(title)
        style.footnote(figure, "; ".join(_capacity_notes(capacity)), style.VERMILION)
        knee = capacity.knee
        knee_note = f" The knee is at {knee.rate:,.0f}/s." if knee else ""
        alt = (
            f"Latency percentiles of {capacity.model} over {capacity.protocol} at {len(steps)} "
            f"rates. {title}.{knee_note} The band lies between the last "
            "rate that holds and the first that does not."
        )
        style.finish(run, figure, "capacity-curve", alt)


def capacity_curve_if_searched(run: Run) -> None:
    """As `capacity_curve`; prints one sentence where the run has no capacity search."""
    if run.find(Capacity):
        capacity_curve(run)
    else:
        print("No capacity was searched in this run.")


def telemetry(run: Run) -> None:
    """The series of server and machine with the load's events; prints where there is none."""
    panels = tuple(Panel((series,), series.title, None, False) for series in LOAD_SERIES)
    board = Dashboard("telemetry", "Server and machine during the load, as scraped", "", panels)
    data = snapshots.of_load(run, run.load(Telemetry), board)
    if not snapshots.draw(run, data, folder=style.FIGURES):
        print("No series of server and machine were read during the load.")


FIGURES: dict[str, Callable[[Run], None]] = {
    "latency-distribution": latency_distribution, "latency-over-time": latency_over_time,
    "capacity-curve": capacity_curve, "telemetry": telemetry,
}  # fmt: skip


def good_latencies(run: Run, scenario: str) -> npt.NDArray[np.floating]:
    """Latencies of all good answers of a scenario without its warm-up, ascending."""
    table = run.load_table(f"requests-{scenario}", ["latency_ms", "outcome", "warmup"])
    good = table["latency_ms"][(table["outcome"] == "ok") & ~table["warmup"]]
    return np.sort(good.to_numpy(dtype=float))


def _latencies(phase: PhaseReport) -> dict[str, float]:
    """Percentile, such as `p99.9` → milliseconds, ascending; empty without a median."""
    latencies = {name: percentile.ms for name, percentile in phase.latency.items()}
    order = sorted(latencies, key=lambda name: float(name[1:]))
    return {name: latencies[name] for name in order} if "p50" in latencies else {}


def _errors(scenario: ScenarioReport) -> int:
    return scenario.measured.requests - scenario.measured.ok


def _draw_requests(axes: Axes, run: Run, scenario: ScenarioReport) -> None:
    columns = ["intended_s", "latency_ms", "outcome"]
    table = run.load_table(f"requests-{scenario.name}", columns)
    good, bad = table[table["outcome"] == "ok"], table[table["outcome"] != "ok"]
    dots, crosses = (rows.iloc[:: len(rows) // MOST_DOTS + 1] for rows in (good, bad))
    axes.plot(
        dots["intended_s"], dots["latency_ms"], ".", markersize=2.5, color=style.BLUE,
        alpha=0.12 if len(good) > CROWDED else 0.35, rasterized=True,
    )  # fmt: skip
    rolling = good.groupby((good["intended_s"] // ROLLING_S) * ROLLING_S)["latency_ms"]
    p95 = rolling.quantile(0.95)[rolling.size() >= FEWEST_TO_ROLL]
    axes.plot(p95.index + ROLLING_S / 2, p95, color=style.VERMILION, linewidth=1.2)
    if len(bad):
        top = good["latency_ms"].max() if len(good) else 1.0
        axes.plot(crosses["intended_s"], np.full(len(crosses), top), "x", color=style.BLACK,
                  markersize=4, rasterized=True)  # fmt: skip
    for number, phase in enumerate(scenario.phases):
        name = f"{phase.name} (left out)" if phase.warmup else phase.name
        text = f"Load Test Start · {name}" if number == 0 else name
        style.mark_event(axes, phase.start_s, text, row=number % 2)
    stop = scenario.phases[-1].end_s
    style.mark_event(axes, stop, "Stop")
    started = pd.Timestamp(scenario.started).to_pydatetime()
    for mark in run_annotations(run, started, started + timedelta(seconds=stop)):
        if mark.kind not in DRAWN_AS_SPANS:
            style.mark_event(axes, (mark.at - started).total_seconds(), mark.text, row=2)
    errors = f"{_errors(scenario):,} errors" if _errors(scenario) else "no error"
    title = f"{scenario.name}: {scenario.measured.requests:,} measured requests, {errors}"
    title += f", {len(dots):,} of them drawn" if len(dots) < len(good) else ""
    axes.set_title(title, fontsize=10)
    axes.set(yscale="log", ylabel="latency, ms")
    style.use_log_scale(axes.yaxis)
    axes.set_xlim(left=0)
    style.headroom(axes, 0.15)
    if len(p95):
        axes.annotate(
            "P95 of 1 s", (1.0, p95.iloc[-1]), xycoords=("axes fraction", "data"), xytext=(4, 0),
            textcoords="offset points", va="center", color=style.VERMILION, fontsize=9,
            annotation_clip=False,
        )  # fmt: skip


def _draw_limits(axes: Axes, run: Run, capacity: Capacity) -> None:
    """The target, MLPerf's limit, the knee, and where the judged scenario ran."""
    limits = [(capacity.objective_p99_ms, style.BLACK, "--", "target P99")]
    if capacity.model == "resnet50":
        limits += [(MLPERF_RESNET50_P99_MS, style.PURPLE, ":", "MLPerf Server, ResNet50: P99")]
    for limit, colour, line, text in limits:
        label = f"{text} ≤ {limit:g} ms"
        axes.axhline(limit, color=colour, linewidth=1, linestyle=line, label=label)
    if capacity.capacity_rps and (fails := capacity.fails_at):
        axes.axvspan(capacity.capacity_rps, fails, color=style.VERMILION, alpha=0.12, linewidth=0,
                     label="between the last that holds and the first that fails")  # fmt: skip
    knee = capacity.knee
    if knee and knee.p50_ms:
        axes.annotate(
            f"knee, {knee.rate:,.0f}/s", (knee.rate, knee.p50_ms),
            xytext=(0, -26), textcoords="offset points", ha="center", fontsize=8.5,
            arrowprops={"arrowstyle": "-", "color": style.GREY},
        )  # fmt: skip
    report = run.readable(LoadReport)
    for scenario in report.scenarios if report else ():
        p99 = scenario.measured.latency.get("p99")
        if scenario.name == capacity.scenario and p99:
            axes.plot(
                scenario.measured.offered_rps, p99.ms, "D", color=style.GREEN, markersize=8,
                label=f"operating point: {scenario.name}, P99",
            )  # fmt: skip


def _capacity_notes(capacity: Capacity) -> Iterator[str]:
    if invalid := [f"{step.rate:,.0f}/s" for step in capacity.steps if step.invalid]:
        yield f"Invalid: {', '.join(invalid)}"
    if repeated := [f"{step.rate:,.0f}/s" for step in capacity.steps if step.repeated]:
        yield f"Run twice, because the client was the bottleneck: {', '.join(repeated)}"
