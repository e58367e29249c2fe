"""The committed dashboards are what the code writes, and complete."""

import json
import re

import pytest

from helpers.profile import Profile
from helpers.telemetry import catalogue, dashboards, rules
from helpers.telemetry.dashboards import Limit
from helpers.telemetry.monitoring import DASHBOARDS

VALUES = DASHBOARDS.parent / "values"
CONTENTS = {path.stem: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}


@pytest.mark.parametrize("name", CONTENTS)
def test_every_dashboard_has_variables_the_runs_events_and_described_panels(name: str) -> None:
    content = CONTENTS[name]
    variables = {variable["name"]: variable for variable in content["templating"]["list"]}
    assert set(variables) == {"datasource", "model", "namespace", "pod"}
    for variable in catalogue.VARIABLES:
        assert variables[variable]["includeAll"] and variables[variable]["allValue"] == ".*"
    (events,) = content["annotations"]["list"]
    assert events["enable"] and events["target"]["tags"] == ["gpu-e2e"]
    assert events["datasource"]["uid"] == "-- Grafana --"
    for number, panel in enumerate(content["panels"], 1):
        shown = panel["fieldConfig"]["defaults"]
        assert panel["id"] == number and panel["title"] and len(panel["description"]) > 20
        assert shown["unit"] and shown["thresholds"]["steps"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"] and all(target["expr"] for target in panel["targets"])


def test_each_query_is_once_in_the_catalogue_and_is_shown() -> None:
    known = {series.grafana_query for series in catalogue.SERIES.values()}
    shown = {target["expr"] for content in CONTENTS.values() for panel in content["panels"]
             for target in panel["targets"]}  # fmt: skip
    assert shown == known
    assert len(known) == len(catalogue.SERIES)


def test_the_exporter_in_the_cluster_exports_every_metric_that_is_asked_for() -> None:
    asked = {name for series in catalogue.SERIES.values()
             for name in re.findall(r"DCGM_\w+", series.promql)}  # fmt: skip
    exported = re.findall(r"^  (DCGM_\w+),", (VALUES / "dcgm-exporter.yaml").read_text(), re.M)
    assert asked and asked <= set(exported)


def test_limits_are_the_targets_of_the_profile() -> None:
    kpis = Profile.load_named("aws").kpis.model_copy(update={"p95_ms": 123.0, "cost_usd": 9.0})
    built = dashboards.build(kpis)
    limits = {panel.title: panel.limit for board in built for panel in board.panels}
    assert limits["P95 latency in Triton"] == Limit(123.0)
    assert limits["Spent so far"] == Limit(9.0)
    assert limits["GPU utilisation"] == Limit(kpis.gpu_utilisation_pct, at_least=True)
    assert limits["GPU temperature"] == Limit(rules.limits()["gpu_temperature_celsius"])
    steps = CONTENTS["latency"]["panels"][1]["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [step["value"] for step in steps] == [None, Profile.load_named("aws").kpis.p95_ms]
    assert [step["color"] for step in steps] == ["green", "red"]
