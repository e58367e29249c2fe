"""Loads without a run: workers, ends before the time, capacity, calibration, and refusals."""

import asyncio
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import load
from helpers.errors import Problem
from helpers.load import calibration, server_check, stage, statistics
from helpers.load.arrivals import Shard, schedule
from helpers.load.engine import chart
from helpers.load.records import LoadReport, Percentile, Step, Trend
from helpers.load.request import ProgressMerger, Second
from helpers.load.worker import is_timed
from helpers.scenario import Scenario
from tests import contract

from .conftest import scenario
from .known_server import DESCRIBED, KnownServer

STEADY = {"arrivals": "poisson", "rate": 100, "duration_s": 1}


@pytest.mark.parametrize("arrivals", ["poisson", "constant"])
def test_shards_are_a_partition_and_keep_their_kind(arrivals: str) -> None:
    played = scenario({"arrivals": arrivals, "rate": 1000, "duration_s": 20})
    parts = [schedule(played, Shard(number, 4)).times_s for number in range(4)]
    assert np.array_equal(np.sort(np.concatenate(parts)), schedule(played).times_s)
    for part in parts:
        gaps = np.diff(part)
        variation = gaps.std() / gaps.mean()  # of exponential gaps 1, of even ones 0
        assert variation == pytest.approx(1.0 if arrivals == "poisson" else 0.0, abs=0.06)


@pytest.mark.parametrize(("concurrency", "timed"), [(None, True), (1, True), (2, False)])
def test_the_time_of_leaving_counts_unless_several_are_kept_in_flight(
    concurrency: int | None, timed: bool
) -> None:
    closed = {"name": "loop", "arrivals": "closed", "concurrency": concurrency, "duration_s": 1}
    assert is_timed(scenario(STEADY, *([closed] if concurrency else []))) is timed


def test_a_count_is_as_long_as_it_takes() -> None:
    played = scenario({"arrivals": "constant", "rate": 50, "count": 100})
    assert played.duration_s == 2.0 and len(schedule(played).times_s) == 100
    assert Scenario.model_validate(played.model_dump()) == played
    with pytest.raises(ValueError, match="exclude each other"):
        scenario({"arrivals": "constant", "rate": 50, "count": 100, "duration_s": 1})


def test_a_spike_is_in_the_middle_third() -> None:
    phase = {"arrivals": "spike", "rate": 100, "to_rate": 900, "duration_s": 30}
    counts, _ = np.histogram(schedule(scenario(phase)).times_s, bins=3, range=(0, 30))
    assert counts == pytest.approx([1000, 9000, 1000], rel=0.15)


@pytest.mark.parametrize("begin", [20, 120, 3000])
def test_the_capacity_is_found_from_below_and_from_above(
    server: KnownServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    begin: float,
) -> None:  # fmt: skip
    async def step(scenario: Scenario, endpoint: Any, shape: Any, rate: float, *_: Any) -> Step:
        return Step(
            rate=rate, throughput_rps=rate, goodput_rps=rate, p50_ms=1, p95_ms=2, p99_ms=3,
            error_rate_pct=0, overloaded=False, invalid=(), repeated="", holds=rate <= 250,
        )  # fmt: skip

    monkeypatch.setattr(stage, "_step", step)
    smoke = load.preset("smoke", "mobilenetv2", 20)
    capacity = asyncio.run(load.find_capacity(smoke, server.endpoint, 100, rate=begin))
    assert capacity.capacity_rps is not None and 250 / 1.1 <= capacity.capacity_rps <= 250
    rates = [step.rate for step in capacity.steps]
    assert rates == sorted(rates) and not capacity.steps[-1].holds
    assert capsys.readouterr().out.count("/s · answered") == len(rates) + 1
    with pytest.raises(Problem, match="There is no preset 'flood'"):
        load.preset("flood", "m", 1.0)
    with pytest.raises(Problem, match="greater than 0"):
        load.preset("smoke", "m", -1.0)
    with pytest.raises(Problem, match="must be a positive time"):
        asyncio.run(load.find_capacity(smoke, server.endpoint, -1))


@pytest.mark.parametrize(
    ("good", "grown_ms", "holds"),
    [(1.0, 0.0, True), (0.995, 0.0, True), (0.96, 0.0, False), (1.0, 3.0, False)],
)
def test_a_rate_is_sustained_if_nearly_all_is_answered_and_latency_does_not_grow(
    good: float, grown_ms: float, holds: bool
) -> None:
    path = Path(contract.__file__).with_name("quick-run") / LoadReport.path()
    report = LoadReport.model_validate_json(path.read_text()).scenarios[2]
    latency = {name: Percentile(ms=10.0, low_ms=None, high_ms=None) for name in ("p50", "p99")}
    measured = report.measured.model_copy(
        update={"start_s": 0.0, "end_s": 60.0, "requests": 6000, "goodput_rps": 100 * good,
                "latency": latency, "overloaded": False}
    )  # fmt: skip
    drift = Trend(per_minute=grown_ms, low=grown_ms, high=grown_ms)
    changed = report.model_copy(update={"measured": measured, "drift": drift})
    assert stage._is_sustained(changed, 100) is holds


def test_a_step_whose_client_was_late_is_fired_twice_and_says_so(
    server: KnownServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(statistics.FLOORS, "p99", 150)
    for name, value in (("SAMPLES", 200), ("SHORTEST_S", 0.5), ("WARMUP_S", 0.2)):
        monkeypatch.setattr(stage, name, value)
    # whether the rate is sustained is not the question, and half a second cannot tell
    for name, value in (("KEPT", 0.0), ("GROWN", float("inf"))):
        monkeypatch.setattr(stage, name, value)
    monkeypatch.setattr(statistics, "SEND_ERROR_LIMIT_MS", -1.0)  # nobody is in time
    smoke = load.preset("smoke", "mobilenetv2", 20)
    search = load.find_capacity(smoke, server.endpoint, 1000, rate=400, max_rate=400, confirm_s=0.5)
    capacity = asyncio.run(search)
    (step,) = capacity.steps
    assert "the client was the bottleneck" in step.repeated
    assert "(fired twice)" in step.sentence and not capacity.is_valid


@pytest.mark.timing
def test_the_client_measures_a_known_delay_as_it_is() -> None:
    calibrated = asyncio.run(calibration.measure("http"))
    assert calibrated.requests > 700
    assert 0 <= calibrated.added_p50_ms < 2.5  # half of the delay; a quiet machine adds a fifth
    assert "P50 +" in calibrated.sentence


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"model": "resnet50"}, "not ready to serve 'resnet50'"),
        ({"batch": 9}, "at most 8 for 'mobilenetv2'"),
        ({"protocol": "https"}, "wants HTTPS, but the server is at http:"),
        ({"protocol": "grpc"}, "No gRPC server answers at 127.0.0.1:9"),
    ],
)
def test_what_cannot_be_sent_is_refused_first(
    server: KnownServer, change: dict[str, Any], wrong: str
) -> None:
    with pytest.raises(Problem, match=wrong):
        server_check.preflight(server.endpoint, scenario(STEADY, **change))
    nobody = server.endpoint.model_copy(update={"http": "http://127.0.0.1:9"})
    with pytest.raises(Problem, match=r"No server answers at http://127.0.0.1:9 \(Connection"):
        server_check.preflight(nobody, scenario(STEADY))
    assert server.inferences == 0


def test_a_model_without_batches_gets_its_tensors_as_it_says(
    server: KnownServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensor = {"name": "input", "datatype": "FP32", "shape": [1, 3, 8, 8]}
    output = {"name": "logits", "datatype": "FP32", "shape": [1, 10]}
    monkeypatch.setitem(DESCRIBED, "", {"inputs": [tensor], "outputs": [output]})
    monkeypatch.setitem(DESCRIBED, "/config", {"max_batch_size": 0})
    shape = server_check.preflight(server.endpoint, scenario(STEADY))
    assert (shape.input, shape.input_bytes, shape.output_bytes) == ((1, 3, 8, 8), 768, 40)


@pytest.mark.parametrize(
    ("config", "datatype", "wrong"),
    [
        ({"model_transaction_policy": {"decoupled": True}}, "FP32", "is decoupled"),
        ({"sequence_batching": {}}, "FP32", "wants sequences"),
        ({"input": [{"name": "a"}, {"name": "b", "optional": True}]}, "FP32", "optional input"),
        ({}, "BYTES", "not have one input of UINT8 or FP32 and one FP32 output"),
    ],
)
def test_a_model_that_the_load_cannot_speak_to_is_refused_in_one_sentence(
    server: KnownServer, monkeypatch: pytest.MonkeyPatch, config: Any, datatype: str, wrong: str
) -> None:
    tensor = {"name": "x", "datatype": datatype, "shape": [-1, 4]}
    monkeypatch.setitem(DESCRIBED, "", {"inputs": [tensor], "outputs": [tensor]})
    monkeypatch.setitem(DESCRIBED, "/config", config)
    with pytest.raises(Problem, match=wrong):
        server_check.preflight(server.endpoint, scenario(STEADY))


def test_seconds_of_workers_are_merged_and_drawn() -> None:
    merged = ProgressMerger(2)
    progress = {
        "elapsed_s": 1.0, "phase": "steady", "sent": 50, "ok": 50, "in_flight": 1, "errors": {},
        "latency": {-267: 50}, "memory_mib": 10.0,
    }  # fmt: skip
    assert merged.add(0, progress) is None  # 1.02 ** -267 s is 5 ms
    second = merged.add(1, {**progress, "latency": {-267: 48, -197: 2}})
    assert isinstance(second, Second)
    assert (second.throughput_rps, second.in_flight, second.memory_mib) == (100, 2, 20)
    assert second.p50_ms == pytest.approx(5, rel=0.03)
    assert second.p99_ms == pytest.approx(20, rel=0.03)
    drawn = chart("trial", deque([second, second]))
    assert drawn.count("<polyline") == 4 and second.line("trial") in drawn
