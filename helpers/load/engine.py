"""Fires one scenario at one server, follows its workers, and reports the figures."""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from pyarrow.dataset import Dataset

from helpers.load import server_check, statistics
from helpers.load.records import CLIENTS_FAULT, Memory, ScenarioReport
from helpers.load.request import Second, Shape
from helpers.load.server_check import Counters
from helpers.load.worker import Order
from helpers.load.worker_pool import OnEvent, Starter, start_processes
from helpers.paths import OUTPUTS
from helpers.scenario import Scenario
from helpers.serving.records import Endpoint

INTERRUPTED = "interrupted"
SETTLE_S = 2.0  # Triton counts a request a little after it has answered it
WIDTH, HEIGHT, MARGIN = 640, 150, 34
MOST_POINTS = 300  # seconds shown at once
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#6b6b6b"


@dataclass(frozen=True)
class Result:
    """The figures of a scenario that was fired, and the folder of its tables."""

    report: ScenarioReport
    folder: Path

    def requests(self) -> pd.DataFrame:
        """Every request; columns as `helpers.load.records` describes."""
        return pd.read_parquet(statistics.table_path(self.folder, self.report.name))


async def run(
    scenario: Scenario,
    endpoint: Endpoint,
    *,
    shape: Shape | None = None,  # what `server_check.preflight` returned; None runs it now
    folder: Path | None = None,  # for tables and logs; None makes one below `outputs/loads`
    on_event: OnEvent | None = None,  # None prints a line a second
    objective_ms: float | None = None,  # good answers within this count as goodput
    max_connections: int = 256,  # over all workers
    mark: str = "",  # put into the workers' environment, so that others recognise them
    watched: Mapping[str, int] | None = None,  # name → pid of processes whose memory is followed
    start: Starter = start_processes,  # what starts the workers; for pods a `ClusterStarter`
) -> Result:
    """Fire a scenario and wait until every request has its outcome.

    However it ends, what was measured is in `folder`: `tables/requests-<scenario>.parquet` and
    `tables/seconds-<scenario>.csv`. It is a `Problem` where the scenario cannot be sent to this
    server, where a worker failed, and where it was stopped from outside.
    """
    on_event = on_event or printer(scenario.name)
    if folder is None:
        folder = OUTPUTS / "loads" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{scenario.name}"
        folder.mkdir(parents=True)
    if shape is None:
        shape = await asyncio.to_thread(server_check.preflight, endpoint, scenario)
    statistics.clear(folder, scenario.name)
    read_counters = lambda: server_check.read_counters(endpoint.metrics, scenario.model)  # noqa: E731
    before = await asyncio.to_thread(read_counters)
    memory: dict[str, list[float]] = defaultdict(list)  # in MiB, and the seconds they belong to

    def with_memory(kind: str, what: Any) -> None:
        if isinstance(what, Second):
            memory["elapsed_s"].append(what.elapsed_s)
            memory["client"].append(what.memory_mib)
            for name, pid in (watched or {}).items():
                memory[name].append(_family_mib(pid))
        on_event(kind, what)

    order = Order(
        scenario=scenario, endpoint=endpoint, shape=shape, max_connections=max_connections
    )
    pool = start(order, folder, mark)
    outcome = INTERRUPTED
    try:
        end = await pool.follow(with_memory)
        outcome = end["stopped"] or "finished"
    except Exception as error:
        outcome = f"failed: {error}"
        raise
    finally:
        # no await here: after an interrupt the event loop may end at once
        pool.stop()
        if pool.begun:
            on_event("load-stop", outcome)
        table = statistics.assemble(folder, scenario)
    after = await asyncio.to_thread(_settled_counters, read_counters, before, table)
    return Result(report(scenario, table, end, before, after, memory, objective_ms), folder)


async def run_with_retry(fire: Callable[[], Awaitable[ScenarioReport]]) -> ScenarioReport:
    """Fire, and once more, as the report then says, if other processes made the client slow."""
    first = await fire()
    if not any(reason.endswith(CLIENTS_FAULT) for reason in first.invalid):
        return first
    reason = "; ".join(first.invalid)
    print(f"{first.name} is fired again: {reason}", flush=True)
    return (await fire()).model_copy(update={"repeated": reason})


def _settled_counters(
    read: Callable[[], Counters | None], before: Counters | None, table: Dataset
) -> Counters | None:
    """The counters, read again until they include every good answer or time is up."""
    deadline = time.monotonic() + SETTLE_S
    fewest, _ = server_check.expected_successes(statistics.outcomes(table))
    while True:
        after = read()
        if not (before and after) or time.monotonic() > deadline:
            return after
        if server_check.counted(before, after).requests >= fewest:
            return after
        time.sleep(0.1)


def report(
    scenario: Scenario,
    table: Dataset,
    end: dict[str, Any],
    before: Counters | None,
    after: Counters | None,
    memory: dict[str, list[float]],
    objective_ms: float | None,
) -> ScenarioReport:
    """The figures of a scenario: its requests, the workers' `end`, and Triton's counters."""
    server = server_check.counted(before, after) if before and after else None
    agreement, contradiction = server_check.compare(statistics.outcomes(table), server)
    phases, measured = statistics.reports(table, scenario, objective_ms)
    reasons = list(measured.invalid)
    if contradiction:
        reasons.append(agreement)
    if end["cpu_share"] > statistics.CPU_LIMIT:
        reasons.append(f"it used {end['cpu_share']:.2f} of a core: {CLIENTS_FAULT}")
    same = {"name", "model", "protocol", "batch", "seed", "workers"}
    return ScenarioReport(
        **scenario.model_dump(include=same),
        **{name: end[name] for name in ("engine", "started", "stopped")},
        objective_ms=objective_ms,
        phases=phases,
        measured=measured,
        server=server,
        agreement=agreement,
        drift=statistics.drift(table),
        memory={
            name: Memory(
                first_mib=values[0],
                last_mib=values[-1],
                trend=statistics.trend(memory["elapsed_s"], values),
            )
            for name, values in memory.items()
            if name != "elapsed_s"
        },
        client_cpu_share=end["cpu_share"],
        invalid=tuple(reasons),
    )


def _family_mib(pid: int) -> float:
    try:
        parent = psutil.Process(pid)
        family = (parent, *parent.children(recursive=True))
        return sum(process.memory_info().rss for process in family) / 2**20
    except psutil.Error:
        return float("nan")  # the process has ended; the load itself will report that


def printer(name: str) -> OnEvent:
    """Prints one line per second for the scenario of this name."""

    def on_event(kind: str, what: Any) -> None:
        if kind == "second":
            print(what.line(name), flush=True)

    return on_event


def display(name: str) -> OnEvent:
    """Redraws a chart every second in an interactive notebook; prints lines elsewhere."""
    from IPython.core.getipython import get_ipython
    from IPython.display import HTML
    from IPython.display import display as show

    kernel: Any = getattr(get_ipython(), "kernel", None)
    if not (kernel and kernel.get_parent().get("content", {}).get("allow_stdin")):
        return printer(name)  # a batch run: nobody watches
    seconds: deque[Second] = deque(maxlen=MOST_POINTS)
    handle = show(HTML(""), display_id=True)

    def on_event(kind: str, what: Any) -> None:
        if kind == "second":
            seconds.append(what)
            handle.update(HTML(chart(name, seconds)))

    return on_event


def chart(name: str, seconds: "deque[Second]") -> str:
    """Rates and latency of the last seconds (at least one) as SVG: plain text, quick to draw."""
    panels = (
        (("offered /s", GREY, "offered_rps"), ("answered /s", BLUE, "throughput_rps")),
        (("P50 ms", BLUE, "p50_ms"), ("P99 ms", VERMILION, "p99_ms")),
    )
    drawn = "".join(_panel(lines, seconds) for lines in panels)
    return f"<div>{drawn}<pre>{seconds[-1].line(name)}</pre></div>"


def _panel(lines: tuple[tuple[str, str, str], ...], seconds: "deque[Second]") -> str:
    series = [[getattr(second, field) for second in seconds] for _, _, field in lines]
    top = max((value for values in series for value in values if value), default=1.0)
    parts = [
        f'<path d="M{MARGIN} 18V{HEIGHT - 6}H{WIDTH}" stroke="{GREY}" fill="none"/>'
        f'<text x="0" y="26" fill="{GREY}">{top:.3g}</text>'
        f'<text x="0" y="{HEIGHT - 6}" fill="{GREY}">0</text>'
    ]
    for number, ((label, colour, _), values) in enumerate(zip(lines, series, strict=True)):
        step = (WIDTH - MARGIN) / max(len(values) - 1, 1)
        points = " ".join(
            f"{MARGIN + at * step:.1f},{HEIGHT - 6 - value / top * (HEIGHT - 24):.1f}"
            for at, value in enumerate(values)
            if value is not None
        )
        parts.append(
            f'<text x="{MARGIN + 6 + 90 * number}" y="12" fill="{colour}">{label}</text>'
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        )
    size = f'width="{WIDTH}" height="{HEIGHT}" font-size="11" font-family="sans-serif"'
    return f'<svg role="img" {size}>{"".join(parts)}</svg>'
