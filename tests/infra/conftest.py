"""The stack's code, initialised once, and its plan against the emulator."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers import programs
from helpers.cloud.account import Account
from tests import emulated
from tests.infra.terraform import BOOTSTRAP, EXAMPLE, INFRA, TRUSTED, Terraform


@pytest.fixture(scope="session")
def program() -> Path:
    path = programs.find("terraform")
    if path is None:
        pytest.skip("there is no terraform here: 'make setup' names the way to one")
    return path


@pytest.fixture(scope="session")
def stack(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    return Terraform(program, INFRA, tmp_path_factory.mktemp("stack")).init()


@pytest.fixture(scope="session")
def bootstrap(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    return Terraform(program, BOOTSTRAP, tmp_path_factory.mktemp("bootstrap")).init()


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An empty emulated account."""
    with emulated.serving(tmp_path_factory.mktemp("emulator")) as aws:
        yield aws.account


@pytest.fixture(scope="session")
def planned(stack: Terraform, account: Account) -> dict[str, Any]:
    """The plan of the whole stack, as JSON."""
    return replace(stack, extra=account.environment).plan(EXAMPLE)


@pytest.fixture(scope="session")
def deployer(bootstrap: Terraform, account: Account) -> dict[str, Any]:
    """The plan of the bootstrap, as JSON."""
    return replace(bootstrap, extra=account.environment).plan(TRUSTED)
