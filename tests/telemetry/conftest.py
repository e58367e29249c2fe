"""Runs whose marks differ: processes of two runs of the same minute must not be confused.

A scrape target stands in the place of Triton.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry, start_http_server
from werkzeug.serving import make_server

from helpers import processes
from helpers.profile import Profile
from helpers.run import Run
from helpers.serving.records import Endpoint
from helpers.telemetry import prometheus
from helpers.telemetry.prometheus_api import Prometheus
from tests.listening import listening

from . import history
from .grafana_server import GrafanaServer
from .history import History


@contextmanager
def imitate() -> Iterator[Endpoint]:
    """A target without series on a port of its own."""
    port = processes.free_port()
    http, _ = start_http_server(port, addr="127.0.0.1", registry=CollectorRegistry())
    yield endpoint_on(port)
    http.shutdown()
    http.server_close()


def endpoint_on(port: int) -> Endpoint:
    base = f"http://127.0.0.1:{port}"
    return Endpoint(http=base, grpc="", metrics=f"{base}/metrics", server="imitation")


class Watched(NamedTuple):
    """A run whose Prometheus watches the target."""

    run: Run
    endpoint: Endpoint
    server: Prometheus


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
    grafana = GrafanaServer()
    with listening(make_server("127.0.0.1", 0, grafana, threaded=True)) as server:
        grafana.url = f"http://127.0.0.1:{server.port}"
        yield grafana


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
        run = new_run("telemetry.scrape_interval_s=0.5")
        yield Watched(run, endpoint, prometheus.serve(run, endpoint))
