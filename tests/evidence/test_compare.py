"""A comparison of two runs says what differs, and by which test."""

from pathlib import Path

import numpy as np
import pytest

from helpers.errors import Problem
from helpers.evidence import compare, html_export
from helpers.load.records import LoadReport, Percentile
from helpers.profile import Profile
from helpers.run import Run
from tests.evidence.conftest import phase, requests, scenario


def another(folder: Path, factor: float, settings: str = "") -> Run:
    """A run of one scenario whose latencies are `factor` times those of the fixture."""
    run = Run.create(Profile.load_named("quick", settings), folder)
    table = requests(seed=9)
    table["latency_ms"] *= factor
    run.save_table("requests-soak", table)
    good = np.sort(table["latency_ms"].dropna())
    values = np.quantile(good, (0.5, 0.95, 0.99))
    latency = {
        name: Percentile(ms=value, low_ms=value * 0.98, high_ms=value * 1.02)
        for name, value in zip(("p50", "p95", "p99"), values, strict=True)
    }
    measured = phase("measured", 800, latency=latency)
    run.save(LoadReport(scenarios=(scenario("soak", measured=measured),)))
    return run


def rows(first: Run, second: Run) -> dict[str, compare.Row]:
    return {row.figure: row for row in compare.compare(first, second).rows}


def test_a_run_twice_as_slow_differs(tmp_path: Path) -> None:
    by_figure = rows(another(tmp_path, 1.0), another(tmp_path, 2.0))
    for name in ("P50, ms", "P95, ms", "P99, ms"):
        assert by_figure[name].finding == "differs: the 95 % intervals do not overlap"
        assert by_figure[name].change_pct == pytest.approx(100)
    assert "differs, p = " in by_figure["all latencies"].finding
    slower = int(by_figure["all latencies"].finding.partition("slower in ")[2].partition(" ")[0])
    assert slower > 90


def test_equal_runs_show_no_difference(tmp_path: Path) -> None:
    by_figure = rows(another(tmp_path, 1.0), another(tmp_path, 1.0))
    assert by_figure["P99, ms"].finding == "no difference shown"
    assert "no difference shown, p = " in by_figure["all latencies"].finding
    assert by_figure["errors, %"].finding == "no difference shown, p = 1, Fisher"


def test_what_was_chosen_differently_is_listed_and_an_invalid_run_not_compared(
    tmp_path: Path,
) -> None:
    first, second = another(tmp_path, 1.0), another(tmp_path, 2.0, "serving.queue_delay_us=500")
    assert compare.compare(first, second).choices == {"serving.queue_delay_us": ("0", "500")}
    report = second.load(LoadReport).scenarios[0]
    doubted = report.model_copy(update={"invalid": ("the client was the bottleneck",)})
    second.save(LoadReport(scenarios=(doubted,)))
    assert rows(first, second)["P99, ms"].finding == "not comparable: the second is invalid"


def test_scenarios_of_one_run_alone_are_named(measured: Run, tmp_path: Path) -> None:
    other = another(tmp_path, 1.0)
    compared = compare.compare(measured, other)
    assert {row.scenario for row in compared.rows} == {"soak"}
    only = [f"{name}: only in {measured.run_id}" for name in ("smoke", "spike")]
    assert compared.only_in_one == only
    other.save(LoadReport(scenarios=(scenario("peak"),)))
    with pytest.raises(Problem, match="have no scenario in common"):
        compare.compare(measured, other)


def test_the_page_of_a_comparison_is_whole(measured: Run, tmp_path: Path) -> None:
    other = another(tmp_path / "second", 1.5)
    page = compare.write(measured, other, tmp_path / "comparisons")
    text = page.read_text()
    assert other.run_id in text and "REHEARSAL" in text and compare.CAUTION[:40] in text
    assert html_export.external_requests(text) == []
    for ending in ("png", "svg"):
        assert (page.parent / f"latency.{ending}").stat().st_size > 1_000
