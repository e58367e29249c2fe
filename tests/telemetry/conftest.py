"""Runs whose marks differ: processes of two runs of the same minute must not be confused.

A file of tests has one Prometheus that watches an imitated Triton.
"""

import time
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from helpers import processes
from helpers.profile import Profile
from helpers.run import Run
from helpers.telemetry import prometheus

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
def run(new_run: Callable[[str], Run]) -> Run:
    """A new run."""
    return new_run("")


@pytest.fixture(scope="module")
def watched(new_run: Callable[[str], Run]) -> Iterator[Watched]:
    run, imitation = new_run("telemetry.scrape_interval_s=0.5"), imitate()
    try:
        began = time.monotonic()
        server = prometheus.serve(run, imitation.endpoint)
        yield Watched(run, imitation, server, time.monotonic() - began)
    finally:
        imitation.close()
