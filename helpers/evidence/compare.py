"""Compares two runs: their figures, whether they differ, and their latencies in one picture."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from helpers import style
from helpers.errors import Problem
from helpers.evidence import html_export
from helpers.evidence.kpis import format_figure, format_interval
from helpers.evidence.plots import good_latencies
from helpers.load.records import LoadReport, ScenarioReport
from helpers.paths import OUTPUTS
from helpers.profile import LABEL
from helpers.run import Run

Floats = npt.NDArray[np.floating]
SIGNIFICANT = 0.05
CAUTION = (
    "The latencies within one run depend on each other, so two runs may differ only because they "
    "ran at different hours. Repeat both before you rely on a difference."
)


class Row(NamedTuple):
    """One figure of a scenario in both runs, and whether they differ."""

    scenario: str
    figure: str
    first: str
    second: str
    change_pct: float | None
    finding: str


class Comparison(NamedTuple):
    """Two runs side by side; `comparison.json`."""

    first: str  # run id
    second: str
    labels: tuple[str, str]  # what the figures of each run's target stand for
    choices: dict[str, tuple[str, str]]  # profile key → the two values, where the profiles differ
    rows: list[Row]  # every figure of the scenarios that both have
    only_in_one: list[str]  # scenarios that only one run has


def compare(first: Run, second: Run) -> Comparison:
    """Compare the loads of two runs; a Problem if they have no scenario in common."""
    ours, theirs = (
        {scenario.name: scenario for scenario in run.load(LoadReport).scenarios}
        for run in (first, second)
    )
    shared = [name for name in ours if name in theirs]
    if not shared:
        raise Problem(
            f"Runs {first.run_id} and {second.run_id} have no scenario in common.",
            f"The first has {', '.join(ours)}; the second {', '.join(theirs)}.",
        )
    return Comparison(
        first=first.run_id,
        second=second.run_id,
        labels=(LABEL[first.profile.target], LABEL[second.profile.target]),
        choices=dict(_changed_settings(first, second)),
        rows=[row for name in shared
              for row in _rows(ours[name], theirs[name], good_latencies(first, name),
                               good_latencies(second, name))],
        only_in_one=[f"{name}: only in {(first if name in ours else second).run_id}"
                     for name in (*ours, *theirs) if name not in shared],
    )  # fmt: skip


def frame(comparison: Comparison) -> pd.DataFrame:
    """The comparison as a table."""
    columns = ["scenario", "figure", comparison.first, comparison.second, "change", "finding"]
    table = pd.DataFrame(comparison.rows).set_axis(columns, axis="columns")
    table["change"] = ["" if row.change_pct is None else f"{row.change_pct:+.1f} %"
                       for row in comparison.rows]  # fmt: skip
    return table


def write(first: Run, second: Run, folder: Path = OUTPUTS / "comparisons") -> Path:
    """Compare two runs, and write table, figure and page; returns the page's path."""
    comparison = compare(first, second)
    home = folder / f"{first.run_id}--{second.run_id}"
    home.mkdir(parents=True, exist_ok=True)
    alt = _draw(first, second, list(dict.fromkeys(row.scenario for row in comparison.rows)), home)
    facts = comparison._asdict() | {"rows": [row._asdict() for row in comparison.rows]}
    (home / "comparison.json").write_text(json.dumps(facts, indent=2) + "\n")
    page = home / "index.html"
    page.write_text(
        html_export.render(
            "compare.html.j2", first, comparison=comparison, alt=alt, caution=CAUTION,
            table=frame(comparison).to_html(index=False, border=0),
        )
    )  # fmt: skip
    return page


def _changed_settings(first: Run, second: Run) -> Iterator[tuple[str, tuple[str, str]]]:
    dumps = (run.profile.model_dump(mode="json") for run in (first, second))
    ours, theirs = (
        {str(key): values[0] for key, values in pd.json_normalize(dump).items()} for dump in dumps
    )
    for key in dict.fromkeys([*ours, *theirs]):
        before, after = str(ours.get(key, "–")), str(theirs.get(key, "–"))
        if before != after and not key.startswith("load.scenarios"):
            yield key, (before, after)


def _rows(
    ours: ScenarioReport, theirs: ScenarioReport, first: Floats, second: Floats
) -> Iterator[Row]:
    from scipy import stats  # slow to import

    name, a, b = ours.name, ours.measured, theirs.measured
    for percentile in ("p50", "p95", "p99"):
        yield _percentile_row(ours, theirs, percentile)
    finding = "nothing to compare"
    if first.size and second.size:
        test = stats.mannwhitneyu(first, second)
        slower = 100 * (1 - float(test.statistic) / (first.size * second.size))
        finding = f"an answer of the second is slower in {slower:.0f} % of pairs "
        finding += f"({_significance(test.pvalue)}, Mann-Whitney)"
    counts = [f"{len(latencies):,} good answers" for latencies in (first, second)]
    yield Row(name, "all latencies", counts[0], counts[1], None, finding)
    rates = ("a closed loop" if phase.requested_rps is None else f"{phase.requested_rps:.1f}/s"
             for phase in (a, b))  # fmt: skip
    shown = format_figure(a.throughput_rps), format_figure(b.throughput_rps)
    change = _change(a.throughput_rps, b.throughput_rps)
    yield Row(name, "throughput, /s", *shown, change, f"requested {' and '.join(rates)}")
    errors = stats.fisher_exact([(a.requests - a.ok, a.ok), (b.requests - b.ok, b.ok)])
    shown = format_figure(a.error_rate_pct), format_figure(b.error_rate_pct)
    yield Row(name, "errors, %", *shown, None, f"{_significance(errors.pvalue)}, Fisher")


def _percentile_row(ours: ScenarioReport, theirs: ScenarioReport, name: str) -> Row:
    a, b = ours.measured.latency.get(name), theirs.measured.latency.get(name)
    runs = {"first": ours, "second": theirs}
    invalid = [run for run, scenario in runs.items() if scenario.invalid]
    if invalid:
        finding = f"not comparable: the {' and the '.join(invalid)} is invalid"
    elif a is None or b is None:
        finding = "too few samples"
    elif a.low_ms is None or a.high_ms is None or b.low_ms is None or b.high_ms is None:
        finding = "too few samples for an interval"
    elif a.high_ms < b.low_ms or b.high_ms < a.low_ms:
        finding = "differs: the 95 % intervals do not overlap"
    else:
        finding = "no difference shown"
    shown = [format_interval(value.ms, value.low_ms, value.high_ms) if value else "too few"
             for value in (a, b)]  # fmt: skip
    change = _change(a.ms, b.ms) if a and b else None
    return Row(ours.name, f"{name.upper()}, ms", shown[0], shown[1], change, finding)


def _significance(p: float) -> str:
    return f"{'differs' if p < SIGNIFICANT else 'no difference shown'}, p = {p:.2g}"


def _change(first: float, second: float) -> float | None:
    return 100 * (second / first - 1) if first else None


def _draw(first: Run, second: Run, scenarios: list[str], folder: Path) -> str:
    with style.theme():
        figure, panels = style.panels(len(scenarios), height=2.6)
        for axes, name in zip(panels, scenarios, strict=True):
            for run, colour in ((first, style.BLUE), (second, style.VERMILION)):
                values = good_latencies(run, name)
                share = np.arange(1, len(values) + 1) / max(len(values), 1) * 100
                axes.plot(values, share, color=colour, drawstyle="steps-post", label=run.run_id)
            axes.set(xscale="log", ylabel="share, %", ylim=(0, 101))
            axes.set_title(name, fontsize=10)
            style.use_log_scale(axes.xaxis)
        panels[0].legend(loc="lower right", frameon=False, fontsize=8)
        panels[-1].set_xlabel("latency from the intended send time, ms")
        title = "Share of good answers within a given time"
        style.headline(figure, title)
        style.save(figure, folder / "latency", [first, second])
    return f"{title}, {first.run_id} against {second.run_id}: {', '.join(scenarios)}."
