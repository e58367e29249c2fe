"""A profile: everything a run may choose, in one typed schema."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from helpers.errors import Problem
from helpers.paths import PROFILES
from helpers.scenario import Kpis, LoadSettings, Name, Seconds, Settings

Target = Literal["rehearsal", "aws"]
InputType = Literal["uint8", "fp32"]  # of images
LABEL: dict[Target, str] = {
    "rehearsal": "REHEARSAL: this machine only, no cloud account; figures are not GPU figures.",
    "aws": "AWS: real resources that cost money until stage 06 has removed them.",
}
Port = Annotated[int, Field(ge=0, le=65_535, description="0 chooses a free port.")]


class Network(Settings):
    """One network that is exported and served."""

    name: Name
    network: Literal["resnet50", "mobilenetv2"]
    # pixels, height and width
    image_size: Annotated[int, Field(ge=32, le=1024, multiple_of=32)]


class ModelSettings(Settings):
    """The networks, and where their weights come from.

    `auto` uses pretrained weights that are on disk or can be downloaded, and seeded random
    weights otherwise; `pretrained` fails without them; `random` never downloads.

    `uint8` images are RGB of 0 to 255 (batch, height, width, 3), normalised inside the ONNX graph;
    `fp32` images are normalised by the client (batch, 3, height, width) and four times as large.
    """

    networks: Annotated[tuple[Network, ...], Field(min_length=1)]
    input: InputType = "uint8"
    weights: Literal["auto", "pretrained", "random"] = "auto"
    seed: Annotated[int, Field(ge=0)] = 0


class ServingSettings(Settings):
    """How Triton serves: batching, instances, cores, ports, time-outs."""

    # who builds the images: the stack's CodeBuild project, or Docker on this machine,
    # over whose line about 9 GB then travel; a rehearsal builds here, on an empty base
    image: Literal["codebuild", "local"] = "local"
    max_batch_size: Annotated[int, Field(ge=1, le=64)] = 32
    queue_delay_us: Annotated[int, Field(ge=0, le=100_000)] = 0
    instances: Annotated[int, Field(ge=1, le=16)] = 1
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    # cores of this machine that a local server leaves to the load client, so that requests
    # are sent on time; 0 reserves none
    client_cores: Annotated[int, Field(ge=0, le=64)] = 1
    http_port: Port = 0
    grpc_port: Port = 0
    metrics_port: Port = 0
    start_timeout_s: Seconds = 90.0


class TelemetrySettings(Settings):
    """How often Prometheus scrapes, and where it listens."""

    scrape_interval_s: Annotated[float, Field(ge=0.5, le=60)] = 1.0
    prometheus_port: Port = 0


class ServiceSettings(Settings):
    """Local processes: how long one may run if nothing stops it."""

    ttl_minutes: Annotated[float, Field(gt=0, le=24 * 60)] = 120.0


class GpuNodeSettings(Settings):
    """The GPU node group; taint, label and instance types stand in `k8s/contract.yaml`."""

    # an Auto Scaling group whose price cap AWS enforces; an EKS node group has none
    capacity: Literal["spot-capped"] = "spot-capped"
    # maximum price of one node per hour, US dollars
    max_price_usd: Annotated[float, Field(gt=0, le=5)] = 0.30
    min_nodes: Annotated[int, Field(ge=0, le=4)] = 0
    desired_nodes: Annotated[int, Field(ge=0, le=4)] = 1
    max_nodes: Annotated[int, Field(ge=1, le=4)] = 2  # maximum number of nodes for the autoscaler
    # root disk; Triton's image alone needs 20
    disk_gib: Annotated[int, Field(ge=80, le=1000)] = 100

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min_nodes <= self.desired_nodes <= self.max_nodes:
            raise ValueError(
                f"min_nodes {self.min_nodes} ≤ desired_nodes {self.desired_nodes} ≤ "
                f"max_nodes {self.max_nodes} does not hold"
            )
        return self


class InfrastructureSettings(Settings):
    """The stack in AWS."""

    # prefix of every resource name
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,18}$")] = "gpu-e2e"
    # version of the control plane; use one in standard support
    kubernetes_version: Annotated[str, Field(pattern=r"^1\.\d\d$")] = "1.35"
    zones: Annotated[int, Field(ge=2, le=3)] = 2  # of the cluster; GPU nodes may be in any
    nat_per_zone: bool = False  # one NAT gateway per zone instead of one for all zones
    # who may reach the cluster's API; empty means this machine's own address
    api_cidr: Annotated[str, Field(pattern=r"^(|(\d{1,3}\.){3}\d{1,3}/\d{1,2})$")] = ""
    cpu_instance_types: Annotated[tuple[str, ...], Field(min_length=1)] = ("t3.large", "t3a.large")
    gpu: GpuNodeSettings = GpuNodeSettings()
    # after this time a schedule inside AWS scales the GPU nodes to zero
    ttl_hours: Annotated[float, Field(gt=0, le=24)] = 4.0
    # limit of the account-wide budget and of the billing alarm, US dollars
    budget_usd: Annotated[float, Field(gt=0)] = 5.0
    # receives notifications; empty: no notifications
    alert_email: Annotated[str, Field(pattern=r"^(|[^@\s]+@[^@\s]+)$")] = ""
    state_bucket: str = ""  # S3 bucket for Terraform's state; empty keeps it in the run's folder
    override_readiness: bool = False  # create resources even if a readiness check fails


class EvidenceSettings(Settings):
    """What the page says of its author; empty shows nothing."""

    author: str = ""
    url: Annotated[str, Field(pattern=r"^(|https://\S+)$")] = ""  # of the repository or a home page


class ClusterSettings(Settings):
    """How the cluster is reached, and the time-outs of its steps."""

    context: str = ""  # context of the user's own kubeconfig; empty means the run's own stack
    poll_s: Annotated[float, Field(ge=0.05, le=30)] = 1.0  # seconds between two polls of a resource
    nodes_s: Seconds = 900.0  # time-out for nodes to be Ready
    gpu_s: Seconds = 600.0  # time-out for GPUs to be allocatable
    release_s: Seconds = 600.0  # time-out for a Helm release of the lock file to take effect
    # time-out for Triton's rollout: image pull and model load on a new node
    rollout_s: Seconds = 1200.0
    balancer_s: Seconds = 600.0  # time-out for a load balancer with healthy targets
    scan_s: Seconds = 600.0  # time-out for the registry's scan of the image


class Profile(Settings):
    """Everything a run may choose."""

    name: Name  # the profile's name; the file is `profiles/<name>.yaml`
    target: Target  # where the run happens
    # AWS region of the stack (the emulator plays the same one)
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
    tags: dict[str, str]  # put on every resource of the run
    kpis: Kpis
    infrastructure: InfrastructureSettings = InfrastructureSettings()
    cluster: ClusterSettings = ClusterSettings()
    model: ModelSettings
    serving: ServingSettings
    telemetry: TelemetrySettings
    load: LoadSettings
    services: ServiceSettings
    evidence: EvidenceSettings = EvidenceSettings()

    @model_validator(mode="after")
    def _scenarios_fit(self) -> Self:
        """Scenarios use served models, and the KPIs use a scenario."""
        if self.serving.image == "codebuild" and self.target != "aws":
            raise ValueError("serving.image is 'codebuild', and only target aws has CodeBuild")
        served = {network.name for network in self.model.networks}
        for scenario in self.load.placed:
            in_cluster = scenario.control == "cluster"
            if in_cluster and self.target != "aws":
                raise ValueError(
                    f"the control of scenario '{scenario.name}' is cluster, "
                    "and only target aws has a cluster"
                )
            if scenario.model not in served:
                raise ValueError(
                    f"scenario '{scenario.name}' uses model '{scenario.model}', "
                    f"but the profile serves {', '.join(sorted(served))}"
                )
            if scenario.batch > self.serving.max_batch_size:
                raise ValueError(
                    f"scenario '{scenario.name}' sends batches of {scenario.batch}, "
                    f"but serving.max_batch_size is {self.serving.max_batch_size}"
                )
            if in_cluster and scenario.protocol == "https":
                raise ValueError(
                    f"scenario '{scenario.name}' uses https, which ends at the load balancer: "
                    "with control 'cluster', use http or grpc"
                )
        names = [scenario.name for scenario in self.load.scenarios]
        if len(set(names)) != len(names):
            raise ValueError(f"scenario names repeat: {', '.join(names)}")
        if self.kpis.scenario not in names:
            raise ValueError(
                f"kpis.scenario is '{self.kpis.scenario}', "
                f"but the profile has the scenarios {', '.join(names)}"
            )
        return self

    @property
    def system_nodes(self) -> dict[str, int]:
        """Nodes for system pods, one for each worker of a load too: `min`, `desired`, `max`."""
        workers = [each.workers for each in self.load.placed if each.control == "cluster"]
        return {"min": 1, "desired": 2, "max": max((2, *workers)) + 1}

    @classmethod
    def load_named(cls, name: str, settings: str = "") -> Self:
        """Read `profiles/<name>.yaml`, apply `settings`, and validate the result.

        Settings are comma-separated `key=value` pairs. A key is a dotted path; a list item is
        addressed by its `name` or its index, as in
        `load.scenarios.soak.phases.steady.rate=50, model.weights=random`. A Problem names what does
        not exist or is not allowed.
        """
        if name not in names():
            known = ", ".join(names())
            raise Problem(f"Profile '{name}' does not exist.", f"Choose one of: {known}.")
        where = f"Profile '{name}'"
        data = _read_yaml(PROFILES / f"{name}.yaml", where)
        if not isinstance(data, dict):
            raise Problem(f"{where} is empty or not a mapping.")
        for pair in filter(None, (part.strip() for part in settings.split(","))):
            _apply_setting(data, pair)
        return cls._validated(data, where)

    @classmethod
    def load_file(cls, path: Path) -> Self:
        """Read a profile that a run has stored; a Problem if it does not match this version."""
        where = f"The stored {path.name}"
        return cls._validated(_read_yaml(path, where), where)

    @classmethod
    def _validated(cls, data: Any, where: str) -> Self:
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise Problem(f"{where} is not valid: {validation_message(error)}.") from error

    def dump(self) -> str:
        """The profile as YAML, with every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def digest(self) -> str:
        """SHA-256 of `dump()`: equal digests mean equal choices."""
        return hashlib.sha256(self.dump().encode()).hexdigest()


def names() -> list[str]:
    """The names of all profiles."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def validation_message(error: ValidationError) -> str:
    """Which key is not valid, and why, in one sentence without its full stop."""
    messages = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "unknown key"
        elif item["type"] not in ("missing", "value_error"):  # these show their input already
            message = f"{message} (it is {item['input']!r:.60})"
        messages.append(f"{key}: {message}" if key else message)
    return "; ".join(messages)


def _read_yaml(path: Path, where: str) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except OSError as error:
        raise Problem(f"{where} cannot be read: {error}.") from error
    except yaml.YAMLError as error:
        text = " ".join(str(error).split())  # the parser reports its position on several lines
        raise Problem(f"{where} is not valid YAML: {text}.") from error


def _apply_setting(data: dict[str, Any], pair: str) -> None:
    """Change one key of a profile that has not been validated yet."""
    key, equals, value = pair.partition("=")
    if not equals:
        raise Problem(f"The setting '{pair}' has no value.", "Write it as key=value.")
    *parents, leaf = key.strip().split(".")
    place: Any = data
    for step in parents:
        items: dict[str, Any] = place if isinstance(place, dict) else {}
        if isinstance(place, list):
            items = {str(index): item for index, item in enumerate(place)}
            items |= {str(item.get("name")): item for item in place if isinstance(item, dict)}
        place = items.get(step)
        if not isinstance(place, dict | list):
            raise Problem(f"The setting '{key}' does not exist: there is no '{step}'.")
    if isinstance(place, list):
        raise Problem(f"The setting '{key}' replaces a whole list item; name one of its keys.")
    try:
        place[leaf] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise Problem(f"The value of '{key}' is not valid YAML: {value.strip()}.") from error
