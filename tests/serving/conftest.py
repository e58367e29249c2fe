"""One exported pair of networks and one real Triton for the tests of this room."""

from collections.abc import Iterator

import pytest

from helpers import processes
from helpers.profile import Profile
from helpers.run import Run
from helpers.serving import models, triton
from helpers.serving.records import Endpoint, Models


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, profile: Profile) -> Iterator[Run]:
    """A run that several tests read; whatever it starts is stopped."""
    made = Run.create(profile, tmp_path_factory.mktemp("serving"))
    yield made
    processes.down(made)


@pytest.fixture(scope="session")
def exported(shared: Run) -> Models:
    """The networks of the quick profile."""
    return models.prepare(shared)


@pytest.fixture(scope="session")
def endpoint(shared: Run, exported: Models) -> Endpoint:
    """A real Triton that serves them."""
    return triton.serve(shared)


@pytest.fixture
def prepared(run: Run, exported: Models) -> Run:
    """A run of the test's own, with the networks exported and nothing served."""
    run.save(exported)
    return run
