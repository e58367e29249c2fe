"""What stage 05 records of a load test.

Table `requests-<scenario>` (parquet and CSV), one row a request, in order of intended send time:
`phase` (str), `warmup` (bool), `intended_s`, `sent_s`, `done_s` (seconds since `started` of the
scenario; `done_s` is NaN where no answer came), `latency_ms` (done - intended), `service_ms`
(done - sent), `outcome` (`ok` or an error class), `bytes` (of the answer).
"""

from helpers.run import Record
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
        start_s: Begin, seconds since the scenario's start.
        end_s: End, seconds since the scenario's start.
        requests: How many were scheduled.
        delivered: How many of these were sent.
        ok: How many were answered well.
        errors: Error class → count.
        error_rate_pct: Share of requests without a good answer, per cent.
        latency: `p50`, `p90`, `p95`, `p99` → percentile; those with too few samples are missing.
            Latency counts from the intended send time.
        mean_ms: Mean latency of good answers; None where there is none.
        max_ms: Largest latency of good answers; None where there is none.
        service_p50_ms: Median from the real send time; None where there is no good answer.
        send_error_p99_ms: 99th percentile of sent - intended, milliseconds.
        overloaded: The server did not keep up with the arrivals.
        invalid: Why these figures must not be believed; empty where they may.
    """

    name: str
    warmup: bool
    requested_rps: float | None
    offered_rps: float
    throughput_rps: float
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
    send_error_p99_ms: float
    overloaded: bool
    invalid: tuple[str, ...]


class ServerSide(Settings):
    """Differences of Triton's own counters over a scenario.

    Attributes:
        requests: Successful requests that Triton counted.
        failures: Failed requests that Triton counted.
        inferences: Images.
        executions: Model executions; inferences / executions is the mean batch.
        queue_ms: Mean time in the queue, milliseconds per request.
        compute_ms: Mean time in input, inference and output, milliseconds per request.
        mean_batch: Images per execution.
    """

    requests: int
    failures: int
    inferences: int
    executions: int
    queue_ms: float
    compute_ms: float
    mean_batch: float


class ScenarioReport(Settings):
    """One scenario, fired once.

    Attributes:
        name: The scenario's name.
        model: The served model's name.
        protocol: `http` or `grpc`.
        batch: Images per request.
        seed: Of arrivals and inputs.
        engine: Which client sent the requests.
        started: UTC, ISO 8601, of second 0.
        phases: Each phase by itself.
        measured: All phases but warm-ups together.
        server: What Triton counted; None where its metrics could not be read.
        agreement: How the client's counts compare with Triton's, in one sentence.
        client_cpu_share: CPU seconds of the client process per second.
        invalid: Why the scenario's figures must not be believed; empty where they may.
    """

    name: str
    model: str
    protocol: str
    batch: int
    seed: int
    engine: str
    started: str
    phases: tuple[PhaseReport, ...]
    measured: PhaseReport
    server: ServerSide | None
    agreement: str
    client_cpu_share: float
    invalid: tuple[str, ...]


class LoadReport(Record, stage="05", name="load"):
    """Every scenario of the run, in the order they were fired."""

    scenarios: tuple[ScenarioReport, ...]

    @property
    def has_all_scenarios(self) -> bool:
        """Whether Smoke, Spike and Soak are all there."""
        return {"smoke", "spike", "soak"} <= {one.name for one in self.scenarios}

    @property
    def is_valid(self) -> bool:
        """Whether every scenario may be believed."""
        return not any(one.invalid for one in self.scenarios)

    @property
    def summary(self) -> str:
        """One sentence: what was fired, and how much of it."""
        requests = sum(one.measured.requests for one in self.scenarios)
        names = ", ".join(one.name for one in self.scenarios)
        return f"{names}: {requests:,} measured requests"

    @property
    def trust(self) -> str:
        """One sentence: whether every scenario may be believed, and why not."""
        doubts = [f"{one.name}: {', '.join(one.invalid)}" for one in self.scenarios if one.invalid]
        return "; ".join(doubts) or "every scenario is valid"
