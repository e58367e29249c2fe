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
    """The real terraform."""
    found = programs.find("terraform")
    if found is None:
        pytest.skip("there is no terraform here: 'make setup' names the way to one")
    return found


@pytest.fixture(scope="session")
def stack(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """`infra/`, initialised."""
    return _initialised(Terraform(program, INFRA, tmp_path_factory.mktemp("stack")))


@pytest.fixture(scope="session")
def bootstrap(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """`infra/bootstrap/`, initialised."""
    return _initialised(Terraform(program, BOOTSTRAP, tmp_path_factory.mktemp("bootstrap")))


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An empty emulated account."""
    with emulated.serving(tmp_path_factory.mktemp("emulator")) as aws:
        yield aws.account


@pytest.fixture(scope="session")
def planned(
    stack: Terraform, account: Account, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The plan of the whole stack, as JSON."""
    emulated = replace(stack, extra=account.environment)
    return emulated.plan(EXAMPLE, tmp_path_factory.mktemp("plan"))


@pytest.fixture(scope="session")
def deployer(
    bootstrap: Terraform, account: Account, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The plan of the bootstrap, as JSON."""
    emulated = replace(bootstrap, extra=account.environment)
    return emulated.plan(TRUSTED, tmp_path_factory.mktemp("plan"))


def _initialised(terraform: Terraform) -> Terraform:
    done = terraform.init()
    assert done.returncode == 0, done.stderr
    return terraform
