"""Locust's master and workers fire the same load as the engine's own."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from helpers import load
from helpers.errors import Problem
from helpers.load.arrivals import schedule
from helpers.load.engine import Result
from helpers.load.worker import Order
from helpers.load.worker_pool import start_locust
from helpers.processes import marked
from helpers.scenario import Scenario

from .conftest import scenario
from .known_server import SHAPE, KnownServer, known_server

MARK = "a swarm under test"
STEADY = {"arrivals": "poisson", "rate": 300, "duration_s": 4}
NOISE_MS = 25.0  # other tests run on the same cores


def fire(chosen: Scenario, server: KnownServer, folder: Path,
         control: Literal["embedded", "locust"]) -> Result:  # fmt: skip
    return asyncio.run(load.run(chosen, server.endpoint, folder=folder, mark=MARK, control=control))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Result, Result]]:
    """The same scenario by the engine's own workers, and by Locust's."""
    chosen = scenario(STEADY, workers=2, seed=7)
    with known_server() as server:
        yield (
            fire(chosen, server, tmp_path_factory.mktemp("own"), "embedded"),
            fire(chosen, server, tmp_path_factory.mktemp("swarm"), "locust"),
        )


async def refusing(_: KnownServer, __: int, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    return True


def test_the_records_of_all_shards_come_together(both: tuple[Result, Result]) -> None:
    own, swarm = (one.requests() for one in both)
    planned = schedule(scenario(STEADY, workers=2, seed=7)).times_s
    for table in (own, swarm):
        assert len(table) == len(planned)
        assert np.allclose(np.sort(table["intended_s"]), planned, atol=1e-6)
    assert (swarm["outcome"] == "ok").all()


def test_the_figures_are_the_engines_within_noise(both: tuple[Result, Result]) -> None:
    own, swarm = (one.report.measured for one in both)
    assert (swarm.requests, swarm.ok) == (own.requests, own.ok)
    assert abs(swarm.latency["p50"].ms - own.latency["p50"].ms) < NOISE_MS


def test_the_report_says_who_fired(both: tuple[Result, Result]) -> None:
    _, swarm = both
    assert swarm.report.engine.endswith("2 Locust workers")
    assert swarm.report.workers == 2


def test_nothing_is_left_running(both: tuple[Result, Result]) -> None:
    assert marked(MARK) == {}


def test_a_load_that_stops_early_keeps_the_records_of_every_shard(
    server: KnownServer, tmp_path: Path
) -> None:
    server.behaviour = refusing
    chosen = scenario(
        {"arrivals": "constant", "rate": 200, "duration_s": 60}, workers=2,
        stop={"errors_pct": 50},
    )  # fmt: skip
    result = fire(chosen, server, tmp_path, "locust")
    assert result.report.stopped.startswith("stopped after")
    table = result.requests()
    times = table["intended_s"].to_numpy()
    assert set(table["outcome"]) != {"ok"} and times.max() < 30
    # of constant arrivals one shard has the even ones and the other the odd ones
    first = np.rint(times[times < 1] * 200).astype(int)
    assert sorted(first) == list(range(200))


def test_a_worker_that_cannot_begin_ends_the_load_with_its_reason(
    server: KnownServer, tmp_path: Path
) -> None:
    chosen = scenario(STEADY, workers=2)
    untrusted = {"http": "https://127.0.0.1:9", "certificate": str(tmp_path / "nowhere.pem")}
    wrong = server.endpoint.model_copy(update=untrusted)
    pool = start_locust(
        Order(scenario=chosen, endpoint=wrong, shape=SHAPE, max_connections=8), tmp_path, MARK
    )
    try:
        with pytest.raises(Problem, match=r"failed \(exit status 1\)") as told:
            asyncio.run(pool.follow(lambda kind, what: None))
    finally:
        pool.stop()
    assert "FileNotFoundError" in told.value.next_step
