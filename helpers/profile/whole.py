"""The whole profile: its parts, and what must fit between them."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from helpers.errors import Problem
from helpers.profile import files
from helpers.profile.measuring import Kpis, Load
from helpers.profile.messages import sentence
from helpers.profile.overriding import changed
from helpers.profile.serving import Model, Services, Serving, Telemetry
from helpers.profile.stack import Cluster, Infrastructure
from helpers.profile.target import Target
from helpers.scenario import Name, Settings


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
    infrastructure: Infrastructure = Infrastructure()
    cluster: Cluster = Cluster()
    model: Model
    serving: Serving
    telemetry: Telemetry
    load: Load
    services: Services

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
        return cls._checked(changed(files.named(name), settings), f"Profile '{name}'")

    @classmethod
    def load_file(cls, path: Path) -> Self:
        """Read a profile as a run stored it.

        Raises:
            Problem: The file is missing or does not fit this version's schema.
        """
        return cls._checked(files.stored(path), f"The stored {path.name}")

    @classmethod
    def _checked(cls, data: Any, where: str) -> Self:
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise Problem(f"{where} is not valid: {sentence(error)}.") from error

    def dump(self) -> str:
        """The profile as YAML, every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def digest(self) -> str:
        """SHA-256 of `dump()`: equal digests mean equal choices."""
        return hashlib.sha256(self.dump().encode()).hexdigest()
