"""AWS calls that are given as data: templates filled, pages followed, throttling waited out."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jmespath
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ConfigDict, Field

from helpers.cloud import account as accounts
from helpers.cloud.account import Account, asking
from helpers.errors import Problem
from helpers.scenario import Settings

# after botocore's own tries; a scan lists more in a minute than a person does in a day
PAUSES_S = (1.0, 2.0, 4.0, 8.0)
UNTAGGED = "NoSuchTagSet"
EXAMPLE_ACCOUNT = "123456789012"  # of AWS's own documentation


class Ask(Settings):
    """A call that answers with a list.

    Attributes:
        call: Name of the boto3 method.
        arguments: Its arguments, as templates.
        items: Where the list is in the answer, or in each page of it (JMESPath).
    """

    model_config = ConfigDict(populate_by_name=True)
    call: str
    arguments: dict[str, Any] = Field(default={}, alias="with")
    items: str


@dataclass(frozen=True)
class Caller:
    """Who asks, and where.

    Attributes:
        account: Where calls go.
        account_id: Twelve digits.
        arn: The caller's own name.
        sleep: How throttling is waited out.
    """

    account: Account
    account_id: str
    arn: str
    sleep: Callable[[float], None] = time.sleep
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, account: Account, sleep: Callable[[float], None] = time.sleep) -> "Caller":
        """Ask AWS who calls.

        Raises:
            Problem: The credentials are missing or have expired, or AWS cannot be reached.
        """
        found = accounts.identity(account)
        return cls(account, found.account_id, found.arn, sleep)

    @property
    def masked_arn(self) -> str:
        """The caller's name without the account's number."""
        return mask(self.arn, self.account_id)

    def client(self, service: str, region: str) -> Any:
        """A client; each is made once."""
        key = (service, region)
        if key not in self._clients:
            self._clients[key] = self.account.client(service, region)
        return self._clients[key]

    def rows(self, service: str, region: str, ask: Ask, facts: Mapping[str, Any]) -> list[Any]:
        """Every row of a list, over all pages.

        Raises:
            ClientError: AWS refuses.
            Problem: The credentials have expired, or AWS cannot be reached.
        """
        client = self.client(service, region)
        arguments = fill(ask.arguments, facts)
        path = jmespath.compile(ask.items)

        def listed() -> list[Any]:
            if client.can_paginate(ask.call):
                pages = client.get_paginator(ask.call).paginate(**arguments)
                return [row for page in pages for row in path.search(page) or []]
            found = path.search(getattr(client, ask.call)(**arguments)) or []
            return [found] if isinstance(found, dict) else list(found)

        return list(self._patiently(service, listed))

    def tags(self, service: str, region: str, ask: Ask, facts: Mapping[str, Any]) -> dict[str, str]:
        """Tags that have a call of their own.

        Raises:
            ClientError: As `rows`.
            Problem: As `rows`.
        """
        try:
            return tags_of(self.rows(service, region, ask, facts))
        except ClientError as error:
            if code(error) == UNTAGGED:
                return {}
            raise

    def do(self, service: str, region: str, call: str, arguments: dict[str, Any]) -> None:
        """Make a call for its effect.

        Raises:
            ClientError: As `rows`.
            Problem: As `rows`.
        """
        client = self.client(service, region)
        self._patiently(service, lambda: getattr(client, call)(**arguments))

    def _patiently(self, service: str, made: Callable[[], Any]) -> Any:
        for pause in PAUSES_S:
            try:
                return _once(service, made)
            except ClientError as error:
                if not is_throttled(error):
                    raise
                self.sleep(pause)
        return _once(service, made)


def _once(service: str, made: Callable[[], Any]) -> Any:
    """One try; what no further call can get past is a Problem."""
    try:
        return made()
    except ClientError as error:
        if code(error) in (*accounts.EXPIRED, *accounts.UNKNOWN_KEY):
            raise accounts.refusal(service, error) from error
        raise
    except BotoCoreError:
        with asking(service):
            raise
        raise


def code(error: ClientError) -> str:
    """AWS's code for what it refused."""
    return str(error.response["Error"]["Code"])


def is_throttled(error: ClientError) -> bool:
    """Whether the same call may succeed later."""
    return code(error) in accounts.THROTTLED or "throttl" in code(error).lower()


def is_denied(error: ClientError) -> bool:
    """Whether the caller lacks the permission."""
    return code(error) in accounts.DENIED


def is_gone(error: ClientError) -> bool:
    """Whether what was asked about is not there any more.

    >>> is_gone(ClientError({"Error": {"Code": "InvalidVpcID.NotFound"}}, "DescribeVpcs"))
    True
    """
    return any(part in code(error) for part in ("NotFound", "NoSuch", "NonExistent"))


def sentence(error: ClientError | Problem) -> str:
    """What AWS refused, in a few words."""
    if isinstance(error, Problem):
        return str(error)
    said = str(error.response["Error"].get("Message", "")).rstrip(".")
    return f"{error.operation_name}: {code(error)}{f' ({said})' if said else ''}"


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
        case other:
            return other


def tags_of(said: Any) -> dict[str, str]:
    """Tags in any of the shapes that AWS has for them.

    >>> tags_of([{"TagKey": "run", "TagValue": "a"}]), tags_of([{"run": "a"}]), tags_of(None)
    ({'run': 'a'}, {'run': 'a'}, {})
    """
    if isinstance(said, dict):
        return {str(key): str(value) for key, value in said.items()}
    found: dict[str, str] = {}
    for one in said or []:
        key = next((one[name] for name in ("Key", "TagKey", "key") if name in one), None)
        value = next((one[name] for name in ("Value", "TagValue", "value") if name in one), "")
        found |= {str(key): str(value)} if key is not None else tags_of(one)
    return found


def mask(text: str, account_id: str) -> str:
    """A text without the account's number; AWS's own example number may be read by anyone."""
    return text if account_id == EXAMPLE_ACCOUNT else text.replace(account_id, accounts.MASK)
