"""A run with made-up figures, so that every verdict and page can be tried without a server."""

import numpy as np
import pandas as pd
import pytest

from helpers import promises
from helpers.load.records import (
    Calibration,
    Capacity,
    LoadReport,
    Percentile,
    PhaseReport,
    ScenarioReport,
    Step,
)
from helpers.run import Run
from helpers.telemetry.records import SeriesFacts, Telemetry

LENGTH_S = 20.0


def phase(name: str, count: int, **changed: object) -> PhaseReport:
    """A phase of `count` answers, 5 to 15 ms late, but for one time-out."""
    facts: dict[str, object] = {
        "name": name,
        "warmup": False,
        "requested_rps": count / LENGTH_S,
        "offered_rps": count / LENGTH_S,
        "throughput_rps": count / LENGTH_S,
        "goodput_rps": count / LENGTH_S,
        "start_s": 0.0,
        "end_s": LENGTH_S,
        "requests": count,
        "delivered": count,
        "ok": count - 1,
        "errors": {"timeout": 1},
        "error_rate_pct": 100 / count,
        "latency": {
            "p50": Percentile(ms=10.0, low_ms=9.5, high_ms=10.5),
            "p95": Percentile(ms=14.5, low_ms=14.2, high_ms=14.8),
            "p99": Percentile(ms=14.9, low_ms=14.7, high_ms=15.0),
        },
        "mean_ms": 10.0,
        "max_ms": 15.0,
        "service_p50_ms": 9.8,
        "send_error_p50_ms": 0.1,
        "send_error_p99_ms": 0.2,
        "overloaded": False,
        "invalid": (),
    }
    return PhaseReport.model_validate(facts | changed)


def scenario(name: str, count: int = 800, **changed: object) -> ScenarioReport:
    """A scenario of one phase."""
    one = phase("steady", count)
    facts: dict[str, object] = {
        "name": name,
        "model": "mobilenetv2",
        "protocol": "http",
        "batch": 1,
        "seed": 1,
        "workers": 1,
        "stopped": "",
        "objective_ms": 120.0,
        "drift": None,
        "memory": {},
        "engine": "made up",
        "started": "2026-01-01T00:00:10.000Z",
        "phases": (one,),
        "measured": one.model_copy(update={"name": "measured"}),
        "server": None,
        "agreement": "made up for a test",
        "client_cpu_share": 0.1,
        "invalid": (),
    }
    return ScenarioReport.model_validate(facts | changed)


def requests(count: int = 800, seed: int = 1) -> pd.DataFrame:
    """The table that belongs to a scenario, with one error."""
    generator = np.random.default_rng(seed)
    intended = np.sort(generator.uniform(0, LENGTH_S, count))
    latency = generator.uniform(5, 15, count)
    table = pd.DataFrame(
        {
            "phase": "steady",
            "warmup": False,
            "intended_s": intended,
            "released_s": intended + 0.0001,
            "sent_s": intended + 0.0001,
            "done_s": intended + latency / 1000,
            "latency_ms": latency,
            "service_ms": latency - 0.1,
            "outcome": "ok",
            "bytes": 4_100,
        }
    )
    table.loc[7, "outcome"] = "timeout"
    table.loc[7, "done_s":"service_ms"] = np.nan
    return table


def telemetry(gpu: float | None = None) -> Telemetry:
    """CPU at half; a GPU only where it is asked for."""
    facts = {"title": "CPU utilisation", "unit": "%", "query": "up"}
    gpu_facts = {"title": "GPU utilisation", "unit": "%", "query": "up"}
    absent = "" if gpu is not None else "no GPU here"
    return Telemetry(
        start="2026-01-01T00:00:00.000Z",
        end="2026-01-01T00:01:00.000Z",
        series=(
            SeriesFacts(name="cpu", samples=60, absent="", **facts),
            SeriesFacts(name="gpu", samples=0, absent=absent or "made up", **gpu_facts),
        ),
        cpu_utilisation_pct=50.0,
        gpu_utilisation_pct=gpu,
        gpu_absent=absent,
    )


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
    names = ("smoke", "spike", "soak")
    calibration = Calibration(
        wire="http", delay_ms=5, rate=400, requests=800, added_p50_ms=0.2, added_p99_ms=0.6,
        send_error_p99_ms=0.3,
    )  # fmt: skip
    scenarios = tuple(scenario(name) for name in names)
    run.save(LoadReport(calibrations=(calibration,), scenarios=scenarios))
    for number, name in enumerate(names):
        run.save_table(f"requests-{name}", requests(seed=number))
        run.event("load-start", stage="05", scenario=name)
        run.event("load-stop", stage="05", scenario=name)
    run.save(capacity())
    run.save(telemetry())
    times = pd.date_range("2026-01-01", periods=60, freq="s", tz="UTC")
    run.save_table(
        "metrics", pd.DataFrame({"time": times, "series": "cpu", "label": "", "value": 50.0})
    )
    promises.claim(run, "05.scenarios", holds=True, evidence="records/05/load.json", note="made up")
    return run
