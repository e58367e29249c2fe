"""The real Prometheus is started, pointed and stopped, and what is not up is named."""

import os
import signal
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime

import psutil
import pytest

from helpers import processes, programs
from helpers.errors import Problem
from helpers.run import Run
from helpers.telemetry import prometheus
from helpers.telemetry.records import Targets

from .imitation import Watched, endpoint_on, imitate


def test_serve_is_quick_and_both_targets_are_up(watched: Watched) -> None:
    targets = prometheus.targets(watched.run)
    assert targets == watched.run.load(Targets)
    assert targets.up == {"sampler": True, "triton": True}
    assert targets.all_up
    assert watched.took_s < 15  # 6 s when the machine is idle
    found = prometheus.frame(targets).set_index("What")["Value"]
    assert found["Target triton"] == "up"
    assert found["Scrape interval"] == "0.5 s"
    assert found["Retention"] == targets.retention == "1d"
    assert found["Series"] == str(targets.series) and targets.series > 50
    assert targets.prometheus == found["Prometheus"] != ""


def test_serving_again_changes_nothing(watched: Watched) -> None:
    before = processes.find(watched.run, "prometheus")
    assert prometheus.serve(watched.run, watched.imitation.endpoint) == watched.server
    assert processes.find(watched.run, "prometheus") == before


def test_prometheus_follows_to_a_triton_that_moved(watched: Watched) -> None:
    before = processes.find(watched.run, "prometheus")
    moved = imitate()
    try:
        server = prometheus.serve(watched.run, moved.endpoint)
        assert {one.url for one in server.targets()} >= {moved.endpoint.metrics}
        assert server.query("up{job='triton'}")["instance"].tolist() == ["triton"]
        assert processes.find(watched.run, "prometheus") == before
    finally:
        moved.close()


def test_a_target_that_is_down_is_named(watched: Watched) -> None:
    gone = endpoint_on(processes.free_port())
    with pytest.raises(Problem, match=rf"cannot scrape triton at {gone.metrics} .*refused"):
        prometheus.serve(watched.run, gone, timeout_s=10)
    saved = watched.run.load(Targets)
    assert saved.up == {"sampler": True, "triton": False}
    assert not saved.all_up
    assert prometheus.frame(saved).set_index("What").loc["Target triton", "Value"] == "DOWN"


def test_a_killed_prometheus_starts_again_with_its_data(watched: Watched) -> None:
    service = processes.find(watched.run, "prometheus")
    assert service is not None
    (program,) = psutil.Process(service.pid).children()
    assert program.name() == "prometheus"
    since = datetime.now(UTC)
    os.kill(program.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while service.running and time.monotonic() < deadline:
        time.sleep(0.05)
    assert prometheus.targets(watched.run) == watched.run.load(Targets)
    with pytest.raises(Problem, match="cannot be reached"):
        watched.server.query("up")
    server = prometheus.serve(watched.run, watched.imitation.endpoint)
    assert server.query("up{job='sampler'}", since)["value"].tolist() == [1.0]


def test_down_leaves_no_process_even_of_a_killed_watcher(watched: Watched) -> None:
    service = processes.find(watched.run, "prometheus")
    assert service is not None
    os.kill(service.pid, signal.SIGKILL)
    processes.down(watched.run)
    assert processes.marked(watched.run.mark) == {}


def test_an_occupied_port_is_one_sentence(new_run: Callable[[str], Run]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = new_run(f"telemetry.prometheus_port={port}")
        with pytest.raises(Problem, match=f"Port {port} on 127.0.0.1 is taken"):
            prometheus.serve(run, endpoint_on(1))


def test_without_the_program_nothing_starts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "TOOLS", run.folder)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Problem, match=r"no prometheus on this machine.*make setup"):
        prometheus.serve(run, endpoint_on(1))
    assert processes.recorded(run) == []


def test_targets_before_stage_04_names_the_stage(run: Run) -> None:
    with pytest.raises(Problem, match="Run stage 04 first"):
        prometheus.targets(run)
