"""A verdict says no more than what was measured allows."""

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
    found = judged(measured)
    assert {*found, "scenario"} == set(measured.profile.kpis.model_dump())
    for name in ("p50_ms", "p95_ms", "p99_ms", "throughput_rps", "error_rate_pct"):
        assert found[name].verdict is Verdict.MET, name
    assert (found["p50_ms"].measured, found["p50_ms"].low, found["p50_ms"].high) == (10, 9.5, 10.5)
    assert measured.load(kpis.Verdicts).summary == "Of 7 targets: 5 met, 2 not measured"


def test_what_misses_its_target_is_missed(measured: Run) -> None:
    slow = phase(
        "measured", 10, error_rate_pct=5.0,
        latency={"p50": Percentile(ms=20.5, low_ms=19.0, high_ms=22.0)},
    )  # fmt: skip
    measured.save(LoadReport(scenarios=(scenario("soak", measured=slow),)))
    found = judged(measured)
    assert found["p50_ms"].verdict is Verdict.MISSED
    assert "the interval crosses the target" in found["p50_ms"].note
    assert found["throughput_rps"].verdict is Verdict.MISSED
    assert found["error_rate_pct"].verdict is Verdict.MISSED
    assert found["p99_ms"].verdict is Verdict.ABSENT
    assert "9 good answers are too few for a P99" in found["p99_ms"].note


def test_an_invalid_measurement_meets_nothing(measured: Run) -> None:
    doubted = scenario("soak", invalid=("the client was the bottleneck",))
    measured.save(LoadReport(scenarios=(doubted,)))
    found = judged(measured)
    assert {found[name].verdict for name in ("p50_ms", "p99_ms", "throughput_rps")} == {
        Verdict.INVALID
    }
    assert "bottleneck" in found["p50_ms"].note


def test_another_scenario_does_not_stand_in(measured: Run) -> None:
    measured.save(LoadReport(scenarios=(scenario("smoke"),)))
    found = judged(measured)
    assert found["p50_ms"].verdict is Verdict.ABSENT
    assert found["p50_ms"].note == "scenario 'soak' did not run"


@pytest.mark.parametrize(("gpu", "verdict"), [(None, "not measured"), (30, "missed"), (90, "met")])
def test_gpu_utilisation_is_absent_or_a_gpus(measured: Run, gpu: float, verdict: str) -> None:
    measured.save(telemetry(gpu))
    found = judged(measured)["gpu_utilisation_pct"]
    assert found.verdict == verdict
    assert found.measured == gpu
    assert (found.note == "no GPU here") == (gpu is None)
