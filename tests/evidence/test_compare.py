"""Verdicts follow from what was measured; a comparison of two runs says what differs."""

from pathlib import Path

import numpy as np
import pytest

from helpers.errors import Problem
from helpers.evidence import compare, html_export, kpis
from helpers.evidence.kpis import Kpi, Verdict
from helpers.load.records import LoadReport, Percentile
from helpers.profile import Profile
from helpers.run import Run
from tests.evidence.conftest import phase, requests, scenario, telemetry


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


def judged(run: Run) -> dict[str, Kpi]:
    return {kpi.name: kpi for kpi in kpis.judge(run).kpis}


def test_before_the_load_targets_stand_alone(run: Run) -> None:
    table = kpis.frame(run)
    assert list(table.columns) == ["KPI", "target"]
    assert set(table["KPI"]) >= {"P50 latency", "P95 latency", "P99 latency", "Throughput"}
    assert all(kpi.verdict is Verdict.ABSENT for kpi in judged(run).values())


def test_what_meets_its_target_is_met(measured: Run) -> None:
    verdicts = judged(measured)
    assert {*verdicts, "scenario"} == set(measured.profile.kpis.model_dump())
    for name in ("p50_ms", "p95_ms", "p99_ms", "throughput_rps", "error_rate_pct"):
        assert verdicts[name].verdict is Verdict.MET, name
    median = verdicts["p50_ms"]
    assert (median.measured, median.low, median.high) == (10, 9.5, 10.5)
    assert measured.load(kpis.Verdicts).summary == "Of 7 targets: 5 met, 2 not measured"


def test_what_misses_its_target_is_missed(measured: Run) -> None:
    slow = phase(
        "measured", 10, error_rate_pct=5.0,
        latency={"p50": Percentile(ms=20.5, low_ms=19.0, high_ms=22.0)},
    )  # fmt: skip
    measured.save(LoadReport(scenarios=(scenario("soak", measured=slow),)))
    verdicts = judged(measured)
    for name in ("p50_ms", "throughput_rps", "error_rate_pct"):
        assert verdicts[name].verdict is Verdict.MISSED
    assert "the interval crosses the target" in verdicts["p50_ms"].note
    assert verdicts["p99_ms"].verdict is Verdict.ABSENT
    assert "9 good answers are too few for a P99" in verdicts["p99_ms"].note


@pytest.mark.parametrize(
    ("name", "invalid", "verdict", "note"),
    [
        ("soak", ("the client was the bottleneck",), Verdict.INVALID, "bottleneck"),
        ("smoke", (), Verdict.ABSENT, "scenario 'soak' did not run"),
    ],
)
def test_an_invalid_measurement_or_another_scenario_meets_nothing(
    measured: Run, name: str, invalid: tuple[str, ...], verdict: Verdict, note: str
) -> None:
    measured.save(LoadReport(scenarios=(scenario(name, invalid=invalid),)))
    verdicts = judged(measured)
    assert {verdicts[key].verdict for key in ("p50_ms", "p99_ms", "throughput_rps")} == {verdict}
    assert note in verdicts["p50_ms"].note


@pytest.mark.parametrize(("gpu", "verdict"), [(None, "not measured"), (30, "missed"), (90, "met")])
def test_gpu_utilisation_is_absent_or_a_gpus(measured: Run, gpu: float, verdict: str) -> None:
    measured.save(telemetry(gpu))
    kpi = judged(measured)["gpu_utilisation_pct"]
    assert (kpi.verdict, kpi.measured) == (verdict, gpu)
    assert (kpi.note == "no GPU here") == (gpu is None)
