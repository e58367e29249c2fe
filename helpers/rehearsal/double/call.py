"""What an added operation is given, and how it refuses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from moto.backends import get_backend

from helpers.rehearsal.double.world import ACCOUNT_ID, World


@dataclass(frozen=True)
class Call:
    """One call of an operation that the double answers itself.

    Attributes:
        params: The operation's input, under botocore's names.
        region: Where.
        key: Access key of the caller.
        world: What the account is like.
    """

    params: Mapping[str, Any]
    region: str
    key: str
    world: World

    def backend(self, service: str, region: str = "") -> Any:
        """Moto's own memory of a service; `aws` is the region of those that have none."""
        return get_backend(service)[ACCOUNT_ID][region or self.region]  # type: ignore[call-overload]


# None leaves the answer to moto.
Operation = Callable[[Call], Any]
Operations = Mapping[str, Operation]


class Refusal(Exception):
    """An operation refuses, as AWS would.

    Args:
        code: Error code of the service's model.
        message: What it says.
        status: HTTP status.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status
