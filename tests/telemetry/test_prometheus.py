"""The real Prometheus is started, pointed and stopped, and what is not up is named."""

import os
import signal
import time
from datetime import UTC, datetime

import psutil
import pytest

from helpers import processes
from helpers.errors import Problem
from helpers.telemetry import prometheus
from helpers.telemetry.records import Targets

from .imitation import Watched, endpoint_on, imitate


def test_serve_is_quick_and_both_targets_are_up(watched: Watched) -> None:
    targets = prometheus.targets(watched.run, watched.server)
    assert targets == watched.run.load(Targets)
    assert targets.up == {"sampler": True, "triton": True}
    assert targets.all_up
    assert watched.took_s < 15  # 6 s when the machine is idle
    shown = prometheus.frame(targets).set_index("What")["Value"]
    assert (shown["Target triton"], shown["Scrape interval"]) == ("up", "0.5 s")
    assert shown["Retention"] == targets.retention == "1d"
    assert shown["Series"] == str(targets.series) and targets.series > 20
    assert targets.prometheus == shown["Prometheus"] != ""


def test_a_proxy_is_not_asked_for_this_machine(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{processes.free_port()}")
    monkeypatch.setenv("NO_PROXY", "")
    assert not watched.server.query("up").empty


def test_a_running_prometheus_follows_to_a_triton_that_moved(watched: Watched) -> None:
    before = processes.find(watched.run, "prometheus")
    assert prometheus.serve(watched.run, watched.endpoint) == watched.server
    with imitate() as moved:
        server = prometheus.serve(watched.run, moved)
        assert {target.url for target in server.targets()} >= {moved.metrics}
        assert server.query("up{job='triton'}")["instance"].tolist() == ["triton"]
        assert processes.find(watched.run, "prometheus") == before


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
    with pytest.raises(Problem, match="cannot be reached"):
        watched.server.query("up")
    watched.server = prometheus.serve(watched.run, watched.endpoint)
    assert watched.server.query("up{job='sampler'}", since)["value"].tolist() == [1.0]
