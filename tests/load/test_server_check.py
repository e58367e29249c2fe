"""Triton's counters are read as Triton writes them, and compared where they can be."""

from pathlib import Path

import pytest

from helpers.load.records import ServerSide
from helpers.load.server_check import (
    COUNTERS,
    Counters,
    compare,
    counted,
    parse_counters,
    read_counters,
)

from .known_server import MODEL, KnownServer

PAGE = """\
# HELP nv_inference_request_success Number of successful inference requests, all batch sizes
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="mobilenetv2",version="1"} 120
nv_inference_request_success{model="mobilenetv2",version="2"} 30
nv_inference_request_success{model="resnet50",version="1"} 7
# HELP nv_inference_request_failure Number of failed inference requests, all batch sizes
# TYPE nv_inference_request_failure counter
nv_inference_request_failure{model="mobilenetv2",reason="REJECTED",version="1"} 1
nv_inference_request_failure{model="mobilenetv2",reason="OTHER",version="1"} 2
# TYPE nv_inference_count counter
nv_inference_count{model="mobilenetv2",version="1"} 600
# TYPE nv_inference_exec_count counter
nv_inference_exec_count{model="mobilenetv2",version="1"} 100
# TYPE nv_inference_queue_duration_us counter
nv_inference_queue_duration_us{model="mobilenetv2",version="1"} 300000
# TYPE nv_inference_compute_input_duration_us counter
nv_inference_compute_input_duration_us{model="mobilenetv2",version="1"} 15000
# TYPE nv_inference_compute_infer_duration_us counter
nv_inference_compute_infer_duration_us{model="mobilenetv2",version="1"} 450000
# TYPE nv_inference_compute_output_duration_us counter
nv_inference_compute_output_duration_us{model="mobilenetv2",version="1"} 15000
# TYPE nv_cpu_utilization gauge
nv_cpu_utilization 0.5
"""


def outcomes(**counts: int) -> dict[str, int]:
    return {name.replace("_", "-"): count for name, count in counts.items()}


def counters(successes: float) -> Counters:
    return dict.fromkeys(COUNTERS, 0.0) | {"nv_inference_request_success": successes}


def server_side(successes: int) -> ServerSide:
    return counted(counters(0), counters(successes))


def test_counters_are_summed_over_versions_and_subtracted() -> None:
    after = parse_counters(PAGE, MODEL)
    assert after is not None
    assert counted(counters(50), after) == ServerSide(
        requests=100,
        failures=3,
        inferences=600,
        executions=100,
        queue_ms=3.0,
        compute_ms=4.8,
        mean_batch=6.0,
    )


def test_a_page_without_the_model_is_no_reading() -> None:
    assert parse_counters(PAGE, "other") is None
    assert parse_counters("", MODEL) is None


def test_nothing_asked_is_no_division_by_zero() -> None:
    side = server_side(0)
    assert (side.queue_ms, side.compute_ms, side.mean_batch) == (0, 0, 0)


@pytest.mark.parametrize(
    ("client", "successes", "contradiction"),
    [
        ({"ok": 100}, 100, False),
        ({"ok": 100}, 99, True),
        ({"ok": 100}, 101, True),
        ({"ok": 90, "timeout": 6, "disconnected": 4}, 90, False),
        ({"ok": 90, "timeout": 6, "disconnected": 4}, 100, False),
        ({"ok": 90, "timeout": 6, "disconnected": 4}, 101, True),
        ({"ok": 90, "bad_output": 10}, 100, False),  # numpy 2: a success with empty tensors
        ({"ok": 90, "http_503": 10}, 90, False),
        ({"ok": 90, "http_503": 10}, 91, True),
        ({"ok": 90, "grpc_unavailable": 5, "refused": 5}, 95, True),
    ],
)
def test_only_what_can_be_compared_contradicts(
    client: dict[str, int], successes: int, contradiction: bool
) -> None:
    sentence, found = compare(outcomes(**client), server_side(successes))
    assert found == contradiction
    assert f"Triton counted {successes} successes" in sentence


def test_without_counters_nothing_is_claimed() -> None:
    sentence, contradiction = compare(outcomes(ok=5), None)
    assert "not compared" in sentence and not contradiction


def test_read_over_http(server: KnownServer, tmp_path: Path) -> None:
    server.successes = 41
    found = read_counters(f"{server.url}/metrics", MODEL)
    assert found == counters(41)
    assert read_counters("http://127.0.0.1:9/metrics", MODEL) is None
    assert read_counters(f"{server.url}/nothing", MODEL) is None
    assert read_counters("", MODEL) is None
