"""Listed resources: what AWS's answers say of each, whoever it belongs to."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jmespath
from botocore.exceptions import ClientError

from helpers.cloud.leftovers.calls import Ask, Caller, is_gone, tags_of
from helpers.cloud.leftovers.kinds import Kind


@dataclass(frozen=True)
class Item:
    """One listed resource.

    Attributes:
        kind: Its kind.
        region: Where it is.
        facts: What the templates of its kind know: id, name, parent, vpc, item, account, region.
        state: Its state; empty where it has none.
    """

    kind: Kind
    region: str
    facts: Mapping[str, Any]
    state: str

    @property
    def id(self) -> str:
        """Its identifier."""
        return str(self.facts["id"])

    @property
    def ended(self) -> bool:
        """Whether it is gone but for its name."""
        return self.state in self.kind.ended

    @property
    def leaving(self) -> bool:
        """Whether it is on its way out."""
        return self.state in self.kind.leaving

    def tags(self, caller: Caller) -> dict[str, str] | None:
        """Its tags as they are now; None where its kind has none of its own.

        Raises:
            ClientError: AWS refuses.
        """
        match self.kind.tags:
            case None:
                return None
            case Ask() as ask:
                return caller.tags(self.kind.service, self.region, ask, self.facts)
            case path:
                return tags_of(jmespath.search(path, self.facts["item"]))


def listed(caller: Caller, one: Kind, region: str, parent: str = "") -> list[Item]:
    """Everything of a kind, whoever it belongs to.

    Raises:
        ClientError: AWS refuses.
        Problem: The credentials have expired, or AWS cannot be reached.
    """
    place = {"account": caller.account_id, "region": region, "parent": parent}
    rows = caller.rows(one.service, region, one.list, place)
    return [item for row in rows for item in _items(caller, one, region, place, row)]


def _items(
    caller: Caller, one: Kind, region: str, place: dict[str, str], row: Any
) -> Iterator[Item]:
    """The item of a row; none where the detail says that it is gone, or not of the kind."""
    rows = [row]
    if one.detail:
        try:
            rows = caller.rows(one.service, region, one.detail, {**place, "id": row})
        except ClientError as error:
            if not is_gone(error):
                raise
            rows = []
    for item in rows:
        identity = str(jmespath.search(one.id, item))
        name = jmespath.search(one.name, item) if one.name else re.split("[/:]", identity)[-1]
        vpc = jmespath.search(one.vpc, item) if one.vpc else ""
        state = jmespath.search(one.state, item) if one.state else ""
        facts = {**place, "id": identity, "name": name or "", "vpc": vpc or "", "item": item}
        yield Item(one, region, facts, str(state or ""))
