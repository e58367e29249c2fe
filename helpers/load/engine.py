"""Fires one scenario at one server: worker processes, what they tell, and what came of it."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pyarrow.dataset import Dataset

from helpers.load import counters, figures, preflight, swarm, tables
from helpers.load.counters import Counters
from helpers.load.crew import Crew, Start, Told
from helpers.load.live import printed
from helpers.load.memory import MemoryLog
from helpers.load.progress import Second
from helpers.load.report import CLIENTS_FAULT, Memory, ScenarioReport
from helpers.paths import OUTPUTS
from helpers.scenario import Scenario
from helpers.serving.endpoint import Endpoint

INTERRUPTED = "interrupted"
SETTLE_S = 2.0  # Triton counts a request a little after it has answered it
MAX_CONNECTIONS = 256
STARTS: dict[str, Start] = {"embedded": Crew.start, "locust": swarm.start}


@dataclass(frozen=True)
class Result:
    """What came of a scenario.

    Attributes:
        report: Its figures.
        folder: Where its tables are.
    """

    report: ScenarioReport
    folder: Path

    def requests(self) -> pd.DataFrame:
        """Every request; columns as `helpers.load.report` describes."""
        return pd.read_parquet(tables.table_path(self.folder, self.report.name))

    def seconds(self) -> pd.DataFrame:
        """Every second; columns as `helpers.load.report` describes."""
        return pd.read_csv(tables.seconds_path(self.folder, self.report.name))


async def run(
    scenario: Scenario,
    endpoint: Endpoint,
    *,
    folder: Path | None = None,
    told: Told | None = None,
    objective_ms: float | None = None,
    max_connections: int = MAX_CONNECTIONS,
    mark: str = "",
    watched: Mapping[str, int] | None = None,
    control: Literal["embedded", "locust"] | Start = "embedded",
) -> Result:
    """Fire a scenario and wait until every request has its outcome.

    However it ends, what was measured is in `folder`: `tables/requests-<scenario>.parquet` and
    `tables/seconds-<scenario>.csv`.

    Args:
        scenario: What to fire.
        endpoint: The server to fire at.
        folder: Where tables and logs go; a new one below `outputs/loads` where left out.
        told: Told what happens; prints a line a second where left out.
        objective_ms: Good answers within this count as goodput.
        max_connections: Most HTTP connections at a time, over all workers.
        mark: Put into the workers' environment, so that others recognise them.
        watched: Name → pid of processes whose memory is followed (each with its children).
        control: Who starts the workers and gathers their records: this process, Locust as
            processes here, or, where one machine is not enough, `in_cluster.InCluster.start`.

    Raises:
        Problem: The scenario cannot be sent to this server, a worker failed, or it was stopped
            from outside.
    """
    told = told or printed(scenario.name)
    folder = folder or _new_folder(scenario.name)
    shape = await asyncio.to_thread(preflight.check, endpoint, scenario)
    tables.clear(folder, scenario.name)
    before = await asyncio.to_thread(counters.read, endpoint.metrics, scenario.model)
    memory = MemoryLog(watched or {})

    def heard(kind: str, what: Any) -> None:
        if isinstance(what, Second):
            memory.take(what)
        told(kind, what)

    start = control if callable(control) else STARTS[control]
    crew = start(scenario, endpoint, shape, folder, max_connections, mark)
    outcome = INTERRUPTED
    try:
        end = await crew.follow(heard)
        outcome = end["stopped"] or "finished"
    except Exception as error:
        outcome = f"failed: {error}"
        raise
    finally:
        # nothing is awaited here: whoever interrupts may end the event loop at once
        crew.stop()
        if crew.begun:
            told("load-stop", outcome)
        table = assemble(folder, scenario)
    after = await asyncio.to_thread(_settled, endpoint.metrics, scenario.model, before, table)
    found = report(scenario, table, end, before, after, memory.report(), objective_ms)
    return Result(found, folder)


def _new_folder(name: str) -> Path:
    folder = OUTPUTS / "loads" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{name}"
    folder.mkdir(parents=True)
    return folder


def assemble(folder: Path, scenario: Scenario) -> Dataset:
    """Make the tables from what the workers recorded; the requests are read where needed."""
    tables.assemble(folder, scenario)
    table = tables.opened(folder, scenario.name)
    tables.write_seconds(folder, scenario.name, tables.seconds(table))
    return table


def _settled(url: str, model: str, before: Counters | None, table: Dataset) -> Counters | None:
    """The counters once they hold every good answer, or after a while."""
    deadline = time.monotonic() + SETTLE_S
    fewest, _ = counters.expected(figures.outcomes(table))
    while True:
        after = counters.read(url, model)
        complete = before and after and after.since(before).requests >= fewest
        if complete or after is None or before is None or time.monotonic() > deadline:
            return after
        time.sleep(0.1)


def report(
    scenario: Scenario,
    table: Dataset,
    end: dict[str, Any],
    before: Counters | None,
    after: Counters | None,
    memory: dict[str, Memory],
    objective_ms: float | None,
) -> ScenarioReport:
    """The figures of a scenario that was fired.

    Args:
        scenario: What was fired.
        table: Every request of it.
        end: What the workers told at their end.
        before: Triton's counters before the first request; None where they could not be read.
        after: Its counters after the last one.
        memory: Resident memory by process.
        objective_ms: Good answers within this count as goodput.
    """
    server = after.since(before) if before and after else None
    agreement, contradiction = counters.compare(figures.outcomes(table), server)
    phases, measured = figures.reports(table, scenario, objective_ms)
    doubts = list(measured.invalid)
    if contradiction:
        doubts.append(agreement)
    if end["cpu_share"] > figures.CPU_LIMIT:
        doubts.append(f"it used {end['cpu_share']:.2f} of a core: {CLIENTS_FAULT}")
    return ScenarioReport(
        name=scenario.name,
        model=scenario.model,
        protocol=scenario.protocol,
        batch=scenario.batch,
        seed=scenario.seed,
        workers=scenario.workers,
        engine=end["engine"],
        started=end["started"],
        stopped=end["stopped"],
        objective_ms=objective_ms,
        phases=phases,
        measured=measured,
        server=server,
        agreement=agreement,
        drift=figures.drift(table),
        memory=memory,
        client_cpu_share=end["cpu_share"],
        invalid=tuple(doubts),
    )
