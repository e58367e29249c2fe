"""Locust's master and workers fire the same load as the engine's own."""

import asyncio
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers import load
from helpers.load import statistics
from helpers.load.arrivals import schedule
from helpers.load.engine import Result
from helpers.processes import marked
from helpers.scenario import Scenario

from .conftest import scenario
from .known_server import KnownServer

STEADY = {"arrivals": "poisson", "rate": 300, "duration_s": 2}


def fire(chosen: Scenario, server: KnownServer, folder: Path) -> Result:
    """Fire with Locust; the folder is the mark of its processes too."""
    return asyncio.run(
        load.run(chosen, server.endpoint, folder=folder, mark=str(folder), control="locust")
    )


async def refusing(_: KnownServer, __: int, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    return True


@pytest.mark.timing
def test_shards_send_together_what_the_engine_alone_would(
    server: KnownServer, tmp_path: Path
) -> None:
    chosen = scenario(STEADY, workers=2, seed=7)
    result = fire(chosen, server, tmp_path)
    assert marked(str(tmp_path)) == {}
    table, planned = result.requests(), schedule(chosen).times_s
    assert np.allclose(np.sort(table["intended_s"]), planned, atol=1e-6)
    assert (table["outcome"] == "ok").all()
    seconds = pd.read_csv(statistics.seconds_path(result.folder, result.report.name))
    assert seconds["ok"].sum() == len(table)
    report = result.report
    assert report.engine.endswith("2 Locust workers") and report.workers == 2
    assert report.measured.requests == report.measured.ok == len(planned)
    delay_ms = 1000 * server.delay_s
    assert delay_ms <= table["latency_ms"].min()
    assert report.measured.latency["p50"].ms < delay_ms + 25


def test_a_load_that_stops_early_keeps_the_records_of_every_shard(
    server: KnownServer, tmp_path: Path
) -> None:
    server.behaviour = refusing
    chosen = scenario(
        {"arrivals": "constant", "rate": 200, "duration_s": 60}, workers=2,
        stop={"errors_pct": 50},
    )  # fmt: skip
    result = fire(chosen, server, tmp_path)
    assert result.report.stopped.startswith("stopped after")
    table = result.requests()
    times = table["intended_s"].to_numpy()
    assert set(table["outcome"]) != {"ok"} and times.max() < 30
    # of constant arrivals one shard has the even ones and the other the odd ones
    first = np.rint(times[times < 1] * 200).astype(int)
    assert sorted(first) == list(range(200))
