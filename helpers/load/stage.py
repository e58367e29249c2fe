"""What stage 05 fires: the scenarios of the profile, the capacity search, presets."""

import asyncio
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from helpers import processes
from helpers.errors import Problem
from helpers.load import calibration, engine, server_check, statistics
from helpers.load.records import Capacity, LoadReport, ScenarioReport, Step
from helpers.load.request import Shape, parts_folder
from helpers.load.statistics import FLOORS
from helpers.load.worker_pool import Starter, start_processes
from helpers.profile import validation_message
from helpers.run import Run
from helpers.scenario import Control, Poisson, Scenario
from helpers.serving.records import Endpoint

STAGE = "05"
SERVER = "triton"  # the local service whose memory is followed

GROWTH = 2.0
SHORTEST_S = 4.0
WARMUP_S = 1.0
SAMPLES = 1.2 * FLOORS["p99"]  # a step lasts long enough for a P99
LONGEST_S = 60.0
LEAST_RATE = SAMPLES / LONGEST_S
KEPT = 0.99  # of what was asked, so that the P99 holds with every failure as infinitely late
GROWN = 0.2  # of the median: a latency that grows by more means a queue that grows


async def fire(
    run: Run,
    endpoint: Endpoint,
    *,
    calibrate: bool = True,  # measure first what the client on this machine adds
) -> LoadReport:
    """Fire every scenario of the run's profile, in order.

    The report is saved after each scenario, so that an interruption keeps what was measured. On
    AWS a scenario from this machine is not fired if it needs more than the line carries; the
    report says so.

    Raises:
        Problem: A scenario cannot be sent to this server, the line is too narrow for all of them,
            or a worker process failed.
    """
    scenarios = run.profile.load.placed
    (run.folder / LoadReport.path()).unlink(missing_ok=True)
    for scenario in scenarios:
        statistics.clear(run.folder, scenario.name)
    wanted = [(scenario, server_check.preflight(endpoint, scenario)) for scenario in scenarios]
    here = [(scenario, shape) for scenario, shape in wanted if scenario.control == "embedded"]
    refused: dict[str, str] = {}
    if here and run.profile.target == "aws":
        mbit = await asyncio.to_thread(server_check.line_mbit, endpoint)
        refused = server_check.too_much(here, mbit)
        print(f"This machine's line to the server carries {mbit:,.0f} Mbit/s.", *refused.values())
        if len(refused) == len(scenarios):
            raise Problem(f"{'. '.join(refused.values())}.")
    starts = _starts(run, scenarios)
    wires = sorted({"grpc" if played.protocol == "grpc" else "http" for played, _ in here})
    calibrations = tuple([await calibration.measure(wire) for wire in wires if calibrate])
    remarks = tuple(refused.values())
    report = LoadReport(calibrations=calibrations, scenarios=(), remarks=remarks)
    for scenario, shape in wanted:
        if scenario.name in refused:
            continue
        fire_one = partial(_fire_one, run, endpoint, scenario, shape, starts[scenario.control])
        played = await engine.run_with_retry(fire_one)
        report = report.model_copy(update={"scenarios": (*report.scenarios, played)})
        run.save(report)
    if way := _cost_of_the_way(run, report):
        report = run.save(report.model_copy(update={"remarks": (*remarks, way)}))
    return report


def _starts(run: Run, scenarios: Sequence[Scenario]) -> dict[Control | None, Starter]:
    """What starts the workers of a scenario, by its `control`."""
    starts: dict[Control | None, Starter] = {"embedded": start_processes}
    if any(scenario.control == "cluster" for scenario in scenarios):
        from helpers.load.cluster_pool import cluster_starter  # slow to import: the cluster's API

        starts["cluster"] = cluster_starter(run)
    return starts


def _cost_of_the_way(run: Run, report: LoadReport) -> str:
    """What the way from this machine adds to the median; empty without a pair to compare."""
    controls = {scenario.name: scenario.control for scenario in run.profile.load.placed}
    medians = {
        played.name: played.measured.latency["p50"].ms
        for played in report.scenarios if "p50" in played.measured.latency
    }  # fmt: skip
    inside = run.profile.kpis.scenario
    if controls[inside] != "cluster" or inside not in medians:
        return ""
    added = ", ".join(
        f"{medians[played.name] - medians[inside]:+.1f} ms over {played.protocol} ({played.name})"
        for played in report.scenarios
        if controls[played.name] == "embedded" and played.name in medians
    )
    return added and (
        f"The way from this machine through the load balancer, as the difference of the medians to "
        f"{inside} from inside the region ({medians[inside]:.1f} ms): {added}"
    )


async def _fire_one(
    run: Run, endpoint: Endpoint, scenario: Scenario, shape: Shape, start: Starter
) -> ScenarioReport:
    show = engine.display(scenario.name)

    def on_event(kind: str, what: Any) -> None:
        if kind == "second":
            show(kind, what)
            return
        fact = {"load-start": "scenario", "load-stop": "outcome"}.get(kind, "phase")
        run.event(kind, STAGE, **{"scenario": scenario.name, fact: what})

    services = processes.recorded(run)
    result = await engine.run(
        scenario, endpoint, shape=shape, folder=run.folder, on_event=on_event,
        objective_ms=run.profile.kpis.p99_ms, max_connections=run.profile.load.max_connections,
        mark=run.mark, start=start,
        watched={service.name: service.pid for service in services if service.name == SERVER},
    )  # fmt: skip
    return result.report


def recover(run: Run) -> list[str]:
    """Save what killed loads of a run have recorded, and log that they stopped; their names."""
    for scenario in run.profile.load.scenarios:
        if parts_folder(run.folder, scenario.name).is_dir():
            statistics.assemble(run.folder, scenario)
    events = [event for event in run.events() if event["kind"] in ("load-start", "load-stop")]
    last = {event["scenario"]: event["kind"] for event in events}
    killed = [name for name, kind in last.items() if kind == "load-start"]
    for name in killed:
        run.event("load-stop", STAGE, scenario=name, outcome=engine.INTERRUPTED)
    return killed


def is_exported(run: Run, report: LoadReport) -> bool:
    """Whether every request is there as parquet, every second as CSV, and this report as JSON."""
    if run.find(LoadReport) != report or not report.scenarios:
        return False
    for scenario in report.scenarios:
        csv = statistics.seconds_path(run.folder, scenario.name)
        if not statistics.table_path(run.folder, scenario.name).is_file() or not csv.is_file():
            return False
        table = statistics.open_requests(run.folder, scenario.name)
        requests = sum(phase.requests for phase in scenario.phases)
        if table.count_rows() != requests and not scenario.stopped:
            return False
        if not statistics.seconds(table).equals(pd.read_csv(csv)):
            return False
    return True


def is_announced(run: Run, report: LoadReport) -> bool:
    """Whether start and stop of every scenario, and of each of its phases, are in the events."""
    for scenario in report.scenarios:
        events = [event for event in run.events() if event.get("scenario") == scenario.name]
        logged = [(event["kind"], event.get("phase", "")) for event in events]
        kinds = ("phase-start", "phase-stop")
        phases = [(kind, phase.name) for phase in scenario.phases for kind in kinds]
        expected = [("load-start", ""), *phases, ("load-stop", "")]
        if logged[-len(expected) :] != expected:
            return False
    return bool(report.scenarios)


async def search_capacity(run: Run, endpoint: Endpoint) -> Capacity | None:
    """Find the highest rate that holds the P99 target, fired from where the KPIs' scenario is.

    None where the profile leaves it out, and on AWS from this machine, whose line would end first.

    Raises:
        Problem: The server cannot be fired at.
    """
    search = run.profile.load.capacity
    if search is None:
        print("The profile leaves the search for the capacity out.")
        return None
    (run.folder / Capacity.path()).unlink(missing_ok=True)
    kpis = run.profile.kpis
    scenario = next(s for s in run.profile.load.placed if s.name == kpis.scenario)
    if scenario.control == "embedded" and run.profile.target == "aws":
        print("The capacity is only searched from inside the region: set load.control to cluster.")
        return None
    run.event("capacity-search-start", STAGE, like=scenario.name)
    capacity = await find_capacity(
        scenario, endpoint, kpis.p99_ms, rate=search.rate, max_rate=search.max_rate,
        precision=search.precision, confirm_s=search.confirm_s, mark=run.mark,
        start=_starts(run, [scenario])[scenario.control],
    )  # fmt: skip
    run.event("capacity-search-stop", STAGE, like=scenario.name, found=capacity.sentence)
    run.save(capacity)
    return capacity


async def find_capacity(
    scenario: Scenario,  # gives model, protocol, batch, inputs and workers; it is not played
    endpoint: Endpoint,
    p99_ms: float,  # the objective
    *,
    rate: float = 50.0,  # where to begin, requests per second
    max_rate: float = 20_000.0,  # where to stop, should the server hold even that
    precision: float = 0.1,  # how narrow the bracket becomes, as a share of the rate
    confirm_s: float = 30.0,  # how long the rate that is found must hold
    mark: str = "",  # as of `engine.run`
    start: Starter = start_processes,  # what starts the workers, as of `engine.run`
) -> Capacity:
    """Search the highest Poisson rate at which the P99 stays within an objective.

    The rate is doubled until a step misses the objective, then the bracket is halved (in the
    geometric mean) until its ends are within `precision` of each other. The rate that is found is
    fired again for `confirm_s`; if it does not hold, the next lower one is. Rates too low for a P99
    within a minute are not tried.

    Raises:
        Problem: The objective is not positive, or the server cannot be fired at.
    """
    if not 0 < p99_ms < float("inf"):
        raise Problem(f"The objective must be a positive time, not {p99_ms} ms.")
    shape = server_check.preflight(endpoint, scenario)
    steps: list[Step] = []
    rate, held, missed = max(rate, LEAST_RATE), 0.0, float("inf")
    while held * (1 + precision) < missed and held < max_rate:
        step = await _step(scenario, endpoint, shape, rate, p99_ms, mark, start, SHORTEST_S)
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
    while held:
        step = await _step(scenario, endpoint, shape, held, p99_ms, mark, start, confirm_s)
        print(f"{step.sentence}, for {step.seconds:.0f} s", flush=True)
        steps = [each for each in steps if each.rate != held] + [step]
        if step.holds:
            break
        held = max((each.rate for each in steps if each.holds), default=0.0)
    return Capacity(
        model=scenario.model,
        protocol=scenario.protocol,
        scenario=scenario.name,
        objective_p99_ms=p99_ms,
        capacity_rps=held or None,
        steps=tuple(sorted(steps, key=lambda step: step.rate)),
    )


async def _step(
    scenario: Scenario, endpoint: Endpoint, shape: Shape, rate: float, p99_ms: float, mark: str,
    start: Starter, shortest_s: float,
) -> Step:  # fmt: skip
    seconds = max(SAMPLES / rate, shortest_s)
    phases = _poisson("warm-up", rate, WARMUP_S), _poisson("steady", rate, seconds)
    played = scenario.model_copy(update={"name": "capacity", "phases": phases})

    async def fire_once() -> ScenarioReport:
        with tempfile.TemporaryDirectory() as folder:
            result = await engine.run(
                played, endpoint, shape=shape, folder=Path(folder),
                on_event=lambda kind, what: None, objective_ms=p99_ms, mark=mark,
                start=start,
            )  # fmt: skip
        return result.report

    report = await engine.run_with_retry(fire_once)
    measured = report.measured
    names = measured.latency.keys() & {"p50", "p95", "p99"}
    latency: dict[str, Any] = {f"{name}_ms": measured.latency[name].ms for name in names}
    return Step(
        rate=rate,
        seconds=seconds,
        **measured.model_dump(include={"throughput_rps", "error_rate_pct", "overloaded"}),
        **report.model_dump(include={"invalid", "repeated"}),
        **latency,
        goodput_rps=measured.goodput_rps or 0.0,
        holds=_is_sustained(report, rate),
    )


def _is_sustained(report: ScenarioReport, rate: float) -> bool:
    """Whether what was asked was answered within objective and step, and latency did not grow."""
    measured = report.measured
    if "p99" not in measured.latency or measured.overloaded:
        return False
    p50_ms, seconds = measured.latency["p50"].ms, measured.end_s - measured.start_s
    due = measured.requests - rate * p50_ms / 1000  # without what came too late for an answer
    grown_ms = report.drift.low * seconds / 60 if report.drift else 0.0
    return (measured.goodput_rps or 0.0) * seconds >= KEPT * due and grown_ms <= GROWN * p50_ms


def preset(
    name: str, model: str, rate: float, *, protocol: str = "http", workers: int = 1
) -> Scenario:
    """A ready-made scenario, for a load that no profile describes.

    `smoke` asks whether everything works, `spike` whether the server recovers from seven and a half
    times the rate, `soak` whether anything drifts in ten minutes.

    Raises:
        Problem: There is none of that name, or the rate, protocol or workers are not allowed.
    """
    phases: dict[str, list[tuple[str, float, float]]] = {  # name, times the rate, seconds
        "smoke": [("warm-up", 1, 5), ("steady", 1, 25)],
        "spike": [("before", 1, 20), ("spike", 7.5, 20), ("after", 1, 20)],
        "soak": [("warm-up", 1, 10), ("steady", 1, 600)],
    }
    if name not in phases:
        raise Problem(f"There is no preset '{name}'.", f"Choose one of: {', '.join(phases)}.")
    try:
        chosen = [_poisson(phase, rate * factor, s) for phase, factor, s in phases[name]]
        facts = {"name": name, "model": model, "protocol": protocol, "workers": workers}
        return Scenario.model_validate({**facts, "phases": chosen})
    except ValidationError as error:
        raise Problem(f"The load is not valid: {validation_message(error)}.") from error


def _poisson(name: str, rate: float, seconds: float) -> Poisson:
    warmup = name == "warm-up"
    return Poisson(name=name, arrivals="poisson", rate=rate, duration_s=seconds, warmup=warmup)
