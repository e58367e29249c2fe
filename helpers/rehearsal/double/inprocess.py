"""The double inside this process: boto3's requests never leave it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.request import normalize_request

from helpers.cloud.account import Account
from helpers.rehearsal.double.faults import Faults
from helpers.rehearsal.double.gate import Gate, not_emulated
from helpers.rehearsal.double.mended import mend
from helpers.rehearsal.double.recording import Line, line_of
from helpers.rehearsal.double.world import World
from helpers.rehearsal.surroundings import without_users_settings


@dataclass
class Double:
    """An emulated account, and the handles to change it.

    Attributes:
        account: What the code under test is given.
        world: What the account is like.
        faults: What goes wrong in it.
        calls: What was asked for.
    """

    account: Account
    world: World
    faults: Faults
    calls: list[Line] = field(default_factory=list)


@contextmanager
def installed() -> Iterator[Double]:
    """An empty emulated account in us-east-1 for the length of a `with`."""
    mend()
    double = Double(Account("us-east-1"), World(), Faults())
    gate = Gate(double.world, double.faults, lambda asked: double.calls.append(line_of(asked)))
    ask_moto = BotocoreStubber.process_request

    def process(stubber: BotocoreStubber, request: Any) -> Any:
        asked, answer = gate.pass_through(normalize_request(request))
        if answer is not None:
            return answer
        try:
            return ask_moto(stubber, request)
        except NotImplementedError:
            if asked is None:
                raise
            return not_emulated(asked)

    with (
        patch.dict(os.environ, without_users_settings(os.environ), clear=True),
        patch("botocore.endpoint.time", SimpleNamespace(sleep=_no_wait)),
        patch.object(BotocoreStubber, "process_request", process),
        mock_aws(),
    ):
        yield double


def _no_wait(_seconds: float) -> None:
    """A throttled request is sent again at once."""
