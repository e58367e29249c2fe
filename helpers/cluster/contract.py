"""`k8s/contract.yaml`: GPU taint, label, namespaces and ports that Terraform and charts share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from helpers.errors import Problem
from helpers.paths import ROOT
from helpers.profile import validation_message
from helpers.scenario import Settings

CONTRACT = ROOT / "k8s" / "contract.yaml"
Port = Annotated[int, Field(ge=1, le=65_535)]
DnsLabel = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)]


class _Part(Settings):
    """The file writes camelCase, as Helm's values do."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Taint(_Part):
    """The taint of the GPU nodes."""

    key: str
    value: str
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]

    @property
    def toleration(self) -> dict[str, str]:
        """The toleration that lets a pod onto the tainted node."""
        return {**self.model_dump(), "operator": "Equal"}

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}"


class Label(_Part):
    """The label of the GPU nodes."""

    key: str
    value: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


class Gpu(_Part):
    """GPU nodes and what a pod asks of them."""

    taint: Taint  # keeps other pods away
    label: Label  # draws Triton's pods
    resource: str  # name of the extended resource
    per_node: Annotated[int, Field(ge=1)]  # GPUs of the first instance type
    per_pod: Annotated[int, Field(ge=1)]  # GPUs of one pod of Triton, as request and as limit
    instance_types: Annotated[tuple[str, ...], Field(min_length=1)]  # first choice first


class Namespaces(_Part):
    """Where things run."""

    triton: DnsLabel
    monitoring: DnsLabel
    system: DnsLabel
    load: DnsLabel


class ServiceAccounts(_Part):
    """Service accounts that take an AWS role (IRSA)."""

    triton: DnsLabel
    alb_controller: DnsLabel
    cluster_autoscaler: DnsLabel


class Ports(_Part):
    """Triton's ports."""

    http: Port
    grpc: Port
    metrics: Port


class ModelFolder(_Part):
    """Where models lie in the artifact bucket."""

    prefix: str


class Contract(_Part):
    """The whole of `k8s/contract.yaml`."""

    gpu: Gpu
    namespaces: Namespaces
    service_accounts: ServiceAccounts
    ports: Ports
    models: ModelFolder


def load(path: Path = CONTRACT) -> Contract:
    """Read the contract."""
    with reading(path):
        return Contract.model_validate(yaml.safe_load(path.read_text()))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what is wrong with a file of `k8s/` into one sentence."""
    try:
        yield
    except (OSError, yaml.YAMLError) as error:
        raise Problem(f"{path.name} cannot be read: {error}.") from error
    except ValidationError as error:
        raise Problem(f"{path.name} is not valid: {validation_message(error)}.") from error
