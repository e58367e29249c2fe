"""The figures of a run; each answers one question and says the answer in its title."""

from collections.abc import Callable
from datetime import timedelta
from itertools import cycle, groupby

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from helpers import style
from helpers.evidence.curve import capacity_curve
from helpers.load.report import LoadReport, PhaseReport, ScenarioReport
from helpers.run import Run
from helpers.telemetry import marks, series
from helpers.telemetry.marks import Mark
from helpers.telemetry.report import SeriesFacts, Telemetry

Floats = npt.NDArray[np.floating]
ROLLING_S = 1.0
FEWEST_TO_ROLL = 5
SCENARIO_IN, SERIES_IN = 2.3, 1.35  # heights of a panel
MARKERS = "osD^vPX"
CROWDED = 2_000  # dots of a crowd are drawn fainter
MOST_DOTS = 60_000  # of a larger crowd every n-th is drawn; no eye could tell
MOST_STEPS = 4_000  # of a distribution, more than the picture has pixels
OF_LOAD = ("load-start", "load-stop", "phase-start")  # drawn as windows
OVER_TIME = ["intended_s", "latency_ms", "outcome"]


def latency_distribution(run: Run) -> None:
    """What share of the requests was answered within which time, by scenario.

    Raises:
        Problem: The run has no load report.
    """
    report = run.load(LoadReport)
    kpis = run.profile.kpis
    with style.theme():
        figure, (axes,) = style.panels(1, height=4.0, share_x=False)
        for one, colour in zip(report.scenarios, style.LINES, strict=False):
            latency = np.sort(_good(run, one))
            if len(latency):
                ranks = np.unique(np.linspace(1, len(latency), MOST_STEPS).astype(int))
                share = ranks / len(latency) * 100
                label = f"{one.name}, {len(latency):,} good answers"
                axes.plot(latency[ranks - 1], share, color=colour, drawstyle="steps-post",
                          label=label)  # fmt: skip
        for percent, target in ((50, kpis.p50_ms), (95, kpis.p95_ms), (99, kpis.p99_ms)):
            axes.plot(target, percent, marker="D", color=style.BLACK, markersize=5)
            axes.annotate(
                f"target P{percent} ≤ {target:g} ms",
                (target, percent),
                xytext=(6, -11),
                textcoords="offset points",
                fontsize=8,
            )
        axes.set(
            xscale="log",
            xlabel="latency from the intended send time, ms",
            ylabel="share of good answers, %",
            ylim=(0, 101),
        )
        style.use_log_scale(axes.xaxis)
        style.legend(axes, loc="lower right", frameon=False)
        sentence = _distribution_sentence(report, kpis.scenario)
        axes.set_title(sentence)
        style.footnote(figure, _own_share(report))
        alt = f"Cumulative latency by scenario. {sentence}. Diamonds mark the targets."
        style.finish(run, figure, "latency-distribution", alt)


def latency_over_time(run: Run) -> None:
    """Every request at its intended send time, with phases and errors, by scenario.

    Raises:
        Problem: The run has no load report.
    """
    report = run.load(LoadReport)
    with style.theme():
        figure, panels = style.panels(len(report.scenarios), height=SCENARIO_IN, share_x=False)
        for axes, one in zip(panels, report.scenarios, strict=True):
            rows = run.load_table(f"requests-{one.name}", OVER_TIME)
            _scenario_over_time(axes, one, rows, _happened(run, one))
        worst = max(report.scenarios, key=lambda one: one.measured.max_ms or 0.0)
        slowest = f"{worst.measured.max_ms:,.0f} ms" if worst.measured.max_ms else "unknown"
        figure.suptitle(
            f"Latency over time: the slowest good answer took {slowest}, in {worst.name}",
            x=0.01, ha="left", fontweight="bold", fontsize=11.5,
        )  # fmt: skip
        panels[-1].set_xlabel("seconds since the scenario's start")
        style.footnote(figure, _own_share(report))
        counts = ", ".join(
            f"{one.name} {one.measured.requests - one.measured.ok} errors"
            for one in report.scenarios
        )
        alt = (
            "One dot a request, latency against intended send time; dashed lines mark Load Test "
            f"Start, Stop and phases; crosses mark errors. Slowest good answer {slowest} in "
            f"{worst.name}; {counts}."
        )
        style.finish(run, figure, "latency-over-time", alt)


def throughput_latency(run: Run) -> None:
    """Latency percentiles of every measured phase against its throughput.

    Raises:
        Problem: The run has no load report.
    """
    report = run.load(LoadReport)
    with style.theme():
        figure, (axes,) = style.panels(1, height=4.0, share_x=False)
        for one, colour in zip(report.scenarios, style.LINES, strict=False):
            measured = [phase for phase in one.phases if not phase.warmup]
            for phase, marker in zip(measured, cycle(MARKERS), strict=False):
                if "p50" in phase.latency:
                    _phase_bar(axes, one.name, phase, colour, marker)
        axes.set(
            yscale="log",
            xlabel="throughput, good answers per second",
            ylabel="latency, ms",
        )
        style.use_log_scale(axes.yaxis)
        axes.margins(x=0.1)
        axes.set_xlim(left=0)
        style.legend(axes, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
        best = max((phase for one in report.scenarios for phase in one.phases if not phase.warmup),
                   key=lambda phase: phase.throughput_rps)  # fmt: skip
        axes.set_title(
            "Throughput against latency: markers are medians, bars reach to the highest percentile"
        )
        alt = (
            "Median to highest reportable percentile of each measured phase against its "
            f"throughput; the busiest phase answered {best.throughput_rps:.1f} requests a second."
        )
        style.finish(run, figure, "throughput-latency", alt)


def telemetry(run: Run) -> None:
    """What server and machine said, on one time axis with the load.

    Raises:
        Problem: The run has no telemetry.
    """
    record = run.load(Telemetry)
    samples = run.load_table("metrics")
    begin = pd.Timestamp(record.start)
    present = [one for one in record.series if not one.absent]
    absent = [one for one in record.series if one.absent]
    with style.theme():
        figure, panels = style.panels(max(len(present), 1), height=SERIES_IN, share_x=True)
        for axes, one in zip(panels, present, strict=False):
            _series(axes, one, samples[samples["series"] == one.name], begin)
        style.headroom(panels[0], 0.3)
        for number, axes in enumerate(panels):
            _load_windows(run, axes, begin, named=number == 0)
        panels[-1].set_xlabel("seconds")
        missing = "; ".join(
            f"{', '.join(one.title for one in alike)} absent: {reason}"
            for reason, alike in groupby(absent, key=lambda one: one.absent)
        )
        title = "Server and machine from Load Test Start to Stop, as Prometheus scraped them"
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11.5)
        if missing:
            style.footnote(figure, missing, style.VERMILION)
        alt = f"{title}: {', '.join(one.title for one in present)}. {missing}"
        style.finish(run, figure, "telemetry", alt.strip())


FIGURES: dict[str, Callable[[Run], None]] = {
    "latency-distribution": latency_distribution,
    "latency-over-time": latency_over_time,
    "throughput-latency": throughput_latency,
    "capacity-curve": capacity_curve,
    "telemetry": telemetry,
}


def _good(run: Run, one: ScenarioReport) -> Floats:
    table = run.load_table(f"requests-{one.name}", ["latency_ms", "outcome", "warmup"])
    good = table["latency_ms"][(table["outcome"] == "ok") & ~table["warmup"]]
    return good.to_numpy(dtype=float)


def _thinned(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.iloc[:: len(rows) // MOST_DOTS + 1]


def _own_share(report: LoadReport) -> str:
    return "; ".join(one.sentence for one in report.calibrations)


def _distribution_sentence(report: LoadReport, scenario: str) -> str:
    for one in report.scenarios:
        latency = one.measured.latency
        if one.name == scenario and "p50" in latency:
            highest = max(latency, key=lambda name: float(name[1:]))
            return (
                f"{scenario.title()}: half of the answers within {latency['p50'].ms:.1f} ms, "
                f"{highest[1:]} % within {latency[highest].ms:.1f} ms"
            )
    return "How long answers took, by scenario"


def _happened(run: Run, one: ScenarioReport) -> list[Mark]:
    """What else happened during a scenario: scaling, alerts, restarts, notices, errors."""
    start = pd.Timestamp(one.started).to_pydatetime()
    end = start + timedelta(seconds=one.phases[-1].end_s)
    return [mark for mark in marks.of_run(run, start, end) if mark.kind not in OF_LOAD]


def _scenario_over_time(
    axes: Axes, one: ScenarioReport, table: pd.DataFrame, happened: list[Mark]
) -> None:
    good = table[table["outcome"] == "ok"]
    bad = table[table["outcome"] != "ok"]
    faint = 0.12 if len(good) > CROWDED else 0.35
    dots = _thinned(good)
    axes.plot(
        dots["intended_s"], dots["latency_ms"], ".", markersize=2.5, alpha=faint,
        color=style.BLUE, rasterized=True,
    )  # fmt: skip
    rolling = good.groupby((good["intended_s"] // ROLLING_S) * ROLLING_S)["latency_ms"]
    p95 = rolling.quantile(0.95)[rolling.size() >= FEWEST_TO_ROLL]
    axes.plot(p95.index + ROLLING_S / 2, p95, color=style.VERMILION, linewidth=1.2)
    if len(bad):
        top = good["latency_ms"].max() if len(good) else 1.0
        crosses = _thinned(bad)
        axes.plot(crosses["intended_s"], np.full(len(crosses), top), "x", color=style.BLACK,
                  markersize=4, rasterized=True)  # fmt: skip
    for number, phase in enumerate(one.phases):
        name = f"{phase.name} (left out)" if phase.warmup else phase.name
        text = f"Load Test Start · {name}" if number == 0 else name
        style.mark_event(axes, phase.start_s, text, row=number % 2)
    style.mark_event(axes, one.phases[-1].end_s, "Stop")
    started = pd.Timestamp(one.started)
    for mark in happened:
        style.mark_event(axes, (mark.at - started).total_seconds(), mark.text, row=2)
    wrong = one.measured.requests - one.measured.ok
    errors = f", {wrong:,} errors" if wrong else ", no error"
    drawn = f", {len(dots):,} of them drawn" if len(dots) < len(good) else ""
    count = f"{one.measured.requests:,} measured requests"
    axes.set_title(f"{one.name}: {count}{errors}{drawn}", fontsize=10)
    axes.set(yscale="log", ylabel="latency, ms")
    style.use_log_scale(axes.yaxis)
    axes.set_xlim(left=0)
    style.headroom(axes, 0.15)
    if len(p95):
        label = style.LineLabel(p95.iloc[-1], "P95 of 1 s", style.VERMILION)
        style.label_lines(axes, [label], SCENARIO_IN)


def _phase_bar(axes: Axes, scenario: str, phase: PhaseReport, colour: str, marker: str) -> None:
    values = {name: one.ms for name, one in phase.latency.items()}
    low, high = values["p50"], max(values.values())
    highest = max(values, key=lambda name: float(name[1:]))
    rate = phase.throughput_rps
    axes.plot([rate, rate], [low, high], color=colour, linewidth=2.2, solid_capstyle="butt")
    doubt = " (invalid)" if phase.invalid else " (overloaded)" if phase.overloaded else ""
    label = f"{scenario}, {phase.name}{doubt}\nP50 {low:.1f}, {highest.upper()} {high:.1f} ms"
    axes.plot(rate, low, marker, color=colour, markersize=6, label=label)
    axes.plot(rate, high, "_", color=colour, markersize=12, markeredgewidth=2.2)


def _series(axes: Axes, one: SeriesFacts, samples: pd.DataFrame, begin: pd.Timestamp) -> None:
    labels = []
    for (label, group), colour in zip(samples.groupby("label"), style.LINES, strict=False):
        seconds = (group["time"] - begin).dt.total_seconds()
        axes.plot(seconds, group["value"], color=colour, linewidth=1.3)
        if label:
            labels.append(style.LineLabel(group["value"].iloc[-1], str(label), colour))
    axes.set_ylabel(one.unit, fontsize=8)
    axes.set_title(one.title, fontsize=9)
    axes.set_ylim(bottom=0)
    style.label_lines(axes, labels, SERIES_IN)


def _load_windows(run: Run, axes: Axes, begin: pd.Timestamp, *, named: bool) -> None:
    for one in series.spans(run):
        low, high = ((at - begin).total_seconds() for at in (one.start, one.end))
        axes.axvspan(low, high, color=style.SKY, alpha=0.12, linewidth=0)
        style.mark_event(axes, low, f"Start {one.scenario}" if named else "")
        style.mark_event(axes, high, "Stop" if named else "", row=1)
    for mark in marks.of_run(run):
        if mark.kind not in OF_LOAD:
            at = (mark.at - begin).total_seconds()
            style.mark_event(axes, at, mark.text if named else "", row=2)
