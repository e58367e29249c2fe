"""The metric that pods are scaled by, computed by the real Prometheus from known counters."""

import subprocess
from pathlib import Path

import pytest
import yaml

from helpers import programs
from tests.k8s import charts


@pytest.fixture(scope="module")
def query() -> str:
    """The adapter's one query, as it asks it for every pod."""
    values = yaml.safe_load(charts.filled(charts.K8S / "values/prometheus-adapter.yaml"))
    (rule,) = values["rules"]["custom"]
    text: str = rule["metricsQuery"].replace("<<.GroupBy>>", "namespace,pod")
    return text.replace("{<<.LabelMatchers>>}", '{namespace="triton",pod=~"a|b"}')


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
    command = [str(programs.need("promtool")), "test", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def series(pod: str, model: str, requests: str, waited_us: str) -> dict[str, str]:
    """Counters of one model in one pod, as Triton has them."""
    labels = f'{{model="{model}",namespace="triton",pod="{pod}"}}'
    return {
        f"nv_inference_request_success{labels}": requests,
        f"nv_inference_queue_duration_us{labels}": waited_us,
    }


# 10 requests a second, each waits 80 ms; a model and a pod that nobody asks
BUSY = series("a", "resnet50", "0+150x40", "0+12000000x40")
IDLE = series("a", "mobilenetv2", "0x40", "0x40") | series("b", "resnet50", "700x40", "900x40")


def test_waiting_80_ms_counts_as_80_ms_and_an_idle_pod_has_no_queue(
    query: str, tmp_path: Path
) -> None:
    assert judge(tmp_path, query, BUSY | IDLE, {"a": 80, "b": 0}) == ""
    assert "FAILED" in judge(tmp_path, query, BUSY, {"a": 26.6})


def test_the_adapter_and_the_recording_rule_mean_the_same(query: str, tmp_path: Path) -> None:
    groups = yaml.safe_load((charts.K8S / "rules/kpis.yaml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    (recorded,) = [
        rule["expr"] for rule in rules if rule.get("record") == "gpu_e2e:queue_ms:mean2m"
    ]
    assert judge(tmp_path, f"({recorded}) == ({query})", BUSY, {"a": 80}) == ""
