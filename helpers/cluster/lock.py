"""`k8s/releases.yaml`: what is installed into the cluster, in which version and order."""

from pathlib import Path
from typing import Any, Literal, Self

import jinja2
import yaml
from pydantic import ValidationError

from helpers.cluster.contract import CONTRACT
from helpers.errors import Problem
from helpers.paths import ROOT
from helpers.profile import validation_message
from helpers.scenario import Settings

K8S = ROOT / "k8s"
LOCK = K8S / "releases.yaml"


class Wait(Settings):
    """What has to come about before the next release begins.

    Attributes:
        kind: Of the object, such as `Deployment`.
        name: Of the object.
        until: Its state, such as `available`.
    """

    kind: str
    name: str
    until: str


class Daemon(Settings):
    """A DaemonSet that a release brings.

    Attributes:
        name: Its name.
        nodes: Where it runs: `gpu` (the contract's label) or `every`.
        resources: Path to its resources in our values file.
    """

    name: str
    nodes: Literal["gpu", "every"]
    resources: str = "resources"


class Namespace(Settings):
    """A namespace and its labels."""

    name: str
    labels: dict[str, str]


class Secret(Settings):
    """A Secret that is made with random values where it says `random`."""

    name: str
    namespace: str
    keys: dict[str, str]


class Release(Settings):
    """One release.

    Attributes:
        name: Of the release, and of its values file.
        stage: The stage that installs it.
        chart: Its name in the repository, or its folder in `k8s/`.
        version: Of the chart; empty for our own.
        repository: URL (`https://` or `oci://`); empty for our own.
        digest: `sha256:…` of the packaged chart; None where it is not known.
        digest_from: Where the digest was had; empty where there is none.
        contents: `sha256:…` of what is in it (`charts.contents`), where the archive's is not known.
        unproven: Why it is not known.
        namespace: Where it goes.
        reason: What it is for.
        waits: What has to come about before the next one.
        daemons: The DaemonSets that take room of the nodes.
    """

    name: str
    stage: Literal["02", "03", "04"]
    chart: str
    version: str = ""
    repository: str = ""
    digest: str | None = None
    digest_from: Literal["", "computed", "its repository's index", "other projects' locks"] = ""
    contents: str = ""
    unproven: str = ""
    namespace: str
    reason: str
    waits: tuple[Wait, ...] = ()
    daemons: tuple[Daemon, ...] = ()

    @property
    def own(self) -> bool:
        """Whether the chart is this repository's."""
        return not self.repository

    @property
    def label(self) -> str:
        """Chart and version, as people read it."""
        return f"{self.chart} {self.version}".strip()


class Lock(Settings):
    """The whole of `k8s/releases.yaml`."""

    namespaces: tuple[Namespace, ...]
    secrets: tuple[Secret, ...] = ()
    releases: tuple[Release, ...]

    def of_stage(self, stage: str) -> tuple[Release, ...]:
        """The upstream releases of a stage, in order."""
        return tuple(one for one in self.releases if one.stage == stage and not one.own)

    def named(self, name: str) -> Release:
        """The release of this name.

        Raises:
            Problem: There is none.
        """
        for one in self.releases:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in self.releases)
        raise Problem(f"k8s/releases.yaml has no release '{name}'.", f"It has {known}.")

    @classmethod
    def load(cls, path: Path = LOCK) -> Self:
        """Read the lock file, filled from the contract.

        Raises:
            Problem: It cannot be read, or a key is missing, unknown or wrong.
        """
        try:
            text = fill(path, {"contract": yaml.safe_load(CONTRACT.read_text())})
            return cls.model_validate(yaml.safe_load(text))
        except (OSError, yaml.YAMLError) as error:
            raise Problem(f"{path.name} cannot be read: {error}.") from error
        except ValidationError as error:
            raise Problem(f"{path.name} is not valid: {validation_message(error)}.") from error


def fill(path: Path, facts: dict[str, Any]) -> str:
    """A template of `k8s/`, filled.

    Raises:
        Problem: It asks for something that is not among the facts.
    """
    strict = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    try:
        return strict.from_string(path.read_text()).render(facts)
    except jinja2.UndefinedError as error:
        raise Problem(
            f"{path.name} cannot be filled: {error.message}.",
            "Run the stage before (01 gives the stack's outputs, 03 the image).",
        ) from error
    except jinja2.TemplateError as error:
        raise Problem(f"{path.name} is not a valid template: {error}.") from error
