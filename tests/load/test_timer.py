"""Timers call back at their time, neither early nor never."""

import asyncio
import socket
import sys
from collections.abc import Callable
from time import monotonic

import pytest
import uvloop

from helpers.load import arrivals
from helpers.load.arrivals import LoopTimer, Timer, TimerFd, best_timer

KINDS = [
    pytest.param(TimerFd, marks=pytest.mark.skipif(sys.platform != "linux", reason="no timerfd")),
    LoopTimer,
]
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loop", LOOPS)
def test_called_at_each_time(
    kind: type[TimerFd] | type[LoopTimer], loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
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

        timer: Timer = kind(called)
        timer.at(wishes[0])
        await asyncio.wait_for(over.wait(), 5)
        timer.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(work())
    assert len(late) == 20
    # uvloop's own timers have whole milliseconds
    assert min(late) >= (0 if kind is TimerFd else -0.0015)
    assert sorted(late)[10] < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_the_past_is_called_for_at_once_and_the_last_wish_counts(
    kind: type[TimerFd] | type[LoopTimer],
) -> None:
    async def work() -> int:
        calls: list[float] = []
        timer: Timer = kind(lambda: calls.append(monotonic()))
        timer.at(monotonic() + 30)
        timer.at(0.0)
        assert not calls
        await asyncio.sleep(0.1)
        timer.at(monotonic() + 0.05)
        timer.close()
        await asyncio.sleep(0.1)
        return len(calls)

    assert asyncio.run(work()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="no timerfd")
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
            timer = TimerFd(called)
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


@pytest.mark.parametrize("rate", [1, 10, 60, 300, 1000, 20_000])
def test_little_of_a_core_waits_awake_and_nothing_where_arrivals_are_dense(rate: int) -> None:
    wait_s = 1 / rate
    assert 0 <= arrivals.early_s(wait_s) <= 0.05 * wait_s
    assert (arrivals.early_s(wait_s) > 0) is (rate < 500)


def test_linux_has_the_exact_one() -> None:
    async def work() -> Timer:
        made = best_timer(lambda: None)
        made.close()
        return made

    assert isinstance(asyncio.run(work()), TimerFd if sys.platform == "linux" else LoopTimer)
