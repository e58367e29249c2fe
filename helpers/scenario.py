"""Load scenarios and KPI targets as data: what is sent, and what the run is judged by."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

Rate = Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0, le=1_000_000)]
Control = Literal["embedded", "cluster"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=40)]


class Settings(BaseModel):
    """Base of everything a profile may hold: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class _Phase(Settings):
    name: Name
    warmup: bool = Field(default=False, description="Sent and recorded, excluded from figures.")

    @property
    def peak_rps(self) -> float:
        """Highest rate; a burst counts over its duration, and closed loops, which adapt, as 0."""
        burst = self.count / self.duration_s if isinstance(self, Burst) else 0.0
        return max(getattr(self, "rate", burst), getattr(self, "to_rate", burst))


class _Timed(_Phase):
    duration_s: Seconds

    @model_validator(mode="before")
    @classmethod
    def _count_or_duration(cls, data: Any) -> Any:
        """Accept `count` requests instead of a duration: the time they take at `rate`."""
        if isinstance(data, dict) and "count" in data:
            data = dict(data)
            count = TypeAdapter(Count).validate_python(data.pop("count"))
            if "duration_s" in data:
                raise ValueError("count and duration_s exclude each other; give one of them")
            rate = TypeAdapter(Rate).validate_python(data.get("rate"))
            data["duration_s"] = count / rate
        return data


class Constant(_Timed):
    """Evenly spaced arrivals at `rate` requests per second."""

    arrivals: Literal["constant"]
    rate: Rate


class Poisson(_Timed):
    """Independent arrivals: exponential gaps with mean 1 / `rate`, seeded."""

    arrivals: Literal["poisson"]
    rate: Rate


class Ramp(_Phase):
    """A Poisson process whose rate goes linearly from `rate` to `to_rate`."""

    arrivals: Literal["ramp"]
    rate: Rate
    to_rate: Rate
    duration_s: Seconds


class Spike(_Phase):
    """A Poisson process at `rate` that jumps to `to_rate` for the middle third of its time."""

    arrivals: Literal["spike"]
    rate: Rate
    to_rate: Rate
    duration_s: Seconds


class Burst(_Phase):
    """`count` requests at the same instant, then no more until `duration_s` is over."""

    arrivals: Literal["burst"]
    count: Count
    duration_s: Seconds


class Closed(_Phase):
    """`concurrency` clients that each send the next request when the last one is answered."""

    arrivals: Literal["closed"]
    concurrency: Annotated[int, Field(gt=0, le=4096)]
    duration_s: Seconds


Phase = Annotated[
    Constant | Poisson | Ramp | Spike | Burst | Closed, Field(discriminator="arrivals")
]


class Stop(Settings):
    """When a scenario ends early; checked once a second over the last five seconds."""

    # stop if a larger share of the responses are errors, per cent
    errors_pct: Annotated[float, Field(gt=0, le=100)] | None = None
    # stop if the 99th percentile of the latency is higher, milliseconds
    p99_ms: Seconds | None = None
    in_flight: Count | None = None  # stop if more requests are waiting for a response


class Scenario(Settings):
    """A named list of load phases against one model."""

    name: Name  # the scenario's name in tables, events and charts
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]  # run one after the other
    model: Name
    # `http` (HTTP/1.1, KServe v2 with binary tensors), `https` (the same; an endpoint without
    # TLS is refused) or `grpc` (with TLS if the endpoint has it)
    protocol: Literal["http", "https", "grpc"] = "http"
    batch: Annotated[int, Field(ge=1, le=64)] = 1  # images per request
    inputs: Annotated[int, Field(ge=1, le=256)] = 16  # number of different inputs, sent in rotation
    # their content: `random` (distributed like normalised images) or `zeros`
    payload: Literal["random", "zeros"] = "random"
    timeout_s: Seconds = 10.0  # a request without a response after this time is a time-out error
    # seed of arrivals and inputs; the same seed gives the same schedule
    seed: Annotated[int, Field(ge=0)] = 1
    # processes that share the arrivals, each on its own core
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    stop: Stop = Stop()
    # where it is fired from: `embedded` is this machine; `cluster` is one pod per worker on the
    # cluster's CPU nodes, which sends directly to Triton's Service; None is as in `load.control`
    control: Control | None = None

    @property
    def duration_s(self) -> float:
        """Length of all phases together, in seconds."""
        return sum(phase.duration_s for phase in self.phases)

    @property
    def peak_rps(self) -> float:
        """The highest rate of its phases."""
        return max(phase.peak_rps for phase in self.phases)

    @property
    def requests(self) -> float:
        """How many are planned at most: ramps and spikes count at their higher rate."""
        return sum(phase.peak_rps * phase.duration_s for phase in self.phases)

    @model_validator(mode="after")
    def _phase_names_differ(self) -> Self:
        names = [phase.name for phase in self.phases]
        if len(set(names)) != len(names):
            raise ValueError(f"phase names repeat: {', '.join(names)}")
        if all(phase.warmup for phase in self.phases):
            raise ValueError("every phase is a warm-up; at least one must be measured")
        return self


class Kpis(Settings):
    """What the run is judged by. Latencies, error rate and cost are upper limits."""

    scenario: Name  # the scenario whose figures are compared with the targets
    # median latency from the intended send time, milliseconds
    p50_ms: Annotated[float, Field(gt=0)]
    p95_ms: Annotated[float, Field(gt=0)]  # 95th percentile of the same, milliseconds
    p99_ms: Annotated[float, Field(gt=0)]  # 99th percentile of the same, milliseconds
    throughput_rps: Annotated[float, Field(gt=0)]  # minimum of successful requests per second
    # share of requests without a correct response, per cent
    error_rate_pct: Annotated[float, Field(ge=0, le=100)]
    # minimum mean GPU utilisation under load, per cent
    gpu_utilisation_pct: Annotated[float, Field(ge=0, le=100)]
    cost_usd: Annotated[float, Field(ge=0)]  # maximum cost of a session, US dollars


class CapacitySearch(Settings):
    """How to search for the highest rate that meets the P99 target."""

    rate: Rate = 50.0  # first rate, requests per second
    max_rate: Rate = 20_000.0  # highest rate to try
    # final width of the bracket, as a share of the rate
    precision: Annotated[float, Field(ge=0.01, le=1)] = 0.1
    # how long the rate that is found must hold, seconds
    confirm_s: Annotated[float, Field(ge=1, le=3600)] = 30.0


class LoadSettings(Settings):
    """The load of stage 05."""

    scenarios: Annotated[tuple[Scenario, ...], Field(min_length=1)]
    # how to search for the capacity, with the model and protocol of the scenario that the
    # KPIs use; None skips the search
    capacity: CapacitySearch | None = None
    max_connections: Count = 256  # maximum number of HTTP connections
    control: Control = "embedded"  # where scenarios are fired from that do not say so themselves

    @property
    def placed(self) -> tuple[Scenario, ...]:
        """The scenarios, each with its own `control`."""
        return tuple(
            scenario.model_copy(update={"control": scenario.control or self.control})
            for scenario in self.scenarios
        )
