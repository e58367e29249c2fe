"""The committed benchmark results are complete and cover every goal."""

import json
from statistics import median
from typing import Any

import pytest

from benchmarks import __main__ as bench
from benchmarks.figures import RESULTS, Result, ratios, reaches

FIELDS = {"metric", "value", "unit", "goal", "met", "note"}
# What the load engine promises: beginning of the metric → goal.
GOALS = {
    "peak": {
        "peak rate over perf_analyzer's, http": ">= 1.2",
        "peak rate over perf_analyzer's, grpc": ">= 1.2",
        "peak rate over wrk's, http": ">= 0.95",
        "client CPU over perf_analyzer's, http": "<= 0.4",
        "client CPU over perf_analyzer's, grpc": "<= 0.4",
    },
    "timing": {
        "P50 at concurrency 1 over the server's own mean, http": "<= 50",
        "P50 at concurrency 1 over the server's own mean, grpc": "<= 50",
        "send error P99 at 1,000/s, http": "<= 0.5",
        "send error P99 at 1,000/s, grpc": "<= 0.5",
        "a burst of 1,000: first to last request sent, http": "<= 5",
        "a burst of 1,000: first to last request sent, grpc": "<= 5",
        "two processes at 10,000/s over HTTP: sent in time": ">= 98",
    },
    "serving": {"Triton over bare ONNX Runtime: resnet50 at 224 px": ">= 0.95"},
    "records": {
        "peak memory of a worker that fires 10,000,000 requests": "<= 1024",
        "peak memory of assembling and reporting 10,000,000 requests": "<= 1024",
    },
    "live": {"CPU of the live chart": "<= 2"},
    "monitoring": {"P50 with monitoring over P50 without": "<= 1.1"},
}


def stored(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return data


def test_every_benchmark_has_goals_and_a_result() -> None:
    assert set(bench.BENCHMARKS) == set(GOALS)
    assert {path.stem for path in RESULTS.glob("*.json")} == set(GOALS)


@pytest.mark.parametrize("name", GOALS)
def test_a_result_is_complete_and_no_verdict_contradicts_its_value(name: str) -> None:
    data = stored(name)
    assert data["when"].endswith("Z") and " cores, " in data["machine"]
    assert data["figures"] and data["conditions"]
    for figure in data["figures"]:
        assert set(figure) - {"repetitions"} == FIELDS, figure["metric"]
        judged = bool(figure["goal"]) and figure["value"] is not None
        assert figure["met"] == (reaches(figure["value"], figure["goal"]) if judged else None)
        if figure["value"] is None:
            assert "not measured" in figure["note"]
        else:
            assert figure["value"] == pytest.approx(median(figure["repetitions"]), rel=1e-3)


@pytest.mark.parametrize("name", GOALS)
def test_every_goal_has_a_figure(name: str) -> None:
    goals = {figure["metric"]: figure["goal"] for figure in stored(name)["figures"]}
    for start, goal in GOALS[name].items():
        assert {goals[metric] for metric in goals if metric.startswith(start)} == {goal}, start


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    result = Result("trial", "a machine")
    result.add("ratio", ratios([2.0, 3.0, 9.0], [1.0, 2.0, 3.0]), "ratio", ">= 2.5", "how")
    result.add("absent", [], "ratio", ">= 1", "not measured: there is none")
    measured, absent = result.figures
    assert (measured.value, measured.met, measured.repetitions) == (2.0, False, (2.0, 1.5, 3.0))
    assert (absent.value, absent.met) == (None, None)
    assert "MISSED" in result.table() and "not measured" in result.table()
