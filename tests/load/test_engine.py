"""Loads without a run: workers, ends before the time, capacity, calibration, and refusals."""

import asyncio
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import load
from helpers.errors import Problem
from helpers.load import calibration, server_check, stage, statistics
from helpers.load.arrivals import Shard, schedule
from helpers.load.engine import Result, chart
from helpers.load.request import ProgressMerger, Second
from helpers.scenario import Scenario

from .conftest import scenario
from .known_server import DESCRIBED, KnownServer, answer

STEADY = {"arrivals": "poisson", "rate": 100, "duration_s": 2}


@pytest.fixture
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of a capacity search that fewer samples suffice for."""
    monkeypatch.setitem(statistics.FLOORS, "p99", 150)
    monkeypatch.setattr(stage, "SAMPLES", 200)
    monkeypatch.setattr(stage, "SHORTEST_S", 1.0)
    monkeypatch.setattr(stage, "WARMUP_S", 0.5)


def fire(played: Scenario, server: KnownServer, folder: Path, **more: Any) -> Result:
    return asyncio.run(load.run(played, server.endpoint, folder=folder, **more))


def test_workers_send_together_what_one_would(server: KnownServer, tmp_path: Path) -> None:
    played = scenario(STEADY, {**STEADY, "name": "even", "arrivals": "constant"}, workers=3)
    told: list[tuple[str, Any]] = []
    result = fire(played, server, tmp_path, on_event=lambda kind, what: told.append((kind, what)))
    table = result.requests()
    np.testing.assert_allclose(table["intended_s"], schedule(played).times_s, atol=2e-6)
    assert result.report.measured.ok == len(table) and result.report.workers == 3
    assert len(server.bodies) == 12  # four inputs a worker, and none of them twice
    assert [kind for kind, _ in told if kind != "second"] == [
        "load-start", "phase-start", "phase-stop", "phase-start", "phase-stop", "load-stop",
    ]  # fmt: skip
    seconds = [what for kind, what in told if kind == "second"]
    assert len(seconds) >= 3 and seconds[-1].phase == "even"
    assert result.seconds()["ok"].sum() == len(table)


@pytest.mark.parametrize("arrivals", ["poisson", "constant"])
def test_shards_are_a_partition_and_keep_their_kind(arrivals: str) -> None:
    played = scenario({"arrivals": arrivals, "rate": 1000, "duration_s": 20})
    parts = [schedule(played, Shard(number, 4)).times_s for number in range(4)]
    assert np.array_equal(np.sort(np.concatenate(parts)), schedule(played).times_s)
    for part in parts:
        gaps = np.diff(part)
        variation = gaps.std() / gaps.mean()  # of exponential gaps 1, of even ones 0
        assert variation == pytest.approx(1.0 if arrivals == "poisson" else 0.0, abs=0.06)


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


def test_a_load_ends_early_when_it_should(server: KnownServer, tmp_path: Path) -> None:
    async def fails(server: KnownServer, number: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(answer(status=503))
        return True

    server.behaviour = fails
    played = scenario({**STEADY, "duration_s": 60}, stop={"errors_pct": 50})
    begun = time.monotonic()
    report = fire(played, server, tmp_path).report
    assert time.monotonic() - begun < 30
    assert report.stopped.endswith("100 % of the answers of the last seconds were errors")
    assert set(report.measured.errors) == {"http-503"}


def test_nearly_all_errors_still_give_a_whole_result(server: KnownServer, tmp_path: Path) -> None:
    async def seldom(server: KnownServer, number: int, writer: asyncio.StreamWriter) -> bool:
        good = number % 20 == 0
        server.successes += good
        writer.write(answer() if good else answer(status=500))
        return True

    server.behaviour = seldom
    report = fire(scenario({**STEADY, "duration_s": 4}), server, tmp_path).report
    assert report.measured.error_rate_pct == pytest.approx(95, abs=1)
    assert "p50" in report.measured.latency and "p99" not in report.measured.latency


@pytest.mark.timing
def test_the_capacity_of_a_known_server_is_found(
    server: KnownServer, capsys: pytest.CaptureFixture[str], short_steps: None
) -> None:
    async def one_at_a_time(server: KnownServer, number: int, writer: asyncio.StreamWriter) -> bool:
        time.sleep(0.004)  # 250 a second, less what the server itself takes
        server.successes += 1
        writer.write(answer())
        return True

    server.behaviour = one_at_a_time
    smoke = load.preset("smoke", "mobilenetv2", 20)
    search = load.find_capacity(smoke, server.endpoint, 100, rate=120, precision=0.5)
    found = asyncio.run(search)
    assert found.capacity_rps is not None and 60 <= found.capacity_rps <= 250
    assert [one.rate for one in found.steps] == sorted(one.rate for one in found.steps)
    assert not found.steps[-1].holds
    assert capsys.readouterr().out.count("/s · answered") == len(found.steps)
    with pytest.raises(Problem, match="must be a positive time"):
        asyncio.run(load.find_capacity(load.preset("smoke", "m", 20), server.endpoint, -1))


def test_a_step_whose_client_was_late_is_fired_twice_and_says_so(
    server: KnownServer, monkeypatch: pytest.MonkeyPatch, short_steps: None
) -> None:
    monkeypatch.setattr(statistics, "SEND_ERROR_LIMIT_MS", -1.0)  # nobody is in time
    smoke = load.preset("smoke", "mobilenetv2", 20)
    search = load.find_capacity(smoke, server.endpoint, 1000, rate=400, max_rate=400)
    found = asyncio.run(search)
    (step,) = found.steps
    assert "the client was the bottleneck" in step.repeated
    assert "(fired twice)" in step.sentence and not found.is_valid


@pytest.mark.timing
def test_the_client_measures_a_known_delay_as_it_is() -> None:
    found = asyncio.run(calibration.measure("http"))
    assert found.requests > 700
    assert 0 <= found.added_p50_ms < 2.5  # half of the delay; a quiet machine has a tenth of that
    assert "P50 +" in found.sentence


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
    assert server.inferences == 0


def test_a_model_without_batches_gets_its_tensors_as_it_says(
    server: KnownServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensor = {"name": "input", "datatype": "FP32", "shape": [1, 3, 8, 8]}
    output = {"name": "logits", "datatype": "FP32", "shape": [1, 10]}
    monkeypatch.setitem(DESCRIBED, "", {"inputs": [tensor], "outputs": [output]})
    monkeypatch.setitem(DESCRIBED, "/config", {"max_batch_size": 0})
    shape = server_check.preflight(server.endpoint, scenario(STEADY))
    assert (shape.input, shape.output_bytes) == ((1, 3, 8, 8), 40)


def test_an_unknown_preset_or_an_impossible_rate_is_one_sentence() -> None:
    with pytest.raises(Problem, match="There is no preset 'flood'"):
        load.preset("flood", "m", 1.0)
    with pytest.raises(Problem, match="greater than 0"):
        load.preset("smoke", "m", -1.0)
    with pytest.raises(Problem, match=r"finite number|less than or equal"):
        load.preset("smoke", "m", float("inf"))
    with pytest.raises(Problem, match="workers"):
        load.preset("smoke", "m", 20, workers=0)


def told(elapsed: float, latency: dict[int, int], ok: int) -> dict[str, Any]:
    return {
        "elapsed_s": elapsed, "phase": "steady", "sent": ok, "ok": ok, "in_flight": 1,
        "errors": {}, "latency": latency, "memory_mib": 10.0,
    }  # fmt: skip


def test_seconds_of_workers_are_merged_and_drawn() -> None:
    merged = ProgressMerger(2)
    assert merged.add(0, told(1.0, {-267: 50}, 50)) is None  # 1.02 ** -267 s is 5 ms
    second = merged.add(1, told(1.0, {-267: 48, -197: 2}, 50))
    assert isinstance(second, Second)
    assert (second.throughput_rps, second.in_flight, second.memory_mib) == (100, 2, 20)
    assert second.p50_ms == pytest.approx(5, rel=0.03)
    assert second.p99_ms == pytest.approx(20, rel=0.03)
    drawn = chart("trial", deque([second, second]))
    assert drawn.count("<polyline") == 4 and second.line("trial") in drawn
