"""What is told once a second while a scenario is played."""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import psutil

from helpers.load.client import OK, Request

Say = Callable[..., Any]
"""Called with the kind of a message and its facts, as in `say("phase-start", phase="steady")`."""

RECENT = 5  # seconds that the shown percentiles reach back
STEP = math.log(1.02)  # latencies within 2 % are told as one, which is enough to look at


class Progress:
    """Counts the requests of one worker, and sums up the last second."""

    def __init__(self) -> None:
        self.sent = 0
        self.answered = 0
        self.errors: Counter[str] = Counter()
        self._ok = 0
        self._latencies: list[float] = []
        self._memory = psutil.Process()

    @property
    def in_flight(self) -> int:
        """Requests without an outcome yet, those that wait for a connection included."""
        return self.sent - self.answered

    def count(self, request: Request, outcome: str) -> None:
        """A request has its outcome."""
        self.answered += 1
        if outcome == OK:
            self._ok += 1
            self._latencies.append(request.done - request.intended)
        else:
            self.errors[outcome] += 1

    def facts(self, elapsed_s: float) -> dict[str, Any]:
        """The state `elapsed_s` after the start; latencies are those since they were told last."""
        return {
            "elapsed_s": round(elapsed_s, 3),
            "sent": self.sent,
            "ok": self._ok,
            "in_flight": self.in_flight,
            "errors": dict(self.errors),
            "latency": self.latencies(),
            "memory_mib": self._memory.memory_info().rss / 2**20,
        }

    def latencies(self) -> "Counter[int]":
        """How many good answers each bucket has got since the last call."""
        latencies, self._latencies = self._latencies, []
        return Counter(int(math.log(max(one, 1e-6)) // STEP) for one in latencies)


@dataclass(frozen=True)
class Second:
    """One second of a load, over all its workers.

    Attributes:
        elapsed_s: Since the scenario's start.
        phase: Being played.
        offered_rps: Requests released in the last second, per second.
        throughput_rps: Good answers likewise.
        in_flight: Requests without an outcome.
        errors: Since the start.
        error_share: Of the outcomes of the last five seconds, 0 to 1.
        p50_ms: Over the last five seconds, to 2 %, as the other two; None without a good answer.
        p95_ms: See `p50_ms`.
        p99_ms: See `p50_ms`.
        memory_mib: Of all workers together.
    """

    elapsed_s: float
    phase: str
    offered_rps: float
    throughput_rps: float
    in_flight: int
    errors: int
    error_share: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    memory_mib: float

    def line(self, name: str) -> str:
        """The second as one line of text."""
        told = [
            f"{label} –" if value is None else f"{label} {value:.1f} ms"
            for label, value in (("P50", self.p50_ms), ("P95", self.p95_ms), ("P99", self.p99_ms))
        ]
        return (
            f"{name} {self.elapsed_s:6.1f} s · {self.phase} · offered {self.offered_rps:.0f}/s · "
            f"answered {self.throughput_rps:.0f}/s · in flight {self.in_flight} · "
            f"errors {self.errors} · {' · '.join(told)}"
        )


class Merged:
    """The seconds of a load, as its workers tell them.

    Args:
        workers: How many there are.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._told: dict[int, dict[str, Any]] = {}
        self._before = (0.0, 0, 0)
        self._recent: deque[tuple[Counter[int], int, int]] = deque(maxlen=RECENT + 1)
        self._recent.append((Counter(), 0, 0))

    def take(self, worker: int, told: dict[str, Any]) -> Second | None:
        """A worker tells a second; returned once all of them have."""
        self._told[worker] = told
        if len(self._told) < self._workers:
            return None
        parts, self._told = list(self._told.values()), {}
        return self._second(parts)

    def _second(self, parts: list[dict[str, Any]]) -> Second:
        elapsed = max(one["elapsed_s"] for one in parts)
        sent, ok, errors = (_total(parts, name) for name in ("sent", "ok", "errors"))
        latency: Counter[int] = Counter()
        for one in parts:
            latency.update({int(bucket): count for bucket, count in one["latency"].items()})
        self._recent.append((latency, ok, errors))
        (_, old_ok, old_errors), *last = self._recent
        recent = sum((one for one, _, _ in last), Counter())
        before_s, before_sent, before_ok = self._before
        self._before = (elapsed, sent, ok)
        seconds = max(elapsed - before_s, 1e-9)
        outcomes = ok - old_ok + errors - old_errors
        return Second(
            elapsed_s=elapsed,
            phase=parts[0]["phase"],
            offered_rps=(sent - before_sent) / seconds,
            throughput_rps=(ok - before_ok) / seconds,
            in_flight=_total(parts, "in_flight"),
            errors=errors,
            error_share=(errors - old_errors) / outcomes if outcomes else 0.0,
            p50_ms=_percentile_ms(recent, 0.50),
            p95_ms=_percentile_ms(recent, 0.95),
            p99_ms=_percentile_ms(recent, 0.99),
            memory_mib=sum(one["memory_mib"] for one in parts),
        )


def bucket_ms(bucket: int) -> float:
    """The latency in the middle of a bucket, milliseconds."""
    return math.exp((bucket + 0.5) * STEP) * 1000


def _total(parts: Iterable[dict[str, Any]], name: str) -> int:
    values = (one[name] for one in parts)
    return sum(sum(one.values()) if isinstance(one, dict) else one for one in values)


def _percentile_ms(latency: "Counter[int]", share: float) -> float | None:
    rank, reached = share * latency.total(), 0
    for bucket in sorted(latency):
        reached += latency[bucket]
        if reached >= rank:
            return bucket_ms(bucket)
    return None
