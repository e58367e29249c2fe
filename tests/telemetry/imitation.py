"""A Triton that is imitated under its metrics' names, so that every true rate is known."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from helpers import processes
from helpers.run import Run
from helpers.serving.records import Endpoint
from helpers.telemetry.prometheus_api import Prometheus

# per second: 50 requests of 4 images, 25 executions; each request waits 3 ms, computes 8 ms
RATES = {
    "nv_inference_request_success": 50,
    "nv_inference_request_failure": 2,
    "nv_inference_count": 200,
    "nv_inference_exec_count": 25,
    "nv_inference_queue_duration_us": 50 * 3_000,
    "nv_inference_compute_input_duration_us": 50 * 500,
    "nv_inference_compute_infer_duration_us": 50 * 7_000,
    "nv_inference_compute_output_duration_us": 50 * 500,
}
TRUTH = {
    "requests": 50.0,
    "failures": 2.0,
    "error_share": 100 * 2 / 52,
    "inferences": 200.0,
    "queue_time": 3.0,
    "compute_time": 8.0,
    "batch_size": 8.0,
    "pending": 7.0,
}
GPU_BUSY, GPU_IDLE = 80.0, 10.0


class ImitatedTriton(Collector):
    """Counters that grow evenly with time, of a busy model and of one that nobody asks."""

    def __init__(self) -> None:
        self.begun = time.time()
        self.gpu = GPU_IDLE

    def collect(self) -> Iterable[Metric]:
        for name, rate in RATES.items():
            counter = GaugeMetricFamily(name, "As in Triton: no _total.", labels=["model"])
            counter.add_metric(["busy"], rate * (time.time() - self.begun))
            counter.add_metric(["idle"], 0)
            yield counter
        pending = GaugeMetricFamily(
            "nv_inference_pending_request_count", "Waiting.", labels=["model"]
        )
        pending.add_metric(["busy"], TRUTH["pending"])
        yield pending
        gpu = GaugeMetricFamily("DCGM_FI_DEV_GPU_UTIL", "Known GPU.", labels=["gpu"])
        gpu.add_metric(["0"], self.gpu)
        yield gpu


@contextmanager
def imitate() -> Iterator[tuple[ImitatedTriton, Endpoint]]:
    """An imitated Triton on a port of its own."""
    registry, triton = CollectorRegistry(), ImitatedTriton()
    registry.register(triton)
    port = processes.free_port()
    http, _ = start_http_server(port, addr="127.0.0.1", registry=registry)
    yield triton, endpoint_on(port)
    http.shutdown()
    http.server_close()


def endpoint_on(port: int) -> Endpoint:
    base = f"http://127.0.0.1:{port}"
    return Endpoint(http=base, grpc="", metrics=f"{base}/metrics", server="imitation")


@dataclass
class Watched:
    """A run whose Prometheus watches an imitated Triton; a test may start it again."""

    run: Run
    triton: ImitatedTriton
    endpoint: Endpoint
    server: Prometheus
    took_s: float
