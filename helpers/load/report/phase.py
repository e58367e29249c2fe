"""The figures of one phase of a load."""

from helpers.scenario import Settings


class Percentile(Settings):
    """A percentile of the latency of good answers, with a 95 % confidence interval.

    Attributes:
        ms: The exact sample percentile, milliseconds.
        low_ms: Lower end of the interval by order statistics; None where samples are too few.
        high_ms: Upper end; None where samples are too few.
    """

    ms: float
    low_ms: float | None
    high_ms: float | None


class PhaseReport(Settings):
    """Figures of one phase, or of all measured phases of a scenario together.

    Attributes:
        name: The phase's name, or `measured` for all of them together.
        warmup: Whether it is left out of the scenario's figures.
        requested_rps: Arrivals the schedule asked for, per second; None for closed loops.
        offered_rps: Requests really sent, per second.
        throughput_rps: Good answers per second.
        goodput_rps: Of these, answers within the objective; None where there is no objective.
        start_s: Begin, seconds since the scenario's start.
        end_s: End, seconds since the scenario's start.
        requests: How many were scheduled.
        delivered: How many of these were sent.
        ok: How many were answered well.
        errors: Error class → count.
        error_rate_pct: Share of requests without a good answer, per cent.
        latency: `p50`, `p90`, `p95`, `p99`, `p99.9` → percentile; those with too few samples are
            missing. Latency counts from the intended send time.
        mean_ms: Mean latency of good answers; None where there is none.
        max_ms: Largest latency of good answers; None where there is none.
        service_p50_ms: Median from the real send time; None where there is no good answer.
        send_error_p50_ms: How late requests were released, median, milliseconds.
        send_error_p99_ms: The same, 99th percentile.
        overloaded: The server did not keep up with the arrivals.
        invalid: Why these figures must not be believed; empty where they may.
    """

    name: str
    warmup: bool
    requested_rps: float | None
    offered_rps: float
    throughput_rps: float
    goodput_rps: float | None
    start_s: float
    end_s: float
    requests: int
    delivered: int
    ok: int
    errors: dict[str, int]
    error_rate_pct: float
    latency: dict[str, Percentile]
    mean_ms: float | None
    max_ms: float | None
    service_p50_ms: float | None
    send_error_p50_ms: float
    send_error_p99_ms: float
    overloaded: bool
    invalid: tuple[str, ...]
