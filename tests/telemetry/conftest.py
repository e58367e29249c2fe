"""Runs whose marks differ: processes of two runs of the same minute must not be confused."""

import time
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from helpers import processes
from helpers.profile import Profile
from helpers.run import Run
from helpers.telemetry import prometheus
from tests.listening import listening

from . import history
from .grafana_server import GrafanaServer
from .history import History
from .imitation import Watched, imitate


@pytest.fixture(scope="session")
def new_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Run]]:
    """Makes a run of profile `quick` with the settings given; whatever it starts is stopped."""
    made: list[Run] = []

    def make(settings: str) -> Run:
        profile = Profile.load_named("quick", settings)
        folder = Run.create(profile, tmp_path_factory.mktemp("outputs")).folder
        made.append(Run(folder.rename(folder.with_name(f"test-{uuid4().hex}")), profile))
        return made[-1]

    yield make
    for run in made:
        processes.down(run)


@pytest.fixture
def server() -> Iterator[GrafanaServer]:
    """A Grafana on a port of its own."""
    with listening(GrafanaServer()) as server:
        yield server


@pytest.fixture
def run(new_run: Callable[[str], Run]) -> Run:
    """A new run."""
    return new_run("")


@pytest.fixture(scope="session")
def past(new_run: Callable[[str], Run]) -> History:
    """A Prometheus that holds six hours of known samples."""
    return history.serve(new_run(""))


@pytest.fixture(scope="session")
def watched(new_run: Callable[[str], Run]) -> Iterator[Watched]:
    """The Prometheus of all tests, which watches a target in the place of Triton."""
    with imitate() as endpoint:
        run, began = new_run("telemetry.scrape_interval_s=0.5"), time.monotonic()
        server = prometheus.serve(run, endpoint)
        yield Watched(run, endpoint, server, time.monotonic() - began)
