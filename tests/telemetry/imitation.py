"""A scrape target in the place of Triton, and the Prometheus that watches it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, start_http_server

from helpers import processes
from helpers.run import Run
from helpers.serving.records import Endpoint
from helpers.telemetry.prometheus_api import Prometheus


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


@dataclass
class Watched:
    """A run whose Prometheus watches the target; a test may start it again."""

    run: Run
    endpoint: Endpoint
    server: Prometheus
    took_s: float
