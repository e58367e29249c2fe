"""Timers call back at their time, and the client's thread gets the shortest time slice."""

import asyncio
import platform
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from time import monotonic

import pytest
import uvloop

from helpers.load import arrivals
from helpers.load.arrivals import Timer

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="no timerfd, another scheduler")


@pytest.fixture(params=[pytest.param(True, marks=linux_only), False])
def exact(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With timerfd, and without."""
    monkeypatch.setattr(arrivals, "HAS_TIMERFD", request.param)
    return bool(request.param)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_called_at_each_time(exact: bool, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    late: list[float] = []

    async def work() -> None:
        begin, over = monotonic() + 0.02, asyncio.Event()
        wishes = [begin + 0.005 * number for number in range(20)]

        def called() -> None:
            late.append(monotonic() - wishes[len(late)])
            if len(late) == len(wishes):
                over.set()
            else:
                timer.at(wishes[len(late)])

        timer = Timer(called)
        timer.at(wishes[0])
        await asyncio.wait_for(over.wait(), 5)
        timer.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(work())
    assert len(late) == 20
    assert min(late) >= (0 if exact else -0.0015)  # uvloop's own timers have whole milliseconds
    assert sorted(late)[10] < 0.05


def test_the_past_is_called_for_at_once_and_the_last_wish_counts(exact: bool) -> None:
    async def work() -> int:
        calls: list[float] = []
        timer = Timer(lambda: calls.append(monotonic()))
        timer.at(monotonic() + 30)
        timer.at(0.0)
        assert not calls
        await asyncio.sleep(0.1)
        timer.at(monotonic() + 0.05)
        timer.close()
        await asyncio.sleep(0.1)
        return len(calls)

    assert asyncio.run(work()) == 1


@linux_only
def test_what_comes_while_it_waits_awake_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "early_s", lambda wait_s: wait_s)  # awake from the start
    happened: list[str] = []

    async def work() -> None:
        over = asyncio.Event()

        def called() -> None:
            happened.append("called")
            over.set()

        ours, theirs = socket.socketpair()
        with ours, theirs:
            asyncio.get_running_loop().add_reader(ours, lambda: happened.append(str(ours.recv(9))))
            timer = Timer(called)
            timer.at(monotonic() + 0.1)
            theirs.send(b"answer")
            await asyncio.wait_for(over.wait(), 5)
            timer.at(monotonic() + 0.05)
            await asyncio.sleep(0.01)
            timer.close()  # while it waits awake
            await asyncio.sleep(0.1)
            asyncio.get_running_loop().remove_reader(ours)

    asyncio.run(work())
    assert happened == ["b'answer'", "called"]


@pytest.mark.parametrize("rate", [1, 60, 1000, 20_000])
def test_little_of_a_core_waits_awake_and_nothing_where_arrivals_are_dense(rate: int) -> None:
    wait_s = 1 / rate
    assert 0 <= arrivals.early_s(wait_s) <= 0.05 * wait_s
    assert (arrivals.early_s(wait_s) > 0) is (rate < 500)


@linux_only
def test_the_shortest_is_asked_for_and_not_inherited() -> None:
    slices: list[int] = []

    def note() -> None:
        slices.append(arrivals.scheduler_attributes()[5])

    def shorten() -> None:  # a thread of its own, for a slice belongs to a thread
        note()
        assert arrivals.shorten_time_slice()
        note()
        inner = threading.Thread(target=note)
        inner.start()
        inner.join()

    thread = threading.Thread(target=shorten)
    thread.start()
    thread.join()
    usual, shortest, inherited = slices
    release = tuple(int(part) for part in platform.release().split(".")[:2])
    assert shortest == (arrivals.SHORTEST_NS if release >= (6, 12) else usual)
    assert inherited == usual


@linux_only
@pytest.mark.parametrize(
    ("change", "after"),
    [
        ("os.nice(3)", "True 3 0"),
        ("os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))", "False 0 3"),
    ],
)
def test_niceness_and_another_policy_stay(change: str, after: str) -> None:
    code = (
        f"import os; from helpers.load import arrivals; {change}; print("
        "arrivals.shorten_time_slice(), os.nice(0), os.sched_getscheduler(0) & 3)"
    )
    output = subprocess.run([sys.executable, "-c", code], stdout=-1, text=True, check=True).stdout
    assert output.strip() == after
