"""The emulated account inside this process: boto3's requests never leave it."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber

from helpers.cloud.account import Account
from helpers.rehearsal.moto_extension import NOT_EMULATED, NOT_IMPLEMENTED
from helpers.rehearsal.server import without_user_settings
from helpers.rehearsal.world import WORLD, World
from tests.emulated.cost_explorer import COSTS, Costs
from tests.emulated.faults import Faults
from tests.emulated.recording import Line, watched


@dataclass
class Emulated:
    """An emulated account, and the handles to change it."""

    account: Account
    world: World
    costs: Costs
    faults: Faults
    calls: list[Line] = field(default_factory=list)


@contextmanager
def installed() -> Iterator[Emulated]:
    """An empty emulated account in us-east-1 for the length of a `with`."""
    WORLD.become(World())
    COSTS.become(Costs())
    aws = Emulated(Account("us-east-1"), WORLD, COSTS, Faults())
    with ExitStack() as stack:
        for (owner, name), method in watched(aws.calls.append, aws.faults).items():
            stack.enter_context(patch.object(owner, name, method))
        clean = without_user_settings(os.environ)
        stack.enter_context(patch.dict(os.environ, clean, clear=True))
        # a throttled request is sent again at once
        no_wait = SimpleNamespace(sleep=lambda _seconds: None)
        stack.enter_context(patch("botocore.endpoint.time", no_wait))
        stack.enter_context(patch.object(BotocoreStubber, "process_request", _process_request))
        stack.enter_context(mock_aws())
        yield aws


_ask_moto = BotocoreStubber.process_request


def _process_request(stubber: BotocoreStubber, request: Any) -> Any:
    """Moto lets requests to services that it does not know out of the process; here none leaves."""
    answer = _ask_moto(stubber, request)
    if answer is not None and answer[2] != "Not yet implemented":
        return answer
    refused = {"__type": NOT_EMULATED, "message": f"The emulator does not answer {request.url}."}
    headers = {"Content-Type": "application/json", "X-Amzn-ErrorType": NOT_EMULATED}
    return NOT_IMPLEMENTED, headers, json.dumps(refused)
