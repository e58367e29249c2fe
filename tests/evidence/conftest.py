"""A run with made-up figures, so that every verdict and page can be tried without a server."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers import promises
from helpers.load.records import (
    Calibration,
    Capacity,
    LoadReport,
    PhaseReport,
    ScenarioReport,
    Step,
)
from helpers.run import Run
from helpers.telemetry.records import SeriesFacts, Telemetry
from tests import contract

STORED = Path(contract.__file__).with_name("quick-run") / LoadReport.path()
SOAK: dict[str, Any] = json.loads(STORED.read_text())["scenarios"][2]
LENGTH_S = 20.0
NAMES = ("smoke", "spike", "soak")


def phase(name: str, count: int, **changed: object) -> PhaseReport:
    """A phase of `count` answers, 5 to 15 ms late, but for one time-out."""
    rates = ("requested_rps", "offered_rps", "throughput_rps", "goodput_rps")
    latency = {"p50": (10.0, 9.5, 10.5), "p95": (14.5, 14.2, 14.8), "p99": (14.9, 14.7, 15.0)}
    facts = SOAK["measured"] | dict.fromkeys(rates, count / LENGTH_S)
    facts |= {"name": name, "start_s": 0.0, "end_s": LENGTH_S}
    facts |= {"requests": count, "delivered": count, "ok": count - 1, "errors": {"timeout": 1}}
    facts |= {"error_rate_pct": 100 / count, "mean_ms": 10.0, "max_ms": 15.0}
    facts["latency"] = {
        key: dict(zip(("ms", "low_ms", "high_ms"), values, strict=True))
        for key, values in latency.items()
    }
    return PhaseReport.model_validate(facts | changed)


def scenario(name: str, steady: PhaseReport | None = None, **changed: object) -> ScenarioReport:
    """A scenario of one phase."""
    steady = steady or phase("steady", 800)
    facts = SOAK | {"name": name, "started": "2026-01-01T00:00:10.000Z", "server": None}
    facts |= {"phases": (steady,), "measured": steady.model_copy(update={"name": "measured"})}
    return ScenarioReport.model_validate(facts | changed)


def requests(count: int = 800, seed: int = 1) -> pd.DataFrame:
    """The table that belongs to a scenario, with one error."""
    generator = np.random.default_rng(seed)
    intended = np.sort(generator.uniform(0, LENGTH_S, count))
    latency = generator.uniform(5, 15, count)
    table = pd.DataFrame({"intended_s": intended, "latency_ms": latency})
    table = table.assign(phase="steady", warmup=False, outcome="ok", bytes=4_100)
    table["released_s"] = table["sent_s"] = intended + 0.0001
    table["done_s"], table["service_ms"] = intended + latency / 1000, latency - 0.1
    table.loc[7, "outcome"] = "timeout"
    table.loc[7, ["done_s", "latency_ms", "service_ms"]] = np.nan
    return table


def telemetry(gpu: float | None = None) -> Telemetry:
    """CPU at half; a GPU only where it is asked for."""
    absent = "" if gpu is not None else "no GPU here"
    series = (("CPU", 60, ""), ("GPU", 0, absent or "made up"))
    return Telemetry(
        start="2026-01-01T00:00:00.000Z", end="2026-01-01T00:01:00.000Z",
        series=tuple(
            SeriesFacts(name=f"{name.lower()}_utilisation", title=f"{name} utilisation", unit="%",
                        query="up", samples=samples, absent=why)
            for name, samples, why in series
        ),
        cpu_utilisation_pct=50.0, gpu_utilisation_pct=gpu, gpu_absent=absent,
    )  # fmt: skip


def capacity() -> Capacity:
    """A server that bends at 2,000 a second and holds the objective up to 3,000."""
    steps = tuple(
        Step(
            rate=rate, throughput_rps=rate, goodput_rps=rate, p50_ms=p50, p95_ms=2 * p50,
            p99_ms=3 * p50, error_rate_pct=0.0, overloaded=p50 > 50, invalid=(), holds=p50 < 40,
        )
        for rate, p50 in ((1000, 5.0), (2000, 6.0), (3000, 30.0), (3500, 90.0))
    )  # fmt: skip
    return Capacity(
        model="mobilenetv2", protocol="http", scenario="soak", objective_p99_ms=120.0,
        capacity_rps=3000.0, steps=steps,
    )  # fmt: skip


@pytest.fixture
def measured(run: Run) -> Run:
    """A run whose three scenarios were fired, on a machine without a GPU."""
    calibration = Calibration(
        wire="http", delay_ms=5, rate=400, requests=800, added_p50_ms=0.2, added_p99_ms=0.6,
        send_error_p99_ms=0.3,
    )  # fmt: skip
    scenarios = tuple(scenario(name) for name in NAMES)
    run.save(LoadReport(calibrations=(calibration,), scenarios=scenarios))
    for number, name in enumerate(NAMES):
        run.save_table(f"requests-{name}", requests(seed=number))
        run.event("load-start", stage="05", scenario=name)
        run.event("load-stop", stage="05", scenario=name)
    run.save(capacity())
    run.save(telemetry())
    times = pd.date_range("2026-01-01", periods=60, freq="s", tz="UTC")
    run.save_table(
        "metrics",
        pd.DataFrame({"time": times, "series": "cpu_utilisation", "label": "", "value": 50.0}),
    )
    promises.claim(run, "05.scenarios", holds=True, evidence="records/05/load.json", note="made up")
    return run
