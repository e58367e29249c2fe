"""What a search for the capacity found."""

from helpers.run import Record
from helpers.scenario import Settings


class Step(Settings):
    """One rate that was tried in a search for the capacity.

    Attributes:
        rate: Requests per second asked for, Poisson.
        throughput_rps: Good answers per second.
        goodput_rps: Of these, within the objective.
        p50_ms: Median latency; None where good answers were too few, as of the others.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        error_rate_pct: Share of requests without a good answer, per cent.
        overloaded: The server did not keep up.
        invalid: Why the step must not be believed; empty where it may.
        holds: Whether the objective was held.
        repeated: Why these are the figures of a second firing; empty where the first was good.
    """

    rate: float
    throughput_rps: float
    goodput_rps: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    error_rate_pct: float
    overloaded: bool
    invalid: tuple[str, ...]
    holds: bool
    repeated: str = ""

    @property
    def sentence(self) -> str:
        """The step in words."""
        p99 = "–" if self.p99_ms is None else f"{self.p99_ms:.1f} ms"
        doubt = " (not to be believed)" if self.invalid else ""
        doubt += " (fired twice)" if self.repeated else ""
        verdict = "holds" if self.holds else "overloaded" if self.overloaded else "misses"
        answered = f"answered {self.throughput_rps:,.0f}/s"
        return f"{self.rate:8,.0f}/s · {answered} · P99 {p99} · {verdict}{doubt}"


class Capacity(Record, stage="05", name="capacity"):
    """The highest rate that holds an objective, and every rate that was tried.

    Attributes:
        model: The served model's name.
        protocol: How it was asked.
        scenario: The scenario whose model, protocol, batch and inputs were used.
        objective_p99_ms: The objective.
        capacity_rps: The highest rate that held it; None where none did.
        steps: By rate, ascending.
    """

    model: str
    protocol: str
    scenario: str
    objective_p99_ms: float
    capacity_rps: float | None
    steps: tuple[Step, ...]

    @property
    def knee(self) -> Step | None:
        """The step of greatest power, throughput over latency (Kleinrock 1979).

        Beyond it latency grows faster than throughput. None where no step has a median.
        """
        known = [one for one in self.steps if one.p50_ms and not one.invalid]
        return max(known, key=lambda one: one.throughput_rps / (one.p50_ms or 1.0), default=None)

    @property
    def sentence(self) -> str:
        """The finding in words."""
        if self.capacity_rps is None:
            return f"no rate held a P99 of {self.objective_p99_ms:g} ms"
        found = f"{self.capacity_rps:,.0f} requests/s hold a P99 of {self.objective_p99_ms:g} ms"
        return f"{found} (not to be believed: see its steps)" if not self.is_valid else found

    @property
    def is_valid(self) -> bool:
        """Whether every step that held may be believed."""
        return not any(one.invalid for one in self.steps if one.holds)
