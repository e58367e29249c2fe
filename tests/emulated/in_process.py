"""The emulated account inside this process: boto3's requests never leave it."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from unittest.mock import patch

from moto import mock_aws

from helpers.cloud.account import Account
from helpers.rehearsal.server import without_user_settings
from helpers.rehearsal.world import WORLD, World
from tests.emulated.cost_explorer import COSTS, Costs
from tests.emulated.faults import Faults
from tests.emulated.recording import Line, watched


@dataclass
class Emulated:
    """An emulated account, and the handles to change it.

    Attributes:
        account: What the code under test is given.
        world: What the account is like.
        costs: What Cost Explorer knows.
        faults: What goes wrong in it.
        calls: What was asked for.
    """

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
        stack.enter_context(mock_aws())
        yield aws
