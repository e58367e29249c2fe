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

CLIENTS_FAULT = "the client was the bottleneck"  # how a doubt ends that is not the server's


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
        ok: How many got a good answer.
        errors: Error class → count.
        error_rate_pct: Share of requests without a good answer, per cent.
        latency: `p50`, `p90`, `p95`, `p99`, `p99.9` → percentile; those with too few samples are
            missing. Latency counts from the intended send time.
        mean_ms: Mean latency of good answers; None where there is none, as below.
        max_ms: Largest latency of good answers.
        service_p50_ms: Median time from the real send time.
        send_error_p50_ms: How late requests were released, median, milliseconds.
        send_error_p99_ms: The same, 99th percentile.
        overloaded: The server did not keep up with the arrivals.
        invalid: Why these figures must not be trusted; empty where they may.
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
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


class Memory(Settings):
    """Resident memory over a scenario, MiB; the trend is None where the scenario was too short."""

    first_mib: float
    last_mib: float
    trend: Trend | None


class ServerSide(Settings):
    """What Triton's own counters gained over a scenario.

    Attributes:
        requests: Successful requests.
        failures: Failed requests.
        inferences: Images.
        executions: Model executions.
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
        protocol: `http`, `https` or `grpc`.
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
        invalid: Why the scenario's figures must not be trusted; empty where they may.
        repeated: Why these are the figures of a second firing; empty where the first was good.
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
    repeated: str = ""

    @property
    def client_was_the_bottleneck(self) -> bool:
        """Whether the client, and not the server, is why the figures must not be trusted."""
        return any(reason.endswith(CLIENTS_FAULT) for reason in self.invalid)

    @property
    def sentence(self) -> str:
        """The measured figures in words."""
        percentiles = ", ".join(
            f"{name.upper()} {percentile.ms:.1f} ms"
            for name, percentile in self.measured.latency.items()
        )
        return (
            f"{self.measured.ok:,} of {self.measured.requests:,} answered well, "
            f"{self.measured.throughput_rps:.1f}/s; {percentiles or 'too few for a percentile'}; "
            f"{'; '.join(self.invalid) or 'valid'}"
        )

    @property
    def all_mean_ms(self) -> float | None:
        """Mean latency of all good answers, warm-up included: those that Triton counted."""
        good = [phase for phase in self.phases if phase.mean_ms is not None]
        total = sum(phase.ok for phase in good)
        return sum((phase.mean_ms or 0.0) * phase.ok for phase in good) / total if total else None

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
    """Every scenario of the run, in the order they were fired, and what the client itself adds."""

    calibrations: tuple[Calibration, ...] = ()
    scenarios: tuple[ScenarioReport, ...]

    @property
    def has_all_scenarios(self) -> bool:
        """Whether Smoke, Spike and Soak are all there."""
        return {"smoke", "spike", "soak"} <= {scenario.name for scenario in self.scenarios}

    @property
    def is_valid(self) -> bool:
        """Whether every scenario may be trusted."""
        return not any(scenario.invalid for scenario in self.scenarios)

    @property
    def inferences(self) -> int:
        """Images answered well in all phases, warm-up too: what the session was paid for."""
        return sum(phase.ok * played.batch for played in self.scenarios for phase in played.phases)

    @property
    def summary(self) -> str:
        """One sentence: what was fired, and how much of it."""
        requests = sum(scenario.measured.requests for scenario in self.scenarios)
        names = ", ".join(scenario.name for scenario in self.scenarios)
        return f"{names}: {requests:,} measured requests"

    @property
    def trust(self) -> str:
        """One sentence: whether every scenario may be trusted, and why not."""
        reasons = [
            f"{scenario.name}: {', '.join(scenario.invalid)}"
            for scenario in self.scenarios
            if scenario.invalid
        ]
        return "; ".join(reasons) or "every scenario is valid"


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
        invalid: Why the step must not be trusted; empty where it may.
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
        remark = " (invalid)" if self.invalid else ""
        remark += " (fired twice)" if self.repeated else ""
        verdict = "holds" if self.holds else "overloaded" if self.overloaded else "misses"
        answered = f"answered {self.throughput_rps:,.0f}/s"
        return f"{self.rate:8,.0f}/s · {answered} · P99 {p99} · {verdict}{remark}"


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
        known = [step for step in self.steps if step.p50_ms and not step.invalid]
        return max(known, key=lambda step: step.throughput_rps / (step.p50_ms or 1), default=None)

    @property
    def sentence(self) -> str:
        """The result in words."""
        if self.capacity_rps is None:
            return f"no rate held a P99 of {self.objective_p99_ms:g} ms"
        text = f"{self.capacity_rps:,.0f} requests/s hold a P99 of {self.objective_p99_ms:g} ms"
        return text if self.is_valid else f"{text} (invalid: see its steps)"

    @property
    def is_valid(self) -> bool:
        """Whether every step that held may be trusted."""
        return not any(step.invalid for step in self.steps if step.holds)
