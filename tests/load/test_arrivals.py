"""Requests are meant to leave when the profile says, equally so for the same seed, and do so.

Timers call back at their time, and the client's thread gets the shortest time slice.
"""

import asyncio
import platform
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import numpy as np
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from helpers.load import arrivals
from helpers.load.arrivals import Timer, ramp, schedule, spans

from .conftest import scenario

CONSTANT = {"name": "even", "arrivals": "constant", "rate": 30, "duration_s": 0.1}
POISSON = {"name": "random", "arrivals": "poisson", "rate": 200, "duration_s": 50}
RAMP = {"name": "rising", "arrivals": "ramp", "rate": 50, "to_rate": 350, "duration_s": 50}
BURST = {"name": "all", "arrivals": "burst", "count": 40, "duration_s": 2}
CLOSED = {"name": "loop", "arrivals": "closed", "concurrency": 4, "duration_s": 3}


def test_phases_follow_each_other() -> None:
    plan = schedule(scenario(CONSTANT, BURST, CLOSED, POISSON))
    assert [plan.count(number) for number in range(3)] == [3, 40, 0]
    assert np.allclose(plan.times_s[:3], [0, 1 / 30, 2 / 30])
    assert np.allclose(plan.times_s[plan.phases == 1], 0.1)
    last = plan.times_s[plan.phases == 3]
    assert last.min() >= 5.1 and last.max() < 55.1
    assert np.all(np.diff(plan.times_s) >= 0) and np.all(np.diff(plan.phases) >= 0)
    ends = [span.end_s for span in spans(scenario(CONSTANT, BURST, CLOSED))]
    assert ends == pytest.approx([0.1, 2.1, 5.1])


@given(rate=st.floats(0.1, 500), seconds=st.floats(0.1, 20))
@settings(max_examples=50, deadline=None)
def test_constant_has_as_many_arrivals_as_fit(rate: float, seconds: float) -> None:
    phase = {"arrivals": "constant", "rate": rate, "duration_s": seconds}
    times = schedule(scenario(phase)).times_s
    assert abs(len(times) - rate * seconds) <= 1
    assert times[0] == 0 and times[-1] < seconds


def test_poisson_has_its_rate_and_exponential_gaps() -> None:
    times = schedule(scenario(POISSON)).times_s
    assert stats.poisson(200 * 50).cdf(len(times)) == pytest.approx(0.5, abs=0.499)
    assert stats.kstest(np.diff(times), stats.expon(scale=1 / 200).cdf).pvalue > 0.01
    halves = np.histogram(times, bins=50)[0]
    assert 0.5 < halves.var() / halves.mean() < 1.7  # a Poisson count varies as much as it is


def test_ramp_follows_its_cumulative_rate() -> None:
    times = schedule(scenario(RAMP)).times_s
    cumulative = 50 * times + (350 - 50) * times**2 / (2 * 50)
    # mapped through its cumulative rate, it must be a Poisson process of rate 1
    assert stats.kstest(np.diff(cumulative), stats.expon.cdf).pvalue > 0.01
    first, last = (times < 10).sum(), (times >= 40).sum()
    assert first == pytest.approx((50 + 110) / 2 * 10, rel=0.15)
    assert last == pytest.approx((290 + 350) / 2 * 10, rel=0.15)
    falling = ramp(300, 1, 10, np.random.default_rng(1))
    assert np.isfinite(falling).all() and falling.max() < 10
    assert (falling < 5).sum() > 2 * (falling >= 5).sum()


def test_the_same_seed_gives_the_same_schedule_and_a_phase_does_not_depend_on_the_others() -> None:
    first, same = schedule(scenario(POISSON)), schedule(scenario(POISSON))
    other = schedule(scenario(POISSON, seed=2))
    assert np.array_equal(first.times_s, same.times_s)
    assert not np.array_equal(first.times_s[:100], other.times_s[:100])
    short = schedule(scenario(CONSTANT, POISSON))
    long = schedule(scenario({**CONSTANT, "duration_s": 7}, POISSON))
    longer = schedule(scenario(CONSTANT, {**POISSON, "duration_s": 60}))
    times = short.times_s[short.phases == 1]
    assert np.allclose(times - 0.1, long.times_s[long.phases == 1] - 7)
    assert np.allclose(times, longer.times_s[longer.phases == 1][: len(times)])
    plan = schedule(scenario({**POISSON, "name": "a"}, {**POISSON, "name": "b"}))
    earlier, later = (plan.times_s[plan.phases == number] for number in (0, 1))
    assert not np.allclose(earlier[:50], later[:50] - 50)


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
            timer.at(monotonic() + 0.3)
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
def test_the_shortest_is_asked_for() -> None:
    def shorten() -> tuple[int, bool, int]:
        before = arrivals.scheduler_attributes()[5]
        return before, arrivals.shorten_time_slice(), arrivals.scheduler_attributes()[5]

    with ThreadPoolExecutor(1) as pool:  # a slice belongs to a thread
        usual, is_shortened, shortest = pool.submit(shorten).result()
    release = tuple(int(part) for part in platform.release().split(".")[:2])
    assert is_shortened and shortest == (arrivals.SHORTEST_NS if release >= (6, 12) else usual)
