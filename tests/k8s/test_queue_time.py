"""The metric that pods are scaled by, computed by the real Prometheus from known counters."""

import subprocess
from pathlib import Path

import pytest
import yaml

from helpers import programs
from tests.k8s import charts

BY, SELECTOR = "namespace,pod", 'namespace="triton",pod=~"a|b"'


@pytest.fixture(scope="module")
def rule() -> dict[str, str]:
    """The adapter's one rule."""
    values = yaml.safe_load(charts.filled(charts.K8S / "values/prometheus-adapter.yaml"))
    (found,) = values["rules"]["custom"]
    return dict(found)


@pytest.fixture(scope="module")
def query(rule: dict[str, str]) -> str:
    """The query as the adapter asks it for an HPA."""
    asked = rule["metricsQuery"].replace("<<.GroupBy>>", BY)
    return asked.replace("<<.LabelMatchers>>", SELECTOR)


def judge(folder: Path, query: str, counters: dict[str, str], wanted: dict[str, float]) -> str:
    """What promtool says of a query: empty where it gives what is wanted after five minutes."""
    samples = [
        {"labels": f'{{namespace="triton",pod="{pod}"}}', "value": value}
        for pod, value in wanted.items()
    ]
    test = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in counters.items()],
        "promql_expr_test": [{"expr": query, "eval_time": "5m", "exp_samples": samples}],
    }
    path = folder / "test.yaml"
    path.write_text(yaml.safe_dump({"evaluation_interval": "15s", "tests": [test]}))
    done = subprocess.run(
        [programs.need("promtool"), "test", "rules", path],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr if done.returncode else ""


def series(pod: str, model: str, requests: str, waited_us: str) -> dict[str, str]:
    """Counters of one model in one pod, as Triton has them."""
    labels = f'{{model="{model}",namespace="triton",pod="{pod}"}}'
    return {
        f"nv_inference_request_success{labels}": requests,
        f"nv_inference_queue_duration_us{labels}": waited_us,
    }


BUSY = series("a", "resnet50", "0+150x40", "0+12000000x40")  # 10 a second, each waits 80 ms
IDLE = series("a", "mobilenetv2", "0x40", "0x40")


def test_a_request_that_waits_80_ms_counts_as_80_ms(query: str, tmp_path: Path) -> None:
    assert judge(tmp_path, query, BUSY | IDLE, {"a": 80}) == ""


def test_a_pod_that_nobody_asks_has_no_queue_rather_than_no_figure(
    query: str, tmp_path: Path
) -> None:
    quiet = series("b", "resnet50", "700x40", "900x40")
    assert judge(tmp_path, query, BUSY | quiet, {"a": 80, "b": 0}) == ""


def test_a_wrong_figure_would_be_noticed(query: str, tmp_path: Path) -> None:
    assert "FAILED" in judge(tmp_path, query, BUSY, {"a": 26.6})


def test_the_adapter_and_the_recording_rule_mean_the_same(
    rule: dict[str, str], tmp_path: Path
) -> None:
    groups = yaml.safe_load((charts.K8S / "rules/kpis.yaml").read_text())["groups"]
    (recorded,) = (
        one["expr"]
        for group in groups
        for one in group["rules"]
        if one.get("record") == "gpu_e2e:queue_ms:mean2m"
    )
    asked = rule["metricsQuery"].replace("<<.GroupBy>>", BY)
    asked = asked.replace("{<<.LabelMatchers>>}", "")
    same = f"({recorded}) == ({asked})"
    assert judge(tmp_path, same, BUSY | IDLE, {"a": 80}) == ""
