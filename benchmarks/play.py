"""Runs a scenario with the load engine, and calculates figures from the recorded requests."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.server import Server
from helpers.load import arrivals, engine, statistics
from helpers.load.request import OK
from helpers.scenario import Scenario

CONNECTIONS = 1100  # more than the burst needs
MICRO = 1e6


@dataclass(frozen=True)
class Phase:
    """The figures of one phase; times are in the unit of their name.

    Attributes:
        requests: That were due; of a closed loop, that were sent.
        sent: Sent by the phase's end.
        ok: Answered well by the phase's end.
        rate: Good answers per second, from the first to the last.
        p50_us: Median latency.
        p99_us: 99th percentile of the latency.
        send_error_us: 99th percentile of how late requests left.
        leave_ms: From the first request that left to the last.
        cpu_share: Of a core, of the client, over the whole scenario.
    """

    requests: int
    sent: int
    ok: int
    rate: float
    p50_us: float
    p99_us: float
    send_error_us: float
    leave_ms: float
    cpu_share: float


def scenario(model: str, *phases: dict[str, Any], **more: Any) -> Scenario:
    """A scenario; its phases get their names here."""
    named = [{"name": f"phase-{number}", **phase} for number, phase in enumerate(phases)]
    return Scenario.model_validate({"name": "bench", "model": model, "phases": named, **more})


def play(server: Server, scenario: Scenario) -> list[Phase]:
    """Fire a scenario as a run does; the figures of each phase.

    Raises:
        Problem: The engine failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(
            engine.run(
                scenario,
                server.endpoint,
                folder=Path(folder),
                on_event=lambda kind, what: None,
                max_connections=CONNECTIONS,
                mark=server.run.mark,
            )
        )
        rows = result.requests()
    return [
        _figures(span, rows[rows["phase"] == span.phase.name], result.report.client_cpu_share)
        for span in arrivals.spans(scenario)
    ]


def _figures(span: arrivals.PhaseSpan, rows: pd.DataFrame, cpu_share: float) -> Phase:
    good = rows[rows["outcome"] == OK]
    done = np.sort(good["done_s"].to_numpy())
    done = done[done <= span.end_s]
    return Phase(
        requests=len(rows),
        sent=int((rows["sent_s"] <= span.end_s).sum()),
        ok=len(done),
        rate=(len(done) - 1) / (done[-1] - done[0]) if len(done) > 1 else 0.0,
        p50_us=_percentile((good["done_s"] - good["intended_s"]) * MICRO, 0.50),
        p99_us=_percentile((good["done_s"] - good["intended_s"]) * MICRO, 0.99),
        send_error_us=_percentile((rows["sent_s"] - rows["intended_s"]) * MICRO, 0.99),
        leave_ms=float(rows["sent_s"].max() - rows["sent_s"].min()) * 1000,
        cpu_share=cpu_share,
    )


def _percentile(values: "pd.Series[float]", share: float) -> float:
    """The exact percentile; 0 without values."""
    known = np.sort(values.dropna().to_numpy())
    return statistics.percentile(known, share) if len(known) else 0.0
