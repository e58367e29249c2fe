"""Fixtures that several areas share."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import services
from helpers.profile import Profile
from helpers.run import Run

# A shell ignores Ctrl-C in what it starts in the background, and children inherit that; here
# children are interrupted on purpose.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def profile() -> Profile:
    """The smallest profile there is."""
    return Profile.load_named("quick")


@pytest.fixture
def run(tmp_path: Path, profile: Profile) -> Iterator[Run]:
    """A new run; whatever it starts is stopped."""
    made = Run.create(profile, tmp_path / "outputs")
    yield made
    services.down(made)
