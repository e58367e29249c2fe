"""The committed benchmark results are complete and cover every goal."""

import json
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import yaml

from benchmarks import __main__ as bench
from benchmarks.figures import RESULTS, Result, ratios, reaches

FIELDS = {"metric", "value", "unit", "goal", "met", "note"}
GOALS = yaml.safe_load(Path(__file__).with_name("benchmark_goals.yaml").read_text())


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
