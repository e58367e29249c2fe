"""Verdicts follow from what was measured."""

import pytest

from helpers.evidence import kpis
from helpers.evidence.kpis import Kpi, Verdict
from helpers.load.records import LoadReport, Percentile
from helpers.run import Run
from tests.evidence.conftest import phase, scenario, telemetry


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
