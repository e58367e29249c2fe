"""What is served, how, and how it is watched."""

from typing import Annotated, Literal

from pydantic import Field

from helpers.scenario import Name, Seconds, Settings

Port = Annotated[int, Field(ge=0, le=65_535, description="0 chooses a free port.")]


class Network(Settings):
    """One network that is exported and served.

    Attributes:
        name: The served model's name.
        network: Which of the networks in `model/` it is.
        image_size: Height and width of the input, pixels.
    """

    name: Name
    network: Literal["resnet50", "mobilenetv2"]
    image_size: Annotated[int, Field(ge=32, le=1024, multiple_of=32)]


class Model(Settings):
    """Networks, and where their weights come from.

    `auto` takes pretrained weights where they are on disk or can be downloaded and seeded
    random ones elsewhere; `pretrained` refuses to go on without; `random` never looks.
    """

    networks: Annotated[tuple[Network, ...], Field(min_length=1)]
    weights: Literal["auto", "pretrained", "random"] = "auto"
    seed: Annotated[int, Field(ge=0)] = 0


class Serving(Settings):
    """How Triton serves: batching, instances, cores, ports, patience.

    Attributes:
        client_cores: Cores of this machine that a local server leaves to the load's client, which
            would otherwise wait for one while a request is due; 0 for none.
    """

    max_batch_size: Annotated[int, Field(ge=1, le=64)] = 32
    queue_delay_us: Annotated[int, Field(ge=0, le=100_000)] = 0
    instances: Annotated[int, Field(ge=1, le=16)] = 1
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    client_cores: Annotated[int, Field(ge=0, le=64)] = 1
    http_port: Port = 0
    grpc_port: Port = 0
    metrics_port: Port = 0
    start_timeout_s: Seconds = 90.0


class Telemetry(Settings):
    """How often is looked, and where Prometheus listens."""

    scrape_interval_s: Annotated[float, Field(ge=0.5, le=60)] = 1.0
    prometheus_port: Port = 0


class Services(Settings):
    """Local processes: how long one may live when nobody stops it."""

    ttl_minutes: Annotated[float, Field(gt=0, le=24 * 60)] = 120.0
