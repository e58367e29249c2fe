"""What stage 05 records of a load test.

Table `requests-<scenario>` (parquet), one row a request: `phase` (str), `warmup` (bool),
`intended_s`, `released_s` (when the engine let it go), `sent_s` (when a connection took it),
`done_s` (seconds since `started` of the scenario; NaN where that never happened), `latency_ms`
(done - intended), `service_ms` (done - sent), `outcome` (`ok` or an error class), `bytes` (of the
answer).

Table `seconds-<scenario>` (CSV), one row a second: `second`, `due` (requests meant to leave in it),
`released`, `ok` (good answers that came in it), `errors` (of those due), and `p50_ms`, `p95_ms`,
`p99_ms` (of those due; empty without a good answer).
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


class Trend(Settings):
    """A slope by Theil and Sen, with a 95 % confidence interval (Sen 1968).

    Attributes:
        per_minute: The slope.
        low: Lower end of the interval.
        high: Upper end.
    """

    per_minute: float
    low: float
    high: float

    @property
    def differs(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


class Memory(Settings):
    """Resident memory over a scenario, MiB.

    Attributes:
        first_mib: After the first second.
        last_mib: At the end.
        trend: MiB per minute; None where the scenario was too short.
    """

    first_mib: float
    last_mib: float
    trend: Trend | None


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
        workers: Processes that shared the arrivals.
        engine: Which client sent the requests.
        started: UTC, ISO 8601, of second 0.
        stopped: Why the scenario ended early; empty where it did not.
        objective_ms: Good answers within this are goodput; None where there is no objective.
        phases: Each phase by itself.
        measured: All phases but warm-ups together.
        server: What Triton counted; None where its metrics could not be read.
        agreement: How the client's counts compare with Triton's, in one sentence.
        drift: How the median latency changed, milliseconds per minute; None for short scenarios.
        memory: `client` and each watched process → its resident memory.
        client_cpu_share: CPU seconds per second of the busiest client process.
        invalid: Why the scenario's figures must not be believed; empty where they may.
    """

    name: str
    model: str
    protocol: str
    batch: int
    seed: int
    workers: int
    engine: str
    started: str
    stopped: str
    objective_ms: float | None
    phases: tuple[PhaseReport, ...]
    measured: PhaseReport
    server: ServerSide | None
    agreement: str
    drift: Trend | None
    memory: dict[str, Memory]
    client_cpu_share: float
    invalid: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The measured figures in words."""
        found = {name: one.ms for name, one in self.measured.latency.items()}
        told = ", ".join(f"{name.upper()} {value:.1f} ms" for name, value in found.items())
        return (
            f"{self.measured.ok:,} of {self.measured.requests:,} answered well, "
            f"{self.measured.throughput_rps:.1f}/s; {told or 'too few for a percentile'}; "
            f"{'; '.join(self.invalid) or 'valid'}"
        )

    @property
    def all_mean_ms(self) -> float | None:
        """Mean latency of all good answers, warm-up included: those that Triton counted."""
        good = [one for one in self.phases if one.mean_ms is not None]
        total = sum(one.ok for one in good)
        return sum((one.mean_ms or 0.0) * one.ok for one in good) / total if total else None

    @property
    def network_and_client_ms(self) -> float | None:
        """Mean latency that Triton did not count; None where its counters could not be read."""
        mean = self.all_mean_ms
        if self.server is None or mean is None:
            return None
        return mean - self.server.queue_ms - self.server.compute_ms


class Calibration(Settings):
    """The engine against a server on this machine that answers after a known delay.

    Attributes:
        wire: `http` or `grpc`.
        delay_ms: The delay.
        rate: Requests per second, Poisson.
        requests: Good answers measured.
        added_p50_ms: Median that the engine measured minus that of the server's own clock.
        added_p99_ms: The same, 99th percentile.
        send_error_p99_ms: How late requests were released, 99th percentile.
    """

    wire: str
    delay_ms: float
    rate: float
    requests: int
    added_p50_ms: float
    added_p99_ms: float
    send_error_p99_ms: float

    @property
    def sentence(self) -> str:
        """What it says, in words."""
        return (
            f"client's own share ({self.wire}, {self.delay_ms:g} ms server at {self.rate:g}/s): "
            f"P50 {self.added_p50_ms:+.2f} ms, P99 {self.added_p99_ms:+.2f} ms"
        )


class LoadReport(Record, stage="05", name="load"):
    """Every scenario of the run, in the order they were fired.

    Attributes:
        calibrations: What the client itself adds, one for each wire format that was used.
        scenarios: What was measured.
    """

    calibrations: tuple[Calibration, ...] = ()
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
    def inferences(self) -> int:
        """Images answered well in all phases, warm-up too: what the session was paid for."""
        return sum(phase.ok * one.batch for one in self.scenarios for phase in one.phases)

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

    @property
    def sentence(self) -> str:
        """The step in words."""
        p99 = "–" if self.p99_ms is None else f"{self.p99_ms:.1f} ms"
        doubt = " (not to be believed)" if self.invalid else ""
        verdict = "holds" if self.holds else "overloaded" if self.overloaded else "misses"
        answered = f"answered {self.throughput_rps:.0f}/s"
        return f"{self.rate:8.0f}/s · {answered} · P99 {p99} · {verdict}{doubt}"


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
        return f"{self.capacity_rps:.0f} requests/s hold a P99 of {self.objective_p99_ms:g} ms"

    @property
    def is_valid(self) -> bool:
        """Whether every step that held may be believed."""
        return not any(one.invalid for one in self.steps if one.holds)
