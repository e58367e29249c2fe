"""The committed benchmarks are whole, honest, and about every goal."""

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
}


def stored(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return data


def test_every_benchmark_has_goals_and_a_result() -> None:
    assert set(bench.BENCHMARKS) == set(GOALS)
    assert {path.stem for path in RESULTS.glob("*.json")} == set(GOALS)


@pytest.mark.parametrize("name", GOALS)
def test_a_result_says_when_where_and_what(name: str) -> None:
    data = stored(name)
    assert data["when"].endswith("Z")
    assert " cores, " in data["machine"]
    assert data["figures"]
    assert data["conditions"]
    for one in data["figures"]:
        assert set(one) - {"repetitions"} == FIELDS, one["metric"]


@pytest.mark.parametrize("name", GOALS)
def test_every_goal_has_a_figure(name: str) -> None:
    figures = {one["metric"]: one["goal"] for one in stored(name)["figures"]}
    for start, goal in GOALS[name].items():
        matching = [found for metric, found in figures.items() if metric.startswith(start)]
        assert matching, start
        assert set(matching) == {goal}, start


@pytest.mark.parametrize("name", GOALS)
def test_no_figure_says_met_when_its_value_contradicts(name: str) -> None:
    for one in stored(name)["figures"]:
        judged = bool(one["goal"]) and one["value"] is not None
        assert one["met"] == (reaches(one["value"], one["goal"]) if judged else None)
        if one["value"] is None:
            assert "not measured" in one["note"]
        else:
            assert one["value"] == pytest.approx(median(one["repetitions"]), rel=1e-3)


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    result = Result("trial", "a machine")
    result.add("ratio", ratios([2.0, 3.0, 9.0], [1.0, 2.0, 3.0]), "ratio", ">= 2.5", "how")
    result.add("absent", [], "ratio", ">= 1", "not measured: there is none")
    found, absent = result.figures
    assert (found.value, found.met, found.repetitions) == (2.0, False, (2.0, 1.5, 3.0))
    assert (absent.value, absent.met) == (None, None)
    assert "MISSED" in result.table() and "not measured" in result.table()
