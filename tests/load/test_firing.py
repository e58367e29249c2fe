"""A whole firing: worker process, events, tables, report; and what an end in the middle leaves."""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from helpers import load, processes
from helpers.errors import Problem
from helpers.load.arrivals import schedule
from helpers.load.records import LoadReport, ScenarioReport
from helpers.profile import Profile
from helpers.run import Run

from .conftest import MakeRun, scenario
from .known_server import KnownServer, answer

PATIENCE_S = 60  # machines are shared
QUICK = {"arrivals": "poisson", "rate": 100, "duration_s": 2}


pytestmark = pytest.mark.usefixtures("in_time")


def fire(run: Run, server: KnownServer) -> LoadReport:
    return asyncio.run(load.fire(run, server.endpoint, calibrate=False))


def only(report: LoadReport) -> ScenarioReport:
    (played,) = report.scenarios
    return played


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def workers(run: Run) -> list[psutil.Process]:
    return list(processes.marked(run.mark).values())  # the load starts no other process


def test_every_request_of_the_schedule_is_counted_once(
    make_run: MakeRun, server: KnownServer, capsys: pytest.CaptureFixture[str]
) -> None:
    warm = {"name": "warm-up", "arrivals": "constant", "rate": 20, "duration_s": 0.5}
    first = scenario({**warm, "warmup": True}, QUICK, name="first", workers=2)
    second = scenario({"arrivals": "burst", "count": 30, "duration_s": 0.5}, name="second")
    run = make_run(first, second)
    report = fire(run, server)

    assert run.load(LoadReport) == report
    assert load.is_exported(run, report) and load.is_announced(run, report)
    for played, planned in zip(report.scenarios, (first, second), strict=True):
        table = run.load_table(f"requests-{played.name}")
        np.testing.assert_allclose(table["intended_s"], schedule(planned).times_s, atol=2e-6)
        assert (table["outcome"] == "ok").all()
        assert played.server is not None and played.server.requests == len(table)
        assert played.agreement.startswith(f"Triton counted {len(table):,} successes; the client")
        assert 0 < played.client_cpu_share < 1.5
    measured = report.scenarios[0].measured
    assert measured.requests == schedule(first).count(1)
    assert measured.errors == {} and not measured.overloaded
    assert set(measured.latency) == {"p50", "p90", "p95"}
    assert len(server.bodies) == 8  # four inputs a worker, and none of them twice
    assert "first" in capsys.readouterr().out
    assert not list(run.folder.glob("parts/*/*"))
    wait_until(lambda: not workers(run))

    assert not load.is_exported(run, LoadReport(scenarios=()))
    csv = run.folder / "tables/seconds-second.csv"
    csv.write_text("".join(csv.read_text().splitlines(keepends=True)[:-1]))
    assert not load.is_exported(run, report)
    csv.unlink()
    assert not load.is_exported(run, report)
    events = run.folder / "events.jsonl"
    kept = [line for line in events.read_text().splitlines() if "phase-stop" not in line]
    events.write_text("\n".join(kept) + "\n")
    assert not load.is_announced(run, report)


@pytest.mark.timing
def test_a_frozen_server_shows_in_the_latency(make_run: MakeRun, server: KnownServer) -> None:
    frozen: list[float] = []

    async def freeze_once(server: KnownServer, number: int, writer: asyncio.StreamWriter) -> bool:
        if number == 200:
            begin = time.monotonic()
            time.sleep(0.8)  # the whole server, on purpose
            frozen.append(time.monotonic() - begin)
        server.successes += 1
        writer.write(answer())
        return True

    server.behaviour = freeze_once
    even = {"arrivals": "constant", "rate": 200}
    run = make_run(
        scenario({**even, "name": "a", "duration_s": 0.5}, {**even, "name": "b", "duration_s": 3})
    )
    measured = only(fire(run, server)).measured
    assert measured.ok == 700
    truth = 1000 * (frozen[0] - 7 / 200)  # of 700 requests 7 were meant to leave before
    assert measured.latency["p99"].ms == pytest.approx(truth, rel=0.05)
    assert measured.latency["p50"].ms < 100
    events = [event for event in run.events() if event.get("scenario") == "trial"]
    kinds = ["load-start", *["phase-start", "phase-stop"] * 2, "load-stop"]
    assert [event["kind"] for event in events] == kinds and events[-1]["outcome"] == "finished"
    at = [pd.Timestamp(event["at"]) for event in events]
    for number, expected in enumerate((0, 0, 0.5, 0.5, 3.5, 3.5)):
        assert (at[number] - at[0]).total_seconds() == pytest.approx(expected, abs=0.4)


def test_what_the_line_cannot_carry_is_not_fired(
    profile: Profile, tmp_path: Path, server: KnownServer
) -> None:
    server.delay_s = 0.5  # of each of 8 connections' half mebibytes: 67 Mbit/s at most
    wide = scenario({"arrivals": "ramp", "rate": 1, "to_rate": 1600, "duration_s": 1}, name="wide")
    slow = scenario({**QUICK, "rate": 10}, name="slow")
    data = profile.model_dump() | {"target": "aws"}
    data["load"] = {"scenarios": [wide.model_dump(), slow.model_dump()]}
    data["kpis"]["scenario"] = "slow"
    run = Run.create(Profile.model_validate(data), tmp_path / "outputs")
    report = fire(run, server)
    assert only(report).name == "slow"
    found = re.fullmatch(
        r"Scenario 'wide' is not fired: 1600 requests/s of 12,288 bytes need 157 Mbit/s, and this "
        r"machine's line carries (\d+): lower its rate, or set its control to cluster",
        report.remarks[0],
    )
    assert found and 10 < int(found[1]) < 68 and found[0] in report.summary
    assert run.load(LoadReport) == report
    data["load"] = {"scenarios": [wide.model_dump()]}
    data["kpis"]["scenario"] = "wide"
    with pytest.raises(Problem, match="need 157 Mbit/s"):
        fire(Run.create(Profile.model_validate(data), tmp_path / "outputs"), server)


def test_disagreement_with_triton_invalidates(make_run: MakeRun, server: KnownServer) -> None:
    async def forgets(server: KnownServer, number: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(answer())
        server.successes += number % 10 > 0
        return True

    server.behaviour = forgets
    played = only(fire(make_run(scenario({**QUICK, "duration_s": 1})), server))
    assert played.agreement in played.invalid
    assert "successes, but the client" in played.agreement


def test_an_interruption_keeps_what_was_measured(make_run: MakeRun, server: KnownServer) -> None:
    run = make_run(
        scenario({**QUICK, "duration_s": 0.5}, name="whole"),
        scenario({**QUICK, "duration_s": 60}, name="cut"),
    )
    server.delay_s = 0.3  # some requests have no answer yet at the end

    async def interrupt() -> None:
        task = asyncio.create_task(load.fire(run, server.endpoint, calibrate=False))
        while len(run.events("load-start")) < 2:
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(interrupt(), PATIENCE_S))
    assert only(run.load(LoadReport)).name == "whole"
    table = run.load_table("requests-cut")
    assert len(table) > 20 and (table["outcome"] == "ok").all()
    assert run.events("load-stop")[-1]["outcome"] == "interrupted"
    assert not load.is_announced(run, LoadReport(scenarios=()))
    wait_until(lambda: not workers(run))


def test_kill_9_of_the_worker_keeps_all_but_the_last_seconds(
    make_run: MakeRun, server: KnownServer
) -> None:
    run = make_run(scenario({**QUICK, "duration_s": 60}))

    async def kill() -> None:
        task = asyncio.create_task(load.fire(run, server.endpoint, calibrate=False))
        while not list(run.folder.glob("parts/*/*.parquet")):
            await asyncio.sleep(0.05)
        for worker in workers(run):
            worker.kill()
        with pytest.raises(Problem, match=r"The load 'trial' failed \(killed by signal 9\)"):
            await task

    asyncio.run(asyncio.wait_for(kill(), PATIENCE_S))
    table = run.load_table("requests-trial")
    assert len(table) > 100
    assert run.events("load-stop")[-1]["outcome"].startswith("failed")


BEGIN = """
import asyncio, sys
from pathlib import Path
from helpers import load
from helpers.run import Run
from helpers.serving.records import Endpoint
folder = Path(sys.argv[1])
run = Run.open(folder.name, folder.parent)
asyncio.run(load.fire(run, Endpoint.model_validate_json(sys.argv[2]), calibrate=False))
"""


def test_the_worker_ends_with_its_parent_and_its_requests_are_kept(
    make_run: MakeRun, server: KnownServer
) -> None:
    run = make_run(scenario({**QUICK, "duration_s": 60}))
    command = [sys.executable, "-c", BEGIN, str(run.folder), server.endpoint.model_dump_json()]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: list(run.folder.glob("parts/*/*.parquet")))
    process.kill()
    process.wait(PATIENCE_S)
    wait_until(lambda: not workers(run))
    assert load.recover(run) == ["trial"]
    assert run.events("load-stop")[-1]["outcome"] == "interrupted"
    assert load.recover(run) == []
    assert len(run.load_table("requests-trial")) > 20
    assert not list(run.folder.glob("parts/*/*"))
