"""The figures of one scenario, fired once: the client's, the server's, and what they cost."""

from helpers.load.report.phase import PhaseReport
from helpers.scenario import Settings

CLIENTS_FAULT = "the client was the bottleneck"  # how a doubt ends that is not the server's


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
        repeated: Why these are the figures of a second firing; empty where the first was good.
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
    repeated: str = ""

    @property
    def client_was_the_bottleneck(self) -> bool:
        """Whether the client, and not the server, is why the figures must not be believed."""
        return any(one.endswith(CLIENTS_FAULT) for one in self.invalid)

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
