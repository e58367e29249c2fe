"""A profile: everything a run may choose, in one typed schema."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from helpers.errors import Problem
from helpers.paths import PROFILES
from helpers.scenario import Kpis, LoadSettings, Name, Seconds, Settings

Target = Literal["rehearsal", "aws"]
LABEL: dict[Target, str] = {
    "rehearsal": "REHEARSAL: this machine only, no cloud account; figures are not GPU figures.",
    "aws": "AWS: real resources that cost money until stage 06 has removed them.",
}


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


class ModelSettings(Settings):
    """Networks, and where their weights come from.

    `auto` takes pretrained weights where they are on disk or can be downloaded and seeded
    random ones elsewhere; `pretrained` refuses to go on without; `random` never looks.
    """

    networks: Annotated[tuple[Network, ...], Field(min_length=1)]
    weights: Literal["auto", "pretrained", "random"] = "auto"
    seed: Annotated[int, Field(ge=0)] = 0


class ServingSettings(Settings):
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


class TelemetrySettings(Settings):
    """How often is looked, and where Prometheus listens."""

    scrape_interval_s: Annotated[float, Field(ge=0.5, le=60)] = 1.0
    prometheus_port: Port = 0


class ServiceSettings(Settings):
    """Local processes: how long one may live when nobody stops it."""

    ttl_minutes: Annotated[float, Field(gt=0, le=24 * 60)] = 120.0


class GpuNodeSettings(Settings):
    """The GPU node group; taint, label and instance types stand in `k8s/contract.yaml`.

    Attributes:
        capacity: `spot-capped` is an Auto Scaling group of its own, whose price cap AWS enforces;
            `managed-spot` is an EKS node group, which knows no cap.
        max_price_usd: Most that an hour of one node may cost, US dollars.
        min_nodes: Fewest nodes.
        desired_nodes: Nodes to begin with.
        max_nodes: Most nodes the autoscaler may have.
        disk_gib: Root disk; Triton's image alone fills 20.
    """

    capacity: Literal["spot-capped", "managed-spot"] = "spot-capped"
    max_price_usd: Annotated[float, Field(gt=0, le=5)] = 0.30
    min_nodes: Annotated[int, Field(ge=0, le=4)] = 0
    desired_nodes: Annotated[int, Field(ge=0, le=4)] = 1
    max_nodes: Annotated[int, Field(ge=1, le=4)] = 2
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
    """The stack in AWS.

    Attributes:
        name: Prefix of everything that is created.
        kubernetes_version: Of the control plane; one in standard support.
        zones: How many availability zones.
        nat_per_zone: One NAT gateway a zone instead of one for all.
        api_cidr: Who may reach the cluster's API; empty means this machine's own address.
        cpu_instance_types: Nodes for system pods.
        gpu: The GPU node group.
        ttl_hours: After so long a schedule inside AWS scales the GPU nodes to zero.
        budget_usd: Limit of the account-wide budget and of the billing alarm, US dollars.
        alert_email: Who is told; empty tells nobody.
        state_bucket: S3 bucket of Terraform's state; empty keeps it in the run's folder.
        override_readiness: Create resources though the readiness report is not green.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,18}$")] = "gpu-e2e"
    kubernetes_version: Annotated[str, Field(pattern=r"^1\.\d\d$")] = "1.35"
    zones: Annotated[int, Field(ge=2, le=3)] = 2
    nat_per_zone: bool = False
    api_cidr: Annotated[str, Field(pattern=r"^(|(\d{1,3}\.){3}\d{1,3}/\d{1,2})$")] = ""
    cpu_instance_types: Annotated[tuple[str, ...], Field(min_length=1)] = ("t3.large", "t3a.large")
    gpu: GpuNodeSettings = GpuNodeSettings()
    ttl_hours: Annotated[float, Field(gt=0, le=24)] = 4.0
    budget_usd: Annotated[float, Field(gt=0)] = 5.0
    alert_email: Annotated[str, Field(pattern=r"^(|[^@\s]+@[^@\s]+)$")] = ""
    state_bucket: str = ""
    override_readiness: bool = False


class ClusterSettings(Settings):
    """How the cluster is reached, and how long each of its steps may take.

    Attributes:
        context: Context of the user's own kubeconfig; empty means the run's own stack.
        poll_s: Seconds between two looks while something is waited for.
        nodes_s: Until the nodes are Ready.
        gpu_s: Until the GPUs are allocatable.
        release_s: Until a release of the lock file has done what it is installed for.
        rollout_s: Until Triton is rolled out: image pull and model load on a fresh node.
        balancer_s: Until the load balancer exists and its targets are healthy.
        scan_s: Until the registry has scanned the image.
    """

    context: str = ""
    poll_s: Annotated[float, Field(ge=0.05, le=30)] = 1.0
    nodes_s: Seconds = 900.0
    gpu_s: Seconds = 600.0
    release_s: Seconds = 600.0
    rollout_s: Seconds = 1200.0
    balancer_s: Seconds = 600.0
    scan_s: Seconds = 600.0


class Profile(Settings):
    """Everything a run may choose.

    Attributes:
        name: The profile's name; the file is `profiles/<name>.yaml`.
        target: Where the run happens.
        region: AWS region of the stack (the emulator plays the same one).
        tags: Put on every resource of the run.
    """

    name: Name
    target: Target
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
    tags: dict[str, str]
    kpis: Kpis
    infrastructure: InfrastructureSettings = InfrastructureSettings()
    cluster: ClusterSettings = ClusterSettings()
    model: ModelSettings
    serving: ServingSettings
    telemetry: TelemetrySettings
    load: LoadSettings
    services: ServiceSettings

    @model_validator(mode="after")
    def _names_refer_to_something(self) -> Self:
        served = {network.name for network in self.model.networks}
        for scenario in self.load.scenarios:
            if scenario.model not in served:
                raise ValueError(
                    f"scenario '{scenario.name}' fires at model '{scenario.model}', "
                    f"but the profile serves {', '.join(sorted(served))}"
                )
            if scenario.batch > self.serving.max_batch_size:
                raise ValueError(
                    f"scenario '{scenario.name}' sends batches of {scenario.batch}, "
                    f"but serving.max_batch_size is {self.serving.max_batch_size}"
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

    @model_validator(mode="after")
    def _pods_have_a_cluster(self) -> Self:
        if self.load.control == "cluster":
            if self.target != "aws":
                raise ValueError("load.control is 'cluster', and only target aws has a cluster")
            for scenario in self.load.scenarios:
                if scenario.protocol == "https":
                    raise ValueError(
                        f"scenario '{scenario.name}' wants https, which ends at the load balancer: "
                        "with load.control 'cluster' give it http or grpc"
                    )
        return self

    @classmethod
    def load_named(cls, name: str, settings: str = "") -> Self:
        """Read `profiles/<name>.yaml`, change what `settings` says, and check the whole.

        Args:
            name: The profile's name, without folder or ending.
            settings: Comma-separated `key=value` pairs; a key is a dotted path, and an item
                of a list is named by its `name` or its number, as in
                `load.scenarios.soak.phases.steady.rate=50, model.weights=random`.

        Raises:
            Problem: The profile or a key does not exist, or a value is not allowed.
        """
        return cls._checked(changed(named(name), settings), f"Profile '{name}'")

    @classmethod
    def load_file(cls, path: Path) -> Self:
        """Read a profile as a run stored it.

        Raises:
            Problem: The file is missing or does not fit this version's schema.
        """
        return cls._checked(stored(path), f"The stored {path.name}")

    @classmethod
    def _checked(cls, data: Any, where: str) -> Self:
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise Problem(f"{where} is not valid: {validation_message(error)}.") from error

    def dump(self) -> str:
        """The profile as YAML, every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def digest(self) -> str:
        """SHA-256 of `dump()`: equal digests mean equal choices."""
        return hashlib.sha256(self.dump().encode()).hexdigest()


def names() -> list[str]:
    """The profiles there are."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def named(name: str) -> dict[str, Any]:
    """What `profiles/<name>.yaml` holds, unchecked.

    Raises:
        Problem: There is no such profile, or it is no mapping in YAML.
    """
    if name not in names():
        raise Problem(f"Profile '{name}' does not exist.", f"Choose one of: {', '.join(names())}.")
    try:
        data = yaml.safe_load((PROFILES / f"{name}.yaml").read_text())
    except yaml.YAMLError as error:
        raise Problem(f"Profile '{name}' is not valid YAML: {_flat(error)}.") from error
    if not isinstance(data, dict):
        raise Problem(f"Profile '{name}' is empty or not a mapping.")
    return data


def stored(path: Path) -> Any:
    """What a run has stored as its profile, unchecked.

    Raises:
        Problem: The file is missing, or is no YAML.
    """
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise Problem(
            f"The profile {path.name} of the run cannot be read: {_flat(error)}."
        ) from error


def _flat(error: Exception) -> str:
    """A parser says where it stopped on lines of its own."""
    return " ".join(str(error).split())


def changed(data: dict[str, Any], settings: str) -> dict[str, Any]:
    """The profile with what the settings say in place.

    Args:
        data: A profile as its file holds it; it is changed.
        settings: Comma-separated `key=value` pairs, as `Profile.load_named` takes them.

    Raises:
        Problem: A pair has no value, or its key leads nowhere.
    """
    for pair in filter(None, (part.strip() for part in settings.split(","))):
        key, equals, value = pair.partition("=")
        if not equals:
            raise Problem(f"The setting '{pair}' has no value.", "Write it as key=value.")
        *parents, leaf = key.strip().split(".")
        place: Any = data
        for step in parents:
            place = _step(place, step, key)
        if isinstance(place, list):
            raise Problem(f"The setting '{key}' replaces a whole item; name one of its keys.")
        place[leaf] = _value(key, value)
    return data


def _value(key: str, value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise Problem(f"The value of '{key}' is not valid YAML: {value.strip()}.") from error


def _step(place: Any, step: str, key: str) -> Any:
    if isinstance(place, list):
        for number, item in enumerate(place):
            if isinstance(item, dict) and step in (str(number), item.get("name")):
                return item
    elif isinstance(place, dict) and isinstance(place.get(step), dict | list):
        return place[step]
    raise Problem(f"The setting '{key}' does not exist: nothing is called '{step}'.")


# what was given is unknown, absent, or in the text already
_WITHOUT_INPUT = ("extra_forbidden", "missing", "value_error")


def validation_message(error: ValidationError) -> str:
    """What is not valid, and where, in one sentence without its full stop."""
    return "; ".join(_fault(item) for item in error.errors())


def _fault(item: ErrorDetails) -> str:
    where = ".".join(str(part) for part in item["loc"])
    what = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        what = "unknown key"
    if item["type"] not in _WITHOUT_INPUT:
        what = f"{what} (it is {item['input']!r:.60})"
    return f"{where}: {what}" if where else what
