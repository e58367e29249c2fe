"""Fires the scenarios of a run, and reports what came of them."""

from functools import partial
from typing import Any, Literal

import pandas as pd

from helpers import processes
from helpers.load import calibration, engine, live, preflight, recorder, second_chance, tables
from helpers.load.capacity import find_capacity
from helpers.load.crew import Start
from helpers.load.report import Capacity, LoadReport, ScenarioReport
from helpers.run import Run
from helpers.scenario import Scenario
from helpers.serving.endpoint import Endpoint

STAGE = "05"
SERVER = "triton"  # the local service whose memory is followed


async def fire(run: Run, endpoint: Endpoint, *, calibrate: bool = True) -> LoadReport:
    """Fire every scenario of the run's profile, in order.

    The report is saved after each scenario, so that an interruption keeps what was measured.

    Args:
        run: The run it belongs to.
        endpoint: The server to fire at.
        calibrate: Whether to measure first what the client itself adds; never for pods, as it
            would be said of this machine.

    Raises:
        Problem: A scenario cannot be sent to this server, or a worker process failed.
    """
    scenarios = run.profile.load.scenarios
    (run.folder / LoadReport.path()).unlink(missing_ok=True)
    for scenario in scenarios:
        tables.clear(run.folder, scenario.name)
        preflight.check(endpoint, scenario)
    control = _control(run)
    here = calibrate and control == "embedded"
    wires = sorted({_wire(one) for one in scenarios}) if here else []
    report = LoadReport(
        calibrations=tuple([await calibration.measure(wire) for wire in wires]), scenarios=()
    )
    for scenario in scenarios:
        played = await second_chance.fired(partial(_fire_one, run, endpoint, scenario, control))
        report = report.model_copy(update={"scenarios": (*report.scenarios, played)})
        run.save(report)
    return report


async def search_capacity(run: Run, endpoint: Endpoint) -> Capacity | None:
    """Find the highest rate that holds the P99 target, and keep every rate that was tried.

    Args:
        run: The run it belongs to; its profile says how to search.
        endpoint: The server to fire at.

    Returns:
        What was found; None where the profile leaves the search out.

    Raises:
        Problem: The server cannot be fired at.
    """
    search = run.profile.load.capacity
    if search is None:
        print("The profile leaves the search for the capacity out.")
        return None
    if run.profile.load.control == "cluster":
        print("The capacity is searched from this machine, through the load balancer.")
    (run.folder / Capacity.path()).unlink(missing_ok=True)
    kpis = run.profile.kpis
    scenario = next(one for one in run.profile.load.scenarios if one.name == kpis.scenario)
    run.event("capacity-search-start", STAGE, like=scenario.name)
    found = await find_capacity(
        scenario, endpoint, kpis.p99_ms, rate=search.rate, max_rate=search.max_rate,
        precision=search.precision, mark=run.mark,
    )  # fmt: skip
    run.event("capacity-search-stop", STAGE, like=scenario.name, found=found.sentence)
    run.save(found)
    return found


def _control(run: Run) -> Literal["embedded"] | Start:
    """Who fires, as the profile says."""
    if run.profile.load.control == "embedded":
        return "embedded"
    from helpers.load import in_cluster  # slow to import, as it knows the cluster's API

    return in_cluster.of_run(run).start


async def _fire_one(
    run: Run, endpoint: Endpoint, scenario: Scenario, control: Literal["embedded"] | Start
) -> ScenarioReport:
    watch = live.shown(scenario.name)

    def told(kind: str, what: Any) -> None:
        match kind:
            case "load-start":
                run.event(kind, STAGE, scenario=scenario.name)
            case "load-stop":
                run.event(kind, STAGE, scenario=scenario.name, outcome=what)
            case "phase-start" | "phase-stop":
                run.event(kind, STAGE, scenario=scenario.name, phase=what)
            case _:
                watch(kind, what)

    result = await engine.run(
        scenario,
        endpoint,
        folder=run.folder,
        told=told,
        objective_ms=run.profile.kpis.p99_ms,
        max_connections=run.profile.load.max_connections,
        mark=run.mark,
        watched={one.name: one.pid for one in processes.recorded(run) if one.name == SERVER},
        control=control,
    )
    return result.report


def recover(run: Run) -> list[str]:
    """Save what killed loads have recorded, and log that they stopped.

    For a run of which no process lives any more.

    Returns:
        The names of the scenarios that had begun and not stopped.
    """
    for scenario in run.profile.load.scenarios:
        if recorder.parts_folder(run.folder, scenario.name).is_dir():
            engine.assemble(run.folder, scenario)
    events = [event for event in run.events() if event["kind"] in ("load-start", "load-stop")]
    last = {event["scenario"]: event["kind"] for event in events}
    killed = [name for name, kind in last.items() if kind == "load-start"]
    for name in killed:
        run.event("load-stop", STAGE, scenario=name, outcome=engine.INTERRUPTED)
    return killed


def is_exported(run: Run, report: LoadReport) -> bool:
    """Whether every request is there as parquet, every second as CSV, and the report as JSON.

    Args:
        run: The run.
        report: What was counted; the stored record must say the same.
    """
    return (
        run.find(LoadReport) == report
        and bool(report.scenarios)
        and all(_is_exported(run, one) for one in report.scenarios)
    )


def _is_exported(run: Run, one: ScenarioReport) -> bool:
    requests = tables.table_path(run.folder, one.name)
    seconds = tables.seconds_path(run.folder, one.name)
    if not (requests.is_file() and seconds.is_file()):
        return False
    table = tables.opened(run.folder, one.name)
    counted = sum(phase.requests for phase in one.phases)
    whole = table.count_rows() == counted or bool(one.stopped)
    return whole and tables.seconds(table).equals(pd.read_csv(seconds))


def is_announced(run: Run, report: LoadReport) -> bool:
    """Whether start and stop of every scenario, and of each of its phases, are in the events."""
    return bool(report.scenarios) and all(_is_announced(run, one) for one in report.scenarios)


def _is_announced(run: Run, scenario: ScenarioReport) -> bool:
    happened = [
        (event["kind"], event.get("phase", ""))
        for event in run.events()
        if event.get("scenario") == scenario.name
    ]
    phases = [
        (kind, phase.name) for phase in scenario.phases for kind in ("phase-start", "phase-stop")
    ]
    wanted = [("load-start", ""), *phases, ("load-stop", "")]
    return happened[-len(wanted) :] == wanted


def _wire(scenario: Scenario) -> str:
    return "grpc" if scenario.protocol == "grpc" else "http"
