"""Timers call back at their time, neither early nor never."""

import asyncio
import sys
from collections.abc import Callable
from time import monotonic

import pytest
import uvloop

from helpers.load.pacing import LoopTimer, Pacer, TimerFd, pacer

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

        timer: Pacer = kind(called)
        timer.at(wishes[0])
        await asyncio.wait_for(over.wait(), 5)
        timer.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(work())
    assert len(late) == 20
    assert min(late) > -0.0015  # uvloop's own timers have whole milliseconds
    assert sorted(late)[10] < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_the_past_is_called_for_at_once_and_the_last_wish_counts(
    kind: type[TimerFd] | type[LoopTimer],
) -> None:
    async def work() -> int:
        calls: list[float] = []
        timer: Pacer = kind(lambda: calls.append(monotonic()))
        timer.at(monotonic() + 30)
        timer.at(0.0)
        assert not calls
        await asyncio.sleep(0.1)
        timer.at(monotonic() + 0.05)
        timer.close()
        await asyncio.sleep(0.1)
        return len(calls)

    assert asyncio.run(work()) == 1


def test_linux_has_the_exact_one() -> None:
    async def work() -> Pacer:
        made = pacer(lambda: None)
        made.close()
        return made

    assert isinstance(asyncio.run(work()), TimerFd if sys.platform == "linux" else LoopTimer)
