"""Locust's master and workers fire the same load as the engine's own."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import psutil
import pytest

from helpers import load
from helpers.load import Result
from helpers.load.arrivals import schedule
from helpers.scenario import Scenario

from .conftest import scenario
from .known_server import KnownServer, known_server

MARK = "a swarm under test"
STEADY = {"arrivals": "poisson", "rate": 300, "duration_s": 4}
FINEST_MS = 3.0  # the noise of two shared cores


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
    for name in ("p50", "p95"):
        assert abs(swarm.latency[name].ms - own.latency[name].ms) < FINEST_MS


def test_the_report_says_who_fired(both: tuple[Result, Result]) -> None:
    _, swarm = both
    assert swarm.report.engine.endswith("2 Locust workers")
    assert swarm.report.workers == 2


def test_locusts_own_table_counts_every_good_answer(both: tuple[Result, Result]) -> None:
    _, swarm = both
    stats = pd.read_csv(swarm.folder / "locust_stats.csv").set_index("Name")
    assert stats.loc["Aggregated", "Request Count"] == swarm.report.measured.ok


def test_nothing_is_left_running(both: tuple[Result, Result]) -> None:
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if any("locustfile.py" in part for part in process.info["cmdline"] or ())
    ]
    assert left == []
