"""Fires the scenarios of a run, one worker process each, and reports what came of them."""

import asyncio
import json
import os
import subprocess
import sys
import time
from typing import Any

import pandas as pd
import requests

from helpers.errors import Problem
from helpers.load import counters, recorder, statistics
from helpers.load.counters import Counters
from helpers.load.report import LoadReport, ScenarioReport
from helpers.paths import ROOT
from helpers.run import Run
from helpers.scenario import Scenario
from helpers.services import MARK, log_tail
from helpers.serving.endpoint import Endpoint

STAGE = "05"
INTERRUPTED = "interrupted"
ANSWER_TIMEOUT_S = 5.0
SETTLE_S = 2.0  # Triton counts a request a little after it has answered it
STOP_S = 10.0  # for saving the requests of a long load
Worker = subprocess.Popen[str]


async def fire(run: Run, endpoint: Endpoint) -> LoadReport:
    """Fire every scenario of the run's profile, in order.

    Each scenario's requests are saved as table `requests-<scenario>`, and the report after each
    scenario, so that an interruption keeps what was measured.

    Args:
        run: The run it belongs to.
        endpoint: The server to fire at.

    Raises:
        Problem: The server does not answer for a model, or the worker process failed.
    """
    scenarios = run.profile.load.scenarios
    (run.folder / LoadReport.path()).unlink(missing_ok=True)
    for scenario in scenarios:
        recorder.clear(run, scenario.name)
        await asyncio.to_thread(_require_model, endpoint, scenario.model)
    report = LoadReport(scenarios=())
    for scenario in scenarios:
        report = LoadReport(scenarios=(*report.scenarios, await _fire_one(run, endpoint, scenario)))
        run.save(report)
    return report


def recover(run: Run) -> list[str]:
    """Save what killed loads have recorded, and log that they stopped.

    For a run of which no process lives any more.

    Returns:
        The names of the scenarios that had begun and not stopped.
    """
    recorder.recover(run)
    events = [event for event in run.events() if event["kind"] in ("load-start", "load-stop")]
    last = {event["scenario"]: event["kind"] for event in events}
    killed = [name for name, kind in last.items() if kind == "load-start"]
    for name in killed:
        run.event("load-stop", STAGE, scenario=name, outcome=INTERRUPTED)
    return killed


def is_exported(run: Run, report: LoadReport) -> bool:
    """Whether the requests of every scenario are there as parquet and CSV, and all of them.

    Args:
        run: The run.
        report: What was counted; the stored record must say the same.
    """
    if run.find(LoadReport) != report:
        return False
    for one in report.scenarios:
        parquet, csv = recorder.table_paths(run, one.name)
        if not (parquet.is_file() and csv.is_file()):
            return False
        counted = sum(phase.requests for phase in one.phases)
        if {len(pd.read_parquet(parquet)), len(pd.read_csv(csv))} != {counted}:
            return False
    return bool(report.scenarios)


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


async def _fire_one(run: Run, endpoint: Endpoint, scenario: Scenario) -> ScenarioReport:
    before = await asyncio.to_thread(counters.read, endpoint.metrics, scenario.model)
    worker = _start(run, endpoint, scenario)
    try:
        end = await _follow(run, worker, scenario)
    except BaseException as error:
        # nothing is awaited here: whoever interrupts may end the event loop at once
        _stop(run, worker, scenario)
        run.event("load-stop", STAGE, scenario=scenario.name, outcome=_outcome(error))
        raise
    run.event("load-stop", STAGE, scenario=scenario.name, outcome="finished")
    table = run.load_table(recorder.table_name(scenario.name))
    after = await asyncio.to_thread(_settled, endpoint.metrics, scenario.model, before, table)
    return _report(scenario, table, end, before, after)


def _start(run: Run, endpoint: Endpoint, scenario: Scenario) -> Worker:
    spec = {
        "run": str(run.folder),
        "scenario": scenario.name,
        "endpoint": endpoint.model_dump(),
        "parent": os.getpid(),
    }
    log = run.folder / "services" / f"load-{scenario.name}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("w") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "helpers.load.worker", json.dumps(spec)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=ROOT,
            env=os.environ | {MARK: run.mark},
            start_new_session=True,  # an interrupt is for the parent, which then stops the worker
        )


async def _follow(run: Run, worker: Worker, scenario: Scenario) -> dict[str, Any]:
    """Pass on what the worker tells, until it ends; what it said of the start and the end."""
    assert worker.stdout is not None
    known: dict[str, Any] = {}
    while line := await asyncio.to_thread(worker.stdout.readline):
        told = json.loads(line)
        match told["kind"]:
            case "start":
                known["started"] = told["at"]
                run.event("load-start", STAGE, scenario=scenario.name)
            case "phase-start" | "phase-stop" as kind:
                run.event(kind, STAGE, scenario=scenario.name, phase=told["phase"])
            case "progress":
                print(_line(scenario.name, told), flush=True)
            case "end":
                known |= told
    code = await asyncio.to_thread(worker.wait)
    if code or "kind" not in known or known["interrupted"]:
        _raise_failure(run, scenario, code, known)
    return known


def _raise_failure(run: Run, scenario: Scenario, code: int, known: dict[str, Any]) -> None:
    if known.get("interrupted"):
        raise Problem(
            f"The load '{scenario.name}' was stopped from outside.",
            f"The requests so far are in table {recorder.table_name(scenario.name)}.",
        )
    log = run.folder / "services" / f"load-{scenario.name}.log"
    how = f"killed by signal {-code}" if code < 0 else f"exit status {code}"
    raise Problem(
        f"The load '{scenario.name}' failed ({how}).", f"Its worker said:\n{log_tail(log)}"
    )


def _stop(run: Run, worker: Worker, scenario: Scenario) -> None:
    """End the worker and keep the requests that it has recorded."""
    worker.terminate()
    try:
        worker.wait(STOP_S)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()
    if recorder.parts_folder(run, scenario.name).is_dir():
        recorder.assemble(run, scenario)


def _outcome(error: BaseException) -> str:
    return f"failed: {error}" if isinstance(error, Exception) else INTERRUPTED


def _line(scenario: str, told: dict[str, Any]) -> str:
    errors = sum(told["errors"].values())
    p95 = "–" if told["p95_ms"] is None else f"{told['p95_ms']:.1f} ms"
    return (
        f"{scenario} {told['elapsed_s']:6.1f} s · {told['phase']} · "
        f"offered {told['offered_rps']:.0f}/s · answered {told['throughput_rps']:.0f}/s · "
        f"in flight {told['in_flight']} · errors {errors} · P95 {p95}"
    )


def _require_model(endpoint: Endpoint, model: str) -> None:
    url = f"{endpoint.http.rstrip('/')}/v2/models/{model}/ready"
    with requests.Session() as session:
        session.trust_env = False  # the load does not go through a proxy either
        session.verify = endpoint.certificate or True
        try:
            answer = session.get(url, timeout=ANSWER_TIMEOUT_S)
        except requests.RequestException as error:
            raise Problem(
                f"No server answers at {endpoint.http} ({type(error).__name__}).",
                "Serve the models first: run stage 03.",
            ) from error
    if answer.status_code != 200:
        raise Problem(
            f"The server at {endpoint.http} is not ready to serve '{model}' "
            f"(HTTP {answer.status_code}).",
            "Serve the models first: run stage 03.",
        )


def _settled(url: str, model: str, before: Counters | None, table: pd.DataFrame) -> Counters | None:
    """The counters once they hold every good answer, or after a while."""
    deadline = time.monotonic() + SETTLE_S
    fewest, _ = counters.expected(table)
    while True:
        after = counters.read(url, model)
        complete = before and after and after.since(before).requests >= fewest
        if complete or after is None or before is None or time.monotonic() > deadline:
            return after
        time.sleep(0.1)


def _report(
    scenario: Scenario,
    table: pd.DataFrame,
    end: dict[str, Any],
    before: Counters | None,
    after: Counters | None,
) -> ScenarioReport:
    server = after.since(before) if before and after else None
    agreement, contradiction = counters.compare(table, server)
    phases, measured = statistics.reports(table, scenario)
    doubts = list(measured.invalid)
    if contradiction:
        doubts.append(agreement)
    if end["cpu_share"] > statistics.CPU_LIMIT:
        doubts.append(f"the client used {end['cpu_share']:.2f} of a core and was the bottleneck")
    return ScenarioReport(
        name=scenario.name,
        model=scenario.model,
        protocol=scenario.protocol,
        batch=scenario.batch,
        seed=scenario.seed,
        engine=end["engine"],
        started=end["started"],
        phases=phases,
        measured=measured,
        server=server,
        agreement=agreement,
        client_cpu_share=end["cpu_share"],
        invalid=tuple(doubts),
    )
