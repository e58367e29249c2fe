"""What is fired at the service, and what it is judged by."""

from typing import Annotated, Literal

from pydantic import Field

from helpers.scenario import Count, Name, Rate, Scenario, Settings


class Kpis(Settings):
    """What the run is judged by. Latencies, error rate and cost are upper limits.

    Attributes:
        scenario: The scenario whose figures are held against the targets.
        p50_ms: Median latency from the intended send time, milliseconds.
        p95_ms: 95th percentile of the same, milliseconds.
        p99_ms: 99th percentile of the same, milliseconds.
        throughput_rps: Least successful requests per second.
        error_rate_pct: Share of requests without a good answer, per cent.
        gpu_utilisation_pct: Least mean GPU utilisation while under load, per cent.
        cost_usd: Most a session may cost, US dollars.
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
    """How the highest rate is searched that holds the P99 target.

    Attributes:
        rate: Where to begin, requests per second.
        max_rate: Where to stop, should the server hold even that.
        precision: How narrow the bracket becomes, as a share of the rate.
    """

    rate: Rate = 50.0
    max_rate: Rate = 20_000.0
    precision: Annotated[float, Field(ge=0.01, le=1)] = 0.1


class Load(Settings):
    """The scenarios, in the order they are fired.

    Attributes:
        scenarios: What is fired.
        capacity: How the capacity is searched afterwards, with the model and protocol of the
            scenario that the targets are held against; None leaves it out.
        max_connections: Most HTTP connections at a time.
        control: Where from is fired: `embedded` is this machine; `cluster` is pods on the
            cluster's CPU nodes, one for each of a scenario's workers, straight at Triton's Service.
    """

    scenarios: Annotated[tuple[Scenario, ...], Field(min_length=1)]
    capacity: CapacitySearch | None = None
    max_connections: Count = 256
    control: Literal["embedded", "cluster"] = "embedded"
