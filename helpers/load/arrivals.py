"""When each request is meant to leave: scenario phases turned into send times."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from helpers.scenario import Burst, Closed, Constant, Phase, Poisson, Ramp, Scenario, Spike

Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Span:
    """A phase's place in its scenario.

    Attributes:
        phase: The phase itself.
        start_s: Begin, seconds since the scenario's start.
        end_s: End, likewise.
    """

    phase: Phase
    start_s: float
    end_s: float


@dataclass(frozen=True, eq=False)
class Schedule:
    """Intended send times of all open phases, in order.

    Attributes:
        times_s: Seconds since the scenario's start, ascending.
        phases: For each time, the number of its phase in the scenario.
    """

    times_s: Times
    phases: npt.NDArray[np.int16]

    def count(self, phase: int) -> int:
        """How many arrivals a phase has; 0 for a closed one."""
        return int(np.count_nonzero(self.phases == phase))


@dataclass(frozen=True)
class Shard:
    """One of several workers that share a scenario.

    Attributes:
        number: Which one, from 0.
        of: How many there are.
    """

    number: int = 0
    of: int = 1

    def share(self, count: int) -> int:
        """How many of `count` things are its own."""
        return len(range(self.number, count, self.of))


WHOLE = Shard()


def spans(scenario: Scenario) -> Iterator[Span]:
    """The phases one after the other, each with its begin and end."""
    ends = accumulate(phase.duration_s for phase in scenario.phases)
    for phase, end in zip(scenario.phases, ends, strict=True):
        yield Span(phase, end - phase.duration_s, end)


def schedule(scenario: Scenario, shard: Shard = WHOLE) -> Schedule:
    """Every open-loop arrival of a scenario, or of one shard of it.

    The same seed gives the same times. Each phase draws from a stream of its own, so changing one
    phase leaves the others as they are. Together, shards send exactly what one worker would.
    """
    offsets = []
    for number, span in enumerate(spans(scenario)):
        whole = offsets_of(span.phase, generator(scenario.seed, 0, number))
        mine = dealt(span.phase, len(whole), shard, generator(scenario.seed, 2, number))
        offsets.append(span.start_s + whole[mine])
    numbers = np.repeat(np.arange(len(offsets), dtype=np.int16), [len(one) for one in offsets])
    return Schedule(np.concatenate(offsets), numbers)


def generator(seed: int, *stream: int) -> np.random.Generator:
    """A random generator of one stream of a seed; streams are independent of each other."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=stream))


def offsets_of(phase: Phase, random: np.random.Generator) -> Times:
    """Send times of one phase, seconds since its begin; empty for a closed loop."""
    match phase:
        case Constant(rate=rate, duration_s=duration):
            # the tolerance keeps 0.1 * 30 = 3.0000000000000004 at three arrivals
            return np.arange(np.ceil(rate * duration - 1e-9)) / rate
        case Poisson(rate=rate, duration_s=duration):
            return ramp(rate, rate, duration, random)
        case Ramp(rate=rate, to_rate=to_rate, duration_s=duration):
            return ramp(rate, to_rate, duration, random)
        case Spike(rate=rate, to_rate=to_rate, duration_s=duration):
            third = duration / 3
            parts = [ramp(one, one, third, random) for one in (rate, to_rate, rate)]
            return np.concatenate([number * third + one for number, one in enumerate(parts)])
        case Burst(count=count):
            return np.zeros(count)
        case Closed():
            return np.empty(0)


def dealt(
    phase: Phase, count: int, shard: Shard, random: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Which of a phase's arrivals belong to a shard; each belongs to exactly one.

    Dealt in turn, even spacing stays even; dealt at random, a Poisson process stays one in every
    shard (thinning, Lewis & Shedler 1979).
    """
    if isinstance(phase, Constant | Burst):
        dealt_to = np.arange(count) % shard.of
    else:
        dealt_to = random.integers(shard.of, size=count)
    mine: npt.NDArray[np.bool_] = dealt_to == shard.number
    return mine


def ramp(rate: float, to_rate: float, duration_s: float, random: np.random.Generator) -> Times:
    """A Poisson process whose rate goes linearly from `rate` to `to_rate`.

    By inversion (Çinlar 1975): arrivals of a process of rate 1 are mapped through the inverse of
    the cumulative rate `rate * t + (to_rate - rate) * t² / (2 * duration_s)`.
    """
    expected = (rate + to_rate) / 2 * duration_s
    unit = np.concatenate(list(_unit_arrivals(expected, random)))
    unit = unit[unit < expected]
    slope = (to_rate - rate) / duration_s
    # the root of the quadratic in the form that does not cancel where the slope is 0
    times: Times = 2 * unit / (rate + np.sqrt(rate**2 + 2 * slope * unit))
    return times


def _unit_arrivals(until: float, random: np.random.Generator) -> Iterable[Times]:
    reached = 0.0
    while reached < until:
        gaps = random.exponential(size=4096)
        times = reached + np.cumsum(gaps)
        reached = float(times[-1])
        yield times
