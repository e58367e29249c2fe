"""Load scenarios and KPI targets as data: what is sent, and what the run is judged by."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

Rate = Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0, le=1_000_000)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=40)]


class Settings(BaseModel):
    """Base of everything a profile may hold: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class _Phase(Settings):
    name: Name
    warmup: bool = Field(default=False, description="Sent and recorded, excluded from figures.")


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
    """When a scenario ends early; checked once a second over the last five seconds.

    Attributes:
        errors_pct: Stop if a larger share of the responses are errors, per cent.
        p99_ms: Stop if the 99th percentile of the latency is higher, milliseconds.
        in_flight: Stop if more requests are waiting for a response.
    """

    errors_pct: Annotated[float, Field(gt=0, le=100)] | None = None
    p99_ms: Seconds | None = None
    in_flight: Count | None = None


class Scenario(Settings):
    """A named list of load phases against one model.

    Attributes:
        name: The scenario's name in tables, events and charts.
        phases: Run one after the other.
        model: The served model's name.
        protocol: `http` (HTTP/1.1, KServe v2 with binary tensors), `https` (the same; an
            endpoint without TLS is refused) or `grpc` (with TLS if the endpoint has it).
        batch: Images per request.
        inputs: Number of different inputs, sent in rotation.
        payload: Their content: `random` (distributed like normalised images) or `zeros`.
        timeout_s: A request without a response after this time is a time-out error.
        seed: Seed of arrivals and inputs; the same seed gives the same schedule.
        workers: Processes that share the arrivals, each on its own core.
        stop: When to end early; by default never.
    """

    name: Name
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    model: Name
    protocol: Literal["http", "https", "grpc"] = "http"
    batch: Annotated[int, Field(ge=1, le=64)] = 1
    inputs: Annotated[int, Field(ge=1, le=256)] = 16
    payload: Literal["random", "zeros"] = "random"
    timeout_s: Seconds = 10.0
    seed: Annotated[int, Field(ge=0)] = 1
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    stop: Stop = Stop()

    @property
    def duration_s(self) -> float:
        """Length of all phases together, in seconds."""
        return sum(phase.duration_s for phase in self.phases)

    @model_validator(mode="after")
    def _phase_names_differ(self) -> Self:
        names = [phase.name for phase in self.phases]
        if len(set(names)) != len(names):
            raise ValueError(f"phase names repeat: {', '.join(names)}")
        if all(phase.warmup for phase in self.phases):
            raise ValueError("every phase is a warm-up; at least one must be measured")
        return self


class Kpis(Settings):
    """What the run is judged by. Latencies, error rate and cost are upper limits.

    Attributes:
        scenario: The scenario whose figures are compared with the targets.
        p50_ms: Median latency from the intended send time, milliseconds.
        p95_ms: 95th percentile of the same, milliseconds.
        p99_ms: 99th percentile of the same, milliseconds.
        throughput_rps: Minimum of successful requests per second.
        error_rate_pct: Share of requests without a correct response, per cent.
        gpu_utilisation_pct: Minimum mean GPU utilisation under load, per cent.
        cost_usd: Maximum cost of a session, US dollars.
    """

    scenario: Name
    p50_ms: Annotated[float, Field(gt=0)]
    p95_ms: Annotated[float, Field(gt=0)]
    p99_ms: Annotated[float, Field(gt=0)]
    throughput_rps: Annotated[float, Field(gt=0)]
    error_rate_pct: Annotated[float, Field(ge=0, le=100)]
    gpu_utilisation_pct: Annotated[float, Field(ge=0, le=100)]
    cost_usd: Annotated[float, Field(ge=0)]


class CapacitySearch(Settings):
    """How to search for the highest rate that meets the P99 target.

    Attributes:
        rate: First rate, requests per second.
        max_rate: Highest rate to try.
        precision: Final width of the bracket, as a share of the rate.
    """

    rate: Rate = 50.0
    max_rate: Rate = 20_000.0
    precision: Annotated[float, Field(ge=0.01, le=1)] = 0.1


class LoadSettings(Settings):
    """The load of stage 05.

    Attributes:
        scenarios: The scenarios, in the order they run.
        capacity: How to search for the capacity, with the model and protocol of the scenario
            that the KPIs use; None skips the search.
        max_connections: Maximum number of HTTP connections.
        control: Where the load comes from: `embedded` is this machine; `cluster` is one pod per
            worker on the cluster's CPU nodes, which sends directly to Triton's Service.
    """

    scenarios: Annotated[tuple[Scenario, ...], Field(min_length=1)]
    capacity: CapacitySearch | None = None
    max_connections: Count = 256
    control: Literal["embedded", "cluster"] = "embedded"
