"""An emulated account for each test, and a server that all tests share."""

from collections.abc import Iterator

import pytest

from tests import emulated


@pytest.fixture
def aws() -> Iterator[emulated.Emulated]:
    """An empty account in this process."""
    with emulated.installed() as installed:
        yield installed


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[emulated.Emulator]:
    with emulated.serving(tmp_path_factory.mktemp("aws")) as running:
        yield running


@pytest.fixture
def server(_server: emulated.Emulator) -> emulated.Emulator:
    """An empty account behind a server."""
    _server.reset()
    return _server
