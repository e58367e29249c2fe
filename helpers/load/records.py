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
    """A percentile of the latency of good answers, with a 95 % confidence interval."""

    ms: float  # the exact sample percentile, milliseconds
    low_ms: float | None  # lower end of the interval; None where samples are too few
    high_ms: float | None  # upper end; None where samples are too few


class PhaseReport(Settings):
    """Figures of one phase, or of all measured phases of a scenario together."""

    name: str  # the phase's name, or `measured` for all of them together
    warmup: bool  # whether it is left out of the scenario's figures
    requested_rps: float | None  # scheduled arrivals per second; None for closed loops
    offered_rps: float  # requests really sent, per second
    throughput_rps: float  # good answers per second
    goodput_rps: float | None  # of these, within the objective; None where there is none
    start_s: float  # begin, seconds since the scenario's start
    end_s: float  # end, seconds since the scenario's start
    requests: int  # how many were scheduled
    delivered: int  # how many of these were sent
    ok: int  # how many got a good answer
    errors: dict[str, int]  # error class → count
    error_rate_pct: float  # share of requests without a good answer, per cent
    # from the intended send time: `p50` to `p99.9`; those with too few samples are missing
    latency: dict[str, Percentile]
    mean_ms: float | None  # mean latency of good answers; None where there is none, as below
    max_ms: float | None  # largest latency of good answers
    service_p50_ms: float | None  # median time from the real send time
    send_error_p50_ms: float  # how late requests were released, median, milliseconds
    send_error_p99_ms: float  # the same, 99th percentile
    overloaded: bool  # the server did not keep up with the arrivals
    invalid: tuple[str, ...]  # why these figures must not be trusted; empty where they may


class Trend(Settings):
    """A slope by Theil and Sen, with a 95 % confidence interval (Sen 1968)."""

    per_minute: float  # the slope
    low: float  # lower end of the interval
    high: float  # upper end


class Memory(Settings):
    """Resident memory over a scenario, MiB; the trend is None where the scenario was too short."""

    first_mib: float
    last_mib: float
    trend: Trend | None


class ServerSide(Settings):
    """What Triton's own counters gained over a scenario."""

    requests: int  # successful requests
    failures: int  # failed requests
    inferences: int  # images
    executions: int  # model executions
    queue_ms: float  # mean time in the queue, milliseconds per request
    compute_ms: float  # mean time in input, inference and output, milliseconds per request
    mean_batch: float  # images per execution


class ScenarioReport(Settings):
    """One scenario, fired once."""

    name: str  # the scenario's name
    model: str  # the served model's name
    protocol: str  # `http`, `https` or `grpc`
    batch: int  # images per request
    seed: int  # of arrivals and inputs
    workers: int  # processes that shared the arrivals
    engine: str  # which client sent the requests
    started: str  # UTC, ISO 8601, of second 0
    stopped: str  # why the scenario ended early; empty where it did not
    objective_ms: float | None  # good answers within this are goodput; None: no objective
    phases: tuple[PhaseReport, ...]  # each phase by itself
    measured: PhaseReport  # all phases but warm-ups together
    server: ServerSide | None  # what Triton counted; None where its metrics could not be read
    agreement: str  # how the client's counts compare with Triton's, in one sentence
    drift: Trend | None  # of the median latency, ms per minute; None for short scenarios
    memory: dict[str, Memory]  # `client` and each watched process → its resident memory
    client_cpu_share: float  # CPU seconds per second of the busiest client process
    invalid: tuple[str, ...]  # why the scenario's figures must not be trusted; empty where they may
    repeated: str = ""  # why these figures are of a second firing; empty where the first was good

    @property
    def sentence(self) -> str:
        """The measured figures in words."""
        figures = self.measured
        known = [f"{name.upper()} {value.ms:.1f} ms" for name, value in figures.latency.items()]
        percentiles = ", ".join(known) or "too few for a percentile"
        return (
            f"{figures.ok:,} of {figures.requests:,} answered well, "
            f"{figures.throughput_rps:.1f}/s; {percentiles}; "
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
        mean, server = self.all_mean_ms, self.server
        return (
            None if server is None or mean is None else mean - server.queue_ms - server.compute_ms
        )


class Calibration(Settings):
    """The engine against a server on this machine that answers after a known delay."""

    wire: str  # `http` or `grpc`
    delay_ms: float  # the delay
    rate: float  # requests per second, Poisson
    requests: int  # good answers measured
    added_p50_ms: float  # median that the engine measured minus that of the server's own clock
    added_p99_ms: float  # the same, 99th percentile
    send_error_p99_ms: float  # how late requests were released, 99th percentile

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
    # what the way from this machine adds, and which scenarios were not fired, and why; sentences
    remarks: tuple[str, ...] = ()

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
        """What was fired, how much of it, and the remarks."""
        requests = sum(scenario.measured.requests for scenario in self.scenarios)
        names = ", ".join(scenario.name for scenario in self.scenarios)
        return ". ".join((f"{names}: {requests:,} measured requests", *self.remarks))

    @property
    def trust(self) -> str:
        """One sentence: whether every scenario may be trusted, and why not."""
        doubted = [scenario for scenario in self.scenarios if scenario.invalid]
        reasons = [f"{scenario.name}: {', '.join(scenario.invalid)}" for scenario in doubted]
        return "; ".join(reasons) or "every scenario is valid"


class Step(Settings):
    """One rate that was tried in a search for the capacity."""

    rate: float  # requests per second asked for, Poisson
    seconds: float = 0.0  # how long it was measured; 0: not recorded
    throughput_rps: float  # good answers per second
    goodput_rps: float  # of these, within the objective
    # median latency; None where good answers were too few, as of the others
    p50_ms: float | None = None
    p95_ms: float | None = None  # 95th percentile
    p99_ms: float | None = None  # 99th percentile
    error_rate_pct: float  # share of requests without a good answer, per cent
    overloaded: bool  # the server did not keep up
    invalid: tuple[str, ...]  # why the step must not be trusted; empty where it may
    holds: bool  # whether the objective was held
    repeated: str = ""  # why these figures are of a second firing; empty where the first was good

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
    """The highest rate that holds an objective, and every rate that was tried."""

    model: str  # the served model's name
    protocol: str  # how it was asked
    scenario: str  # the scenario whose model, protocol, batch and inputs were used
    objective_p99_ms: float  # the objective
    capacity_rps: float | None  # the highest rate that held it; None where none did
    steps: tuple[Step, ...]  # by rate, ascending

    @property
    def knee(self) -> Step | None:
        """The step of greatest power, throughput over latency (Kleinrock 1979).

        Beyond it latency grows faster than throughput. None where no step has a median.
        """
        known = [step for step in self.steps if step.p50_ms and not step.invalid]
        return max(known, key=lambda step: step.throughput_rps / (step.p50_ms or 1), default=None)

    @property
    def fails_at(self) -> float | None:
        """The lowest rate above the capacity that did not hold the objective, if one was tried."""
        rates = (step.rate for step in self.steps if not step.holds)
        return min((rate for rate in rates if rate > (self.capacity_rps or 0)), default=None)

    @property
    def sentence(self) -> str:
        """The result in words."""
        if self.capacity_rps is None:
            return f"no rate held a P99 of {self.objective_p99_ms:g} ms"
        text = f"{self.capacity_rps:,.0f} requests/s hold a P99 of {self.objective_p99_ms:g} ms"
        text += f", {self.fails_at:,.0f} do not" if self.fails_at else ""
        return text if self.is_valid else f"{text} (invalid: see its steps)"

    @property
    def is_valid(self) -> bool:
        """Whether every step that held may be trusted."""
        return not any(step.invalid for step in self.steps if step.holds)
