"""The kinds of AWS resources (`kinds.yaml`): how each is listed, identified and removed."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jmespath
import yaml
from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ConfigDict, Field

from helpers.cloud.account import (
    LASTING,
    MASK,
    Account,
    asking,
    error_code,
    identity,
    is_not_found,
)
from helpers.scenario import Settings

HOME = "home"
EXAMPLE_ACCOUNT = "123456789012"  # of AWS's own documentation: never masked
CLI_NAMES = {"s3": "s3api"}
OWN_ACCOUNT = "$(aws sts get-caller-identity --query Account --output text)"


class ApiCall(Settings):
    """A call of boto3: the method's name, and its arguments as templates."""

    model_config = ConfigDict(populate_by_name=True)
    call: str
    arguments: dict[str, Any] = Field(default={}, alias="with")


class ListCall(ApiCall):
    """A call that answers with a list."""

    items: str  # where the list is in the answer, or in each page of it (JMESPath)


class RemovalStep(ApiCall):
    """A call of a removal; with `each`, one for every row of that list, as {each[0]}."""

    each: ListCall | None = None


class Kind(Settings):
    """One kind of resource; `kinds.yaml` explains the fields."""

    kind: str
    service: str
    regions: tuple[str, ...] = (HOME,)
    list: ListCall
    within: str = ""
    detail: ListCall | None = None
    id: str
    name: str = ""
    tags: str | ListCall | None = None
    vpc: str = ""
    state: str = ""
    ended: tuple[str, ...] = ()
    leaving: tuple[str, ...] = ()
    remove: tuple[RemovalStep, ...]


@cache
def kinds() -> tuple[Kind, ...]:
    """Every kind, in the order in which they can be removed."""
    rows = yaml.safe_load(Path(__file__).with_name("kinds.yaml").read_text())
    return tuple(map(Kind.model_validate, rows))


def kind_named(name: str) -> Kind:
    """The kind of this name."""
    return next(kind for kind in kinds() if kind.kind == name)


@dataclass(frozen=True)
class Caller:
    """Who calls, and where: makes calls that are given as data."""

    account: Account
    account_id: str
    arn: str
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False)

    @classmethod
    def identify(cls, account: Account) -> "Caller":
        """Ask AWS who calls."""
        who = identity(account)
        return cls(account, who.account_id, who.arn)

    def client(self, service: str, region: str) -> Any:
        """A client; each is made once."""
        if (service, region) not in self._clients:
            self._clients[service, region] = self.account.client(service, region)
        return self._clients[service, region]

    def rows(
        self, service: str, region: str, wanted: ListCall, facts: Mapping[str, Any]
    ) -> list[Any]:
        """Every row of all pages; a ClientError where AWS refuses, else a Problem."""
        client, path = self.client(service, region), jmespath.compile(wanted.items)
        arguments = fill(wanted.arguments, facts)
        with _fatal(service):
            if client.can_paginate(wanted.call):
                pages = client.get_paginator(wanted.call).paginate(**arguments)
                return [row for page in pages for row in path.search(page) or []]
            answer = path.search(getattr(client, wanted.call)(**arguments)) or []
        return [answer] if isinstance(answer, dict) else list(answer)


@contextmanager
def _fatal(service: str) -> Iterator[None]:
    """Make a Problem of an error that no other call can avoid."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        if isinstance(error, ClientError) and error_code(error) not in LASTING:
            raise
        with asking(service):
            raise


@dataclass(frozen=True)
class Item:
    """One listed resource of any owner."""

    kind: Kind
    region: str
    # for the templates of its kind: id, name, parent, vpc, item, account, region
    facts: Mapping[str, Any]
    state: str  # empty where it has none
    id: str
    ended: bool  # whether it no longer exists, except for its name
    leaving: bool  # whether it is being removed

    def tags(self, caller: Caller) -> dict[str, str] | None:
        """Its tags as they are now; None where its kind has none; raises as `Caller.rows`."""
        tags = self.kind.tags
        if not isinstance(tags, ListCall):
            return None if tags is None else tag_dict(jmespath.search(tags, self.facts["item"]))
        try:
            return tag_dict(caller.rows(self.kind.service, self.region, tags, self.facts))
        except ClientError as error:
            if error_code(error) == "NoSuchTagSet":
                return {}
            raise


def list_items(caller: Caller, kind: Kind, region: str, parent: str = "") -> list[Item]:
    """All resources of a kind, of any owner; raises as `Caller.rows`."""
    place = {"account": caller.account_id, "region": region, "parent": parent}
    details = caller.rows(kind.service, region, kind.list, place)
    if kind.detail:
        rows, details = details, []
        for row in rows:
            try:
                details += caller.rows(kind.service, region, kind.detail, {**place, "id": row})
            except ClientError as error:
                if not is_not_found(error):  # it may go while it is looked at
                    raise
    items = []
    for item in details:
        name, vpc, state = (
            str((path and jmespath.search(path, item)) or "")
            for path in (kind.name, kind.vpc, kind.state)
        )
        identifier = str(jmespath.search(kind.id, item))
        name = name if kind.name else re.split("[/:]", identifier)[-1]
        facts = {**place, "id": identifier, "name": name, "vpc": vpc, "item": item}
        ended, leaving = state in kind.ended, state in kind.leaving
        items.append(Item(kind, region, facts, state, identifier, ended, leaving))
    return items


def remove_item(caller: Caller, item: Item) -> None:
    """Make the calls that remove a resource; raises as `Caller.rows`."""
    service, region = item.kind.service, item.region
    for step in item.kind.remove:
        for row in caller.rows(service, region, step.each, item.facts) if step.each else [()]:
            arguments = fill(step.arguments, {**item.facts, "each": row})
            with _fatal(service):
                getattr(caller.client(service, region), step.call)(**arguments)


def fill(template: Any, facts: Mapping[str, Any]) -> Any:
    """Fill a template of any shape.

    >>> fill({"Ids": ["{id}"], "Force": True}, {"id": "vpc-1"})
    {'Ids': ['vpc-1'], 'Force': True}
    """
    match template:
        case str():
            return template.format_map(facts)
        case dict():
            return {key: fill(value, facts) for key, value in template.items()}
        case list():
            return [fill(value, facts) for value in template]
    return template


def tag_dict(tags: Any) -> dict[str, str]:
    """Tags in any of the shapes that AWS has for them.

    >>> tag_dict([{"TagKey": "run", "TagValue": "a"}]), tag_dict([{"run": "a"}]), tag_dict(None)
    ({'run': 'a'}, {'run': 'a'}, {})
    """
    if isinstance(tags, dict):
        return {str(key): str(value) for key, value in tags.items()}
    result: dict[str, str] = {}
    for tag in tags or []:
        pair = {name.lower().removeprefix("tag"): value for name, value in tag.items()}
        result |= {str(pair["key"]): str(pair.get("value", ""))} if "key" in pair else tag_dict(tag)
    return result


def mask_account(text: str, account_id: str) -> str:
    """A text without the account's number."""
    return text if account_id == EXAMPLE_ACCOUNT else text.replace(account_id, MASK)


def removal_command(caller: Caller, item: Item) -> str:
    """The AWS CLI command, one line, that removes a resource, without the account's number."""
    kind, account_id, where = item.kind, caller.account_id, ["--region", item.region]
    if caller.account.emulated:
        where += ["--endpoint-url", caller.account.endpoint]
    lines = []
    for step in kind.remove:
        # the list at the end of its path gives the number of fields of a row
        width = step.each.items.rpartition("[")[2].count(",") + 1 if step.each else 0
        names = [f"each{place}" for place in range(width)]
        facts = {**item.facts, "each": [f"${name}" for name in names]}
        words = _cli(kind.service, step.call, fill(step.arguments, facts), account_id)
        line = " ".join([*words, *where])
        if step.each:
            words = _cli(kind.service, step.each.call, fill(step.each.arguments, facts), account_id)
            words += ["--query", shlex.quote(step.each.items), "--output", "text", *where]
            line = (
                f"{' '.join(words)} | while IFS=$'\\t' read -r {' '.join(names)}; "
                f"do {line} </dev/null || break; done"
            )
        lines.append(line)
    return " && ".join(lines)


def _cli(service: str, call: str, arguments: Mapping[str, Any], account_id: str) -> list[str]:
    words = ["aws", CLI_NAMES.get(service, service), call.replace("_", "-")]
    for name, value in arguments.items():
        words.append(f"--{xform_name(name, '-')}")
        match value:
            case True:
                pass
            case list() if all(isinstance(item, str) for item in value):
                words += [_quoted(item, account_id) for item in value]
            case _:
                text = json.dumps(value) if isinstance(value, list | dict) else str(value)
                words.append(_quoted(text, account_id))
    return words


def _quoted(value: str, account_id: str) -> str:
    """A word that the shell takes as it is, except for our variables and the account."""
    if value.startswith("$each"):
        return f'"{value}"'
    if account_id != EXAMPLE_ACCOUNT and account_id in value:
        return f'"{value.replace(account_id, OWN_ACCOUNT)}"'
    return shlex.quote(value)
