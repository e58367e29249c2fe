"""The committed dashboards are what the code writes, and complete."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.paths import ROOT
from helpers.profile import Profile
from helpers.telemetry import board, catalogue, dashboards, rules
from helpers.telemetry.places import DASHBOARDS

PANELS = [
    pytest.param(panel, id=f"{path.stem}-{panel['title']}")
    for path in sorted(DASHBOARDS.glob("*.json"))
    for panel in json.loads(path.read_text())["panels"]
]


def content(name: str) -> Any:
    return json.loads((DASHBOARDS / f"{name}.json").read_text())


def test_the_committed_dashboards_are_current() -> None:
    assert dashboards.differences() == []


def test_a_change_by_hand_is_said_and_mended(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(DASHBOARDS, tmp_path / "dashboards"))
    (folder / "gpu.json").write_text((folder / "gpu.json").read_text().replace("Tall", "x") + " ")
    (folder / "cost.json").unlink()
    (folder / "old.json").write_text("{}")
    assert dashboards.differences(folder) == [
        "gpu.json is not current; run 'python -m helpers.telemetry.dashboards'",
        "cost.json is not current; run 'python -m helpers.telemetry.dashboards'",
        "old.json is written by no code",
    ]
    (folder / "old.json").unlink()
    dashboards.write(folder)
    assert dashboards.differences(folder) == []


def test_the_check_is_a_command() -> None:
    command = [sys.executable, "-m", "helpers.telemetry.dashboards", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "Every dashboard is current.\n")


@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    shown = panel["fieldConfig"]["defaults"]
    assert panel["title"] and len(panel["description"]) > 20
    assert shown["unit"] and shown["thresholds"]["steps"]
    assert panel["datasource"]["uid"] == "${datasource}"
    assert panel["targets"] and all(one["expr"] for one in panel["targets"])


@pytest.mark.parametrize("name", dashboards.NAMES)
def test_every_dashboard_has_variables_and_the_runs_events(name: str) -> None:
    found = content(name)
    variables = {one["name"]: one for one in found["templating"]["list"]}
    assert set(variables) == {"datasource", "model", "namespace", "pod"}
    for one in catalogue.VARIABLES:
        assert variables[one]["includeAll"] and variables[one]["allValue"] == ".*"
    (events,) = found["annotations"]["list"]
    assert events["enable"] and events["target"]["tags"] == ["gpu-e2e"]
    assert events["datasource"]["uid"] == "-- Grafana --"
    assert len({panel["id"] for panel in found["panels"]}) == len(found["panels"])


def test_panels_do_not_overlap_and_stay_within_the_grid() -> None:
    for name in dashboards.NAMES:
        taken: set[tuple[int, int]] = set()
        for panel in board.read((DASHBOARDS / f"{name}.json").read_text()).panels:
            x, y, width, height = panel.place
            cells = {(x + a, y + b) for a in range(width) for b in range(height)}
            assert x + width <= 24 and not cells & taken
            taken |= cells


def test_each_query_stands_once_in_the_catalogue_and_is_shown() -> None:
    known = {one.grafana for one in catalogue.EVERY}
    shown = {target["expr"] for name in dashboards.NAMES for panel in content(name)["panels"]
             for target in panel["targets"]}  # fmt: skip
    assert shown == known
    assert len({one.name for one in catalogue.EVERY}) == len(known) == len(catalogue.EVERY)


def test_thresholds_are_the_targets_of_the_profile() -> None:
    kpis = Profile.load_named("aws").kpis.model_copy(update={"p95_ms": 123.0, "cost_usd": 9.0})
    built = {name: board.read(text) for name, text in dashboards.build(kpis).items()}
    limits = {panel.title: panel.limit for one in built.values() for panel in one.panels}
    assert limits["P95 latency in Triton"] == board.Limit(123.0, bad_above=True)
    assert limits["Spent so far"] == board.Limit(9.0, bad_above=True)
    utilisation = limits["GPU utilisation"]
    assert utilisation == board.Limit(kpis.gpu_utilisation_pct, bad_above=False)
    hot = limits["GPU temperature"]
    assert hot == board.Limit(rules.limits()["gpu_temperature_celsius"], bad_above=True)
    committed = board.read((DASHBOARDS / "latency.json").read_text()).panels[1].limit
    assert committed == board.Limit(Profile.load_named("aws").kpis.p95_ms, bad_above=True)


def test_a_limit_is_broken_on_its_bad_side_alone() -> None:
    upper, lower = board.Limit(5, bad_above=True), board.Limit(5, bad_above=False)
    assert [upper.is_broken_by(value) for value in (4, 5, 6)] == [False, True, True]
    assert [lower.is_broken_by(value) for value in (4, 5, 6)] == [True, False, False]
