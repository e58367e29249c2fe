"""Two runs side by side: their figures, whether they differ, and their latencies overlaid."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from helpers import style
from helpers.errors import Problem
from helpers.evidence import export, numbers
from helpers.load.report import LoadReport, ScenarioReport
from helpers.paths import OUTPUTS
from helpers.profile import LABEL
from helpers.run import Run
from helpers.scenario import Settings

Floats = npt.NDArray[np.floating]
LATENCIES = ("p50", "p95", "p99")
SIGNIFICANT = 0.05
COLUMNS = ["outcome", "warmup", "latency_ms"]
CAUTION = (
    "Latencies of one run depend on each other, so a difference between two runs may also be one "
    "between two hours; repeat both before you rely on it."
)


class Row(Settings):
    """One figure of a scenario in both runs.

    Attributes:
        scenario: The scenario's name.
        figure: What is compared.
        first: The first run's figure with its interval.
        second: The second run's.
        change_pct: From the first to the second, per cent; None where that has no meaning.
        finding: Whether they differ, and by which rule.
    """

    scenario: str
    figure: str
    first: str
    second: str
    change_pct: float | None
    finding: str


class Comparison(Settings):
    """Two runs side by side.

    Attributes:
        first: Run id.
        second: Run id.
        labels: What kind of run each is.
        choices: Profile key → the two values, where the runs chose differently.
        rows: Every figure of the scenarios that both have.
        only_in_one: Scenarios that cannot be compared, and whose they are.
    """

    first: str
    second: str
    labels: tuple[str, str]
    choices: dict[str, tuple[str, str]]
    rows: tuple[Row, ...]
    only_in_one: tuple[str, ...]


def compare(first: Run, second: Run) -> Comparison:
    """Hold two runs' loads against each other.

    Raises:
        Problem: A run has no load, or they have no scenario in common.
    """
    one, other = _scenarios(first), _scenarios(second)
    both = [name for name in one if name in other]
    if not both:
        raise Problem(
            f"Runs {first.run_id} and {second.run_id} have no scenario in common.",
            f"The first has {', '.join(one)}; the second {', '.join(other)}.",
        )
    alone = [f"{name}: only in {first.run_id}" for name in one if name not in other]
    alone += [f"{name}: only in {second.run_id}" for name in other if name not in one]
    return Comparison(
        first=first.run_id,
        second=second.run_id,
        labels=(LABEL[first.profile.target], LABEL[second.profile.target]),
        choices=dict(_choices(first, second)),
        rows=tuple(
            row
            for name in both
            for row in _rows(one[name], other[name], _good(first, name), _good(second, name))
        ),
        only_in_one=tuple(alone),
    )


def frame(comparison: Comparison) -> pd.DataFrame:
    """The table, as people read it."""
    return pd.DataFrame(
        {
            "scenario": [one.scenario for one in comparison.rows],
            "figure": [one.figure for one in comparison.rows],
            comparison.first: [one.first for one in comparison.rows],
            comparison.second: [one.second for one in comparison.rows],
            "change": [
                "" if one.change_pct is None else f"{one.change_pct:+.1f} %"
                for one in comparison.rows
            ],
            "finding": [one.finding for one in comparison.rows],
        }
    )


def write(first: Run, second: Run, folder: Path = OUTPUTS / "comparisons") -> Path:
    """Compare two runs, and keep table, figure and page; returns the page's path.

    Raises:
        Problem: As `compare`.
    """
    comparison = compare(first, second)
    home = folder / f"{first.run_id}--{second.run_id}"
    home.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(one.scenario for one in comparison.rows))
    alt = _overlay(first, second, names, home)
    (home / "comparison.json").write_text(comparison.model_dump_json(indent=2) + "\n")
    page = home / "index.html"
    page.write_text(export.render("compare.html.j2", first, comparison=comparison, alt=alt,
                                  table=frame(comparison).to_html(index=False, border=0),
                                  caution=CAUTION))  # fmt: skip
    return page


def _scenarios(run: Run) -> dict[str, ScenarioReport]:
    return {one.name: one for one in run.load(LoadReport).scenarios}


def _good(run: Run, scenario: str) -> Floats:
    rows = run.load_table(f"requests-{scenario}", COLUMNS)
    good = rows["latency_ms"][(rows["outcome"] == "ok") & ~rows["warmup"]]
    return np.sort(good.to_numpy(dtype=float))


def _choices(first: Run, second: Run) -> Iterator[tuple[str, tuple[str, str]]]:
    one, other = (pd.json_normalize(run.profile.model_dump(mode="json")) for run in (first, second))
    for key in dict.fromkeys([*one.columns, *other.columns]):
        values = tuple(str(frame[key].iloc[0]) if key in frame else "–" for frame in (one, other))
        if values[0] != values[1] and not key.startswith("load.scenarios"):
            yield key, (values[0], values[1])


def _rows(
    one: ScenarioReport, other: ScenarioReport, first: Floats, second: Floats
) -> Iterator[Row]:
    for name in LATENCIES:
        yield _latency(one, other, name)
    yield Row(
        scenario=one.name,
        figure="all latencies",
        first=f"{len(first):,} good answers",
        second=f"{len(second):,} good answers",
        change_pct=None,
        finding=_distributions(first, second),
    )
    a, b = one.measured, other.measured
    yield Row(
        scenario=one.name, figure="throughput, /s", first=numbers.measured(a.throughput_rps),
        second=numbers.measured(b.throughput_rps),
        change_pct=_change(a.throughput_rps, b.throughput_rps),
        finding=f"asked for {_asked(one)} and {_asked(other)}",
    )  # fmt: skip
    yield Row(
        scenario=one.name, figure="errors, %", first=numbers.measured(a.error_rate_pct),
        second=numbers.measured(b.error_rate_pct), change_pct=None,
        finding=_errors((a.requests - a.ok, a.ok), (b.requests - b.ok, b.ok)),
    )  # fmt: skip


def _latency(one: ScenarioReport, other: ScenarioReport, name: str) -> Row:
    a, b = one.measured.latency.get(name), other.measured.latency.get(name)
    doubted = [run for run, report in (("first", one), ("second", other)) if report.invalid]
    if doubted:
        finding = f"not comparable: the {' and the '.join(doubted)} is invalid"
    elif a is None or b is None:
        finding = "too few samples"
    elif None in (a.low_ms, a.high_ms, b.low_ms, b.high_ms):
        finding = "too few samples for an interval"
    else:
        apart = (a.high_ms or 0) < (b.low_ms or 0) or (b.high_ms or 0) < (a.low_ms or 0)
        finding = "differs: the 95 % intervals are apart" if apart else "no difference shown"
    shown = [
        "too few" if found is None else numbers.interval(found.ms, found.low_ms, found.high_ms)
        for found in (a, b)
    ]
    return Row(
        scenario=one.name, figure=f"{name.upper()}, ms", first=shown[0], second=shown[1],
        change_pct=_change(a.ms, b.ms) if a and b else None, finding=finding,
    )  # fmt: skip


def _distributions(first: Floats, second: Floats) -> str:
    """Mann and Whitney's test: is an answer of one run likely slower than one of the other?"""
    if not (first.size and second.size):
        return "nothing to compare"
    from scipy import stats  # slow to import

    found = stats.mannwhitneyu(first, second)
    slower = 100 * (1 - float(found.statistic) / (first.size * second.size))
    told = f"an answer of the second is slower in {slower:.0f} % of pairs"
    return f"{told} ({_significance(float(found.pvalue))}, Mann-Whitney)"


def _errors(first: tuple[int, int], second: tuple[int, int]) -> str:
    from scipy import stats  # slow to import

    return f"{_significance(float(stats.fisher_exact([first, second]).pvalue))}, Fisher"


def _significance(p: float) -> str:
    return f"{'differs' if p < SIGNIFICANT else 'no difference shown'}, p = {p:.2g}"


def _change(first: float, second: float) -> float | None:
    return 100 * (second / first - 1) if first else None


def _asked(one: ScenarioReport) -> str:
    rate = one.measured.requested_rps
    return "a closed loop" if rate is None else f"{rate:.1f}/s"


def _overlay(first: Run, second: Run, names: list[str], folder: Path) -> str:
    with style.theme():
        figure, panels = style.panels(len(names), height=2.6, share_x=False)
        for axes, name in zip(panels, names, strict=True):
            for run, colour in ((first, style.BLUE), (second, style.VERMILION)):
                values = _good(run, name)
                share = np.arange(1, len(values) + 1) / max(len(values), 1) * 100
                axes.plot(values, share, color=colour, drawstyle="steps-post", label=run.run_id)
            axes.set(xscale="log", ylabel="share, %", ylim=(0, 101))
            axes.set_title(name, fontsize=10)
            style.use_log_scale(axes.xaxis)
        panels[0].legend(loc="lower right", frameon=False, fontsize=8)
        panels[-1].set_xlabel("latency from the intended send time, ms")
        title = "Share of good answers within a given time"
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11.5)
        style.save(figure, folder / "latency", [first, second])
    return f"{title}, {first.run_id} against {second.run_id}: {', '.join(names)}."
