"""What is told once a second while a scenario is played."""

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import numpy as np

from helpers.load.client import OK, Request

Say = Callable[..., Any]
"""Called with the kind of a message and its facts, as in `say("phase-start", phase="steady")`."""

RECENT = 5  # seconds that the shown P95 reaches back


class Progress:
    """Counts requests, and sums up the last seconds."""

    def __init__(self) -> None:
        self.sent = 0
        self.answered = 0
        self.errors: Counter[str] = Counter()
        self._ok = 0
        self._latencies: list[float] = []
        self._recent: deque[list[float]] = deque(maxlen=RECENT)
        self._before = (0.0, 0, 0)

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
        """The state `elapsed_s` after the start; rates are over the time since the last call."""
        self._recent.append(self._latencies)
        self._latencies = []
        recent = np.concatenate([np.array(one) for one in self._recent])
        before_s, sent, ok = self._before
        seconds = max(elapsed_s - before_s, 1e-9)
        self._before = (elapsed_s, self.sent, self._ok)
        return {
            "elapsed_s": round(elapsed_s, 3),
            "sent": self.sent,
            "in_flight": self.in_flight,
            "errors": dict(self.errors),
            "offered_rps": round((self.sent - sent) / seconds, 1),
            "throughput_rps": round((self._ok - ok) / seconds, 1),
            "p95_ms": round(float(np.percentile(recent, 95)) * 1000, 2) if recent.size else None,
        }
