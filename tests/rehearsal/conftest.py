"""An emulated account for each test, and a server that all tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.rehearsal import double, emulator


@pytest.fixture
def aws() -> Iterator[double.Double]:
    """An empty account in this process."""
    with double.installed() as installed:
        yield installed


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[emulator.Emulator]:
    with emulator.serving(Path(tmp_path_factory.mktemp("aws"))) as running:
        yield running


@pytest.fixture
def server(_server: emulator.Emulator) -> emulator.Emulator:
    """An empty account behind a server."""
    _server.reset()
    return _server
