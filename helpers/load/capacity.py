"""The highest rate that holds an objective, and the curve of latency against throughput."""

import tempfile
from pathlib import Path

from helpers.errors import Problem
from helpers.load import engine, second_chance
from helpers.load.report import Capacity, ScenarioReport, Step
from helpers.load.statistics import FLOORS
from helpers.scenario import Poisson, Scenario
from helpers.serving.endpoint import Endpoint

GROWTH = 2.0
SHORTEST_S = 4.0
WARMUP_S = 1.0
SAMPLES = 1.2 * FLOORS["p99"]  # a step lasts long enough for a P99
LONGEST_S = 60.0
LEAST_RATE = SAMPLES / LONGEST_S


async def find_capacity(
    scenario: Scenario,
    endpoint: Endpoint,
    p99_ms: float,
    *,
    rate: float = 50.0,
    max_rate: float = 20_000.0,
    precision: float = 0.1,
    mark: str = "",
) -> Capacity:
    """Search the highest Poisson rate at which the P99 stays within an objective.

    The rate is doubled until a step misses the objective, then the bracket is halved (in the
    geometric mean) until its ends are within `precision` of each other. Rates too low for a P99
    within a minute are not tried.

    Args:
        scenario: Gives model, protocol, batch, inputs and workers; its phases are not played.
        endpoint: The server.
        p99_ms: The objective, milliseconds.
        rate: Where to begin, requests per second.
        max_rate: Where to stop, should the server hold even that.
        precision: How narrow the bracket becomes, as a share of the rate.
        mark: As of `helpers.load.run`.

    Raises:
        Problem: The objective is not positive, or the server cannot be fired at.
    """
    if not 0 < p99_ms < float("inf"):
        raise Problem(f"The objective must be a positive time, not {p99_ms} ms.")
    steps: list[Step] = []
    rate = max(rate, LEAST_RATE)
    held, missed = 0.0, float("inf")
    while held * (1 + precision) < missed and held < max_rate:
        step = await _step(scenario, endpoint, rate, p99_ms, mark)
        steps.append(step)
        print(step.sentence, flush=True)
        if step.holds:
            held = rate
        else:
            missed = rate
        if missed == float("inf"):
            rate = min(rate * GROWTH, max_rate)
        elif held:
            rate = (held * missed) ** 0.5
        elif rate == LEAST_RATE:
            break
        else:
            rate = max(rate / GROWTH**2, LEAST_RATE)
    return Capacity(
        model=scenario.model,
        protocol=scenario.protocol,
        scenario=scenario.name,
        objective_p99_ms=p99_ms,
        capacity_rps=held or None,
        steps=tuple(sorted(steps, key=lambda one: one.rate)),
    )


async def _step(
    scenario: Scenario, endpoint: Endpoint, rate: float, p99_ms: float, mark: str
) -> Step:
    phases = (
        Poisson(name="warm-up", arrivals="poisson", rate=rate, duration_s=WARMUP_S, warmup=True),
        Poisson(
            name="steady", arrivals="poisson", rate=rate, duration_s=max(SAMPLES / rate, SHORTEST_S)
        ),
    )
    played = scenario.model_copy(update={"name": "capacity", "phases": phases})

    async def fire() -> ScenarioReport:
        with tempfile.TemporaryDirectory() as folder:
            result = await engine.run(
                played, endpoint, folder=Path(folder), told=lambda kind, what: None,
                objective_ms=p99_ms, mark=mark,
            )  # fmt: skip
        return result.report

    report = await second_chance.fired(fire)
    measured = report.measured
    found = {name: one.ms for name, one in measured.latency.items()}
    p99 = found.get("p99")
    return Step(
        rate=rate,
        throughput_rps=measured.throughput_rps,
        goodput_rps=measured.goodput_rps or 0.0,
        p50_ms=found.get("p50"),
        p95_ms=found.get("p95"),
        p99_ms=p99,
        error_rate_pct=measured.error_rate_pct,
        overloaded=measured.overloaded,
        invalid=report.invalid,
        repeated=report.repeated,
        holds=p99 is not None and p99 <= p99_ms and not measured.overloaded,
    )
