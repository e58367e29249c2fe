"""Triton's counters are read as Triton writes them, and compared where they can be."""

import pytest

from helpers.load import server_check
from helpers.load.records import ServerSide
from helpers.load.server_check import COUNTERS, Counters, compare, counted, parse_counters

from .known_server import MODEL, KnownServer

PAGE = "# TYPE nv_cpu_utilization gauge\nnv_cpu_utilization 0.5\n" + "".join(
    f'# TYPE nv_inference_{name} counter\nnv_inference_{name}{{model="{model}",{label}}} {value}\n'
    for name, model, label, value in (
        ("request_success", MODEL, 'version="1"', 120),
        ("request_success", MODEL, 'version="2"', 30),
        ("request_success", "resnet50", 'version="1"', 7),
        ("request_failure", MODEL, 'reason="REJECTED",version="1"', 1),
        ("request_failure", MODEL, 'reason="OTHER",version="1"', 2),
        ("count", MODEL, 'version="1"', 600),
        ("exec_count", MODEL, 'version="1"', 100),
        ("queue_duration_us", MODEL, 'version="1"', 300000),
        ("compute_input_duration_us", MODEL, 'version="1"', 15000),
        ("compute_infer_duration_us", MODEL, 'version="1"', 450000),
        ("compute_output_duration_us", MODEL, 'version="1"', 15000),
    )
)


def counters(successes: float) -> Counters:
    return dict.fromkeys(COUNTERS, 0.0) | {"nv_inference_request_success": successes}


def test_counters_are_summed_over_versions_and_subtracted() -> None:
    after = parse_counters(PAGE, MODEL)
    assert after is not None
    assert counted(counters(50), after) == ServerSide(
        requests=100, failures=3, inferences=600, executions=100, queue_ms=3.0, compute_ms=4.8,
        mean_batch=6.0,
    )  # fmt: skip
    assert parse_counters(PAGE, "other") is None
    assert parse_counters("", MODEL) is None
    nothing = counted(counters(0), counters(0))  # and no division by zero
    assert (nothing.queue_ms, nothing.compute_ms, nothing.mean_batch) == (0, 0, 0)


@pytest.mark.parametrize(
    ("client", "successes", "contradiction"),
    [
        ({"ok": 100}, 100, False),
        ({"ok": 100}, 99, True),
        ({"ok": 100}, 101, True),
        ({"ok": 90, "timeout": 6, "disconnected": 4}, 90, False),
        ({"ok": 90, "timeout": 6, "disconnected": 4}, 100, False),
        ({"ok": 90, "timeout": 6, "disconnected": 4}, 101, True),
        ({"ok": 90, "bad-output": 10}, 100, False),  # numpy 2: a success with empty tensors
        ({"ok": 90, "http-503": 10}, 90, False),
        ({"ok": 90, "http-503": 10}, 91, True),
        ({"ok": 90, "grpc-unavailable": 5, "refused": 5}, 95, True),
    ],
)
def test_only_what_can_be_compared_contradicts(
    client: dict[str, int], successes: int, contradiction: bool
) -> None:
    sentence, contradicts = compare(client, counted(counters(0), counters(successes)))
    assert contradicts == contradiction
    assert f"Triton counted {successes} successes" in sentence


def test_counters_are_read_over_http_and_without_them_nothing_is_claimed(
    server: KnownServer,
) -> None:
    server.successes = 41
    assert server_check.read_counters(f"{server.url}/metrics", MODEL) == counters(41)
    for wrong in ("http://127.0.0.1:9/metrics", f"{server.url}/nothing", ""):
        assert server_check.read_counters(wrong, MODEL) is None
    sentence, contradiction = compare({"ok": 5}, None)
    assert "not compared" in sentence and not contradiction
