"""The rules hold by promtool, and a fault in one of them is found."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.cloud import costs
from helpers.errors import Problem
from helpers.run import Run
from helpers.telemetry import monitoring, rules
from helpers.telemetry.records import RuleChecks

WRONG = (
    "avg(delta(nv_inference_queue_duration_us[30s])"
    "/(1+delta(nv_inference_request_success[30s]))/1000)"
)


def test_promtool_passes_every_rule_and_every_unit_test(run: Run) -> None:
    judged = rules.check(run)
    assert judged.failures == ()
    assert judged.tests == ("alerts.yaml", "kpis.yaml", "queue_time.yaml")
    assert judged.alerts == len(rules.alert_table()) == 9
    assert run.load(RuleChecks) == judged
    assert "unit tests pass promtool 2." in judged.summary


@pytest.mark.parametrize(
    ("file", "right", "wrong", "test", "message"),
    [
        ("kpis.yaml", "sum by (namespace, pod) (rate(nv_inference_queue_duration_us[2m])) / 1000\n"
         "          / (sum by (namespace, pod) (rate(nv_inference_request_success[2m])) > 0)",
         WRONG, "queue_time.yaml", "got"),
        ("cost.yaml", "/ 360", "/ 60", "kpis.yaml", "spent_usd"),
        ("kpis.yaml", "rate(nv_inference_request_success[1m])", "rate(nv_x[1m]", "", "parse"),
    ],
)  # fmt: skip
def test_a_wrong_rule_is_found(
    run: Run, tmp_path: Path, file: str, right: str, wrong: str, test: str, message: str
) -> None:
    folder = Path(shutil.copytree(rules.FOLDER, tmp_path / "rules"))
    for path in folder.glob("tests/*.yaml"):  # the others would only take time
        if path.name not in (test, "facts.yaml"):
            path.unlink()
    text = (folder / file).read_text()
    assert right in text
    (folder / file).write_text(text.replace(right, wrong))
    judged = rules.check(run, folder)
    assert any(message in failure for failure in judged.failures)
    assert "rejects" in judged.summary


def test_every_alert_says_what_to_do_and_is_tried_both_ways() -> None:
    cases = (rules.FOLDER / "tests" / "alerts.yaml").read_text()
    for name, severity, runbook in rules.alert_table().itertuples(index=False):
        assert len(runbook) > 40 and severity
        outcome = rf'alertname="{name}",alertstate="firing"}}\', eval_time: \w+, exp_samples: \[(.)'
        assert set(re.findall(outcome, cases)) == {"{", "]"}


def records(content: dict[str, Any]) -> dict[tuple[str, ...], str]:
    (group,) = content["groups"]
    return {(rule["record"], *rule.get("labels", {}).values()): rule["expr"]
            for rule in group["rules"]}  # fmt: skip


def test_facts_are_targets_prices_of_the_cost_model_and_the_timer(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {key[0] for key in records(rules.run_facts(run))} == {rules.TARGET}
    monkeypatch.setattr(costs, "hourly_rates", lambda _run: ({"NAT gateway": 0.1}, 0.21))
    expires = {"dead_man_expires": "2026-11-23T12:00:00Z"}
    monkeypatch.setattr(Run, "find", lambda _run, _record: SimpleNamespace(**expires))
    facts = records(rules.run_facts(run))
    assert facts["gpu_e2e:target", "p95_ms"] == f"vector({run.profile.kpis.p95_ms:g})"
    assert facts["gpu_e2e:expires_timestamp_seconds",] == "vector(1795435200)"
    prices = {key[1:]: value for key, value in facts.items() if key[0] == rules.PRICE}
    assert prices == {
        ("NAT gateway", "stack"): "vector(0.1)",
        ("GPU node", "gpu-node"): "vector(0.21)",
    }


def test_a_limit_that_is_no_number_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "limits.yaml"
    path.write_text(rules.LIMITS.read_text().replace("vector(85)", "time()"))
    monkeypatch.setattr(rules, "LIMITS", path)
    with pytest.raises(Problem, match=r"limit 'gpu_temperature_celsius' is not a plain number"):
        rules.limits()


def test_the_chart_brings_the_same_files_into_the_cluster(run: Run) -> None:
    check = monitoring.install_chart(run, None)
    assert check.faults == ()
    assert (check.dashboards, check.rules) == (5, 5)
    assert 0 < check.largest_bytes < monitoring.CONFIG_MAP_BYTES
    for raw in monitoring.render_chart(run):
        assert raw["metadata"]["namespace"] == "monitoring"
        if raw["kind"] == "ConfigMap":
            assert raw["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_a_rule_that_the_chart_lacks_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = [raw for raw in monitoring.render_chart(run)
               if not raw["metadata"]["name"].endswith("alerts")]  # fmt: skip
    monkeypatch.setattr(monitoring, "render_chart", lambda _: objects)
    assert monitoring.install_chart(run, None).faults == (
        "rules 'alerts' are rendered differently",
    )


@pytest.mark.parametrize("values", ["fact: {}", "facts: {groups: [{name: x}]}", "labels: {a: 1}"])
def test_wrong_values_are_refused_by_the_charts_schema(
    run: Run, monkeypatch: pytest.MonkeyPatch, values: str
) -> None:
    monkeypatch.setattr(monitoring, "_values", lambda run: run.write("values.yaml", values))
    with pytest.raises(
        Problem, match="The rendering of observability failed: The chart refuses the values"
    ):
        monitoring.render_chart(run)
