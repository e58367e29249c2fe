"""The client's thread gets the shortest time slice, and what it starts does not."""

import platform
import subprocess
import sys
import threading
from typing import Any

import pytest

from helpers.load import arrivals, worker

from .conftest import scenario

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux's scheduler")


def test_the_shortest_is_asked_for_and_not_inherited() -> None:
    found: list[int] = []

    def told() -> None:
        known = arrivals.scheduler_attributes()
        assert known is not None
        found.append(known.runtime_ns)

    def shortened() -> None:  # a thread of its own, for a slice belongs to a thread
        told()
        assert arrivals.shorten_time_slice()
        told()
        inner = threading.Thread(target=told)
        inner.start()
        inner.join()

    thread = threading.Thread(target=shortened)
    thread.start()
    thread.join()
    usual, shortest, inherited = found
    release = tuple(int(part) for part in platform.release().split(".")[:2])
    assert shortest == (arrivals.SHORTEST_NS if release >= (6, 12) else usual)
    assert inherited == usual


def test_niceness_stays() -> None:
    code = (
        "import os; from helpers.load import arrivals; os.nice(3); "
        "print(arrivals.shorten_time_slice(), os.nice(0), arrivals.scheduler_attributes().nice)"
    )
    said = subprocess.run([sys.executable, "-c", code], stdout=-1, text=True, check=True)
    assert said.stdout.split() == ["True", "3", "3"]


def test_another_policy_stays() -> None:
    code = (
        "import os; from helpers.load import arrivals; "
        "os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0)); "
        "print(arrivals.shorten_time_slice(), os.sched_getscheduler(0) == os.SCHED_BATCH)"
    )
    said = subprocess.run([sys.executable, "-c", code], stdout=-1, text=True, check=True)
    assert said.stdout.split() == ["False", "True"]


def test_a_system_without_it_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert not arrivals.shorten_time_slice()


@pytest.mark.parametrize(
    ("arrivals", "timed"),
    [
        ({"arrivals": "poisson", "rate": 60}, True),
        ({"arrivals": "closed", "concurrency": 1}, True),
        ({"arrivals": "closed", "concurrency": 2}, False),
    ],
)
def test_a_loop_that_keeps_many_in_flight_lets_the_server_work(
    arrivals: dict[str, Any], timed: bool
) -> None:
    assert worker.is_timed(scenario({"name": "a", "duration_s": 1, **arrivals})) is timed
