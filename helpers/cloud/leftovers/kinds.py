"""The kinds of resources that are looked for, and how each is listed, told apart and removed."""

from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from pydantic import ConfigDict, Field

from helpers.cloud.leftovers.calls import Ask
from helpers.scenario import Settings

HOME = "home"


class Step(Settings):
    """One call of a removal.

    Attributes:
        call: Name of the boto3 method.
        arguments: Its arguments, as templates.
        each: Another call; the step is made once for each of its rows, as {each[0]}.
    """

    model_config = ConfigDict(populate_by_name=True)
    call: str
    arguments: dict[str, Any] = Field(alias="with")
    each: Ask | None = None


class Kind(Settings):
    """One kind of resource; `kinds.yaml` explains the fields.

    Attributes:
        kind: What people call it.
        service: The boto3 service.
        regions: Where to look; `home` is the stack's region.
        list: How it is listed.
        within: The kind inside which it is listed; empty where it stands alone.
        detail: A call for what the list leaves out.
        id: Where the identifier is in an item (JMESPath).
        name: Where the name is; empty where the id's end is the name.
        tags: Where the tags are, or the call that tells them; None where it inherits them.
        vpc: Where the VPC is; empty where it has none.
        state: Where the state is; empty where it has none.
        ended: States in which it is no leftover.
        leaving: States after which it will be none.
        remove: Calls that remove it, in order.
    """

    kind: str
    service: str
    regions: tuple[str, ...] = (HOME,)
    list: Ask
    within: str = ""
    detail: Ask | None = None
    id: str
    name: str = ""
    tags: str | Ask | None = None
    vpc: str = ""
    state: str = ""
    ended: tuple[str, ...] = ()
    leaving: tuple[str, ...] = ()
    remove: tuple[Step, ...]

    def places(self, home: str) -> tuple[str, ...]:
        """The regions to look in, each once."""
        return tuple(dict.fromkeys(home if one == HOME else one for one in self.regions))


@cache
def kinds() -> tuple[Kind, ...]:
    """Every kind, in the order in which they can be removed."""
    text = (files(__package__) / "kinds.yaml").read_text()
    return tuple(Kind.model_validate(one) for one in yaml.safe_load(text))


def kind(name: str) -> Kind:
    """The kind of this name."""
    return next(one for one in kinds() if one.kind == name)
