"""Proof that every query of every dashboard is answered by a Prometheus that scrapes real Triton.

In a rehearsal this is a second, short-lived Prometheus, for two reasons. Without a GPU the GPU and
node series are sample data, which must never reach the Prometheus that measures. And Triton's
series get the labels of a pod, so that the variables `namespace` and `pod`, and the join of load
and GPU, are tested as in the cluster.

Functions raise `Unavailable` if this machine has no Prometheus, and `Problem` if a process does not
start or is not scraped, or a query is rejected.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
from tritonclient.utils import InferenceServerException

from helpers import processes
from helpers.errors import Problem
from helpers.run import Run
from helpers.serving import smoke
from helpers.serving.records import Endpoint
from helpers.telemetry import dashboards, prometheus, series, snapshots
from helpers.telemetry.access import Access
from helpers.telemetry.prometheus_api import Prometheus
from helpers.telemetry.records import DashboardFacts, Dashboards
from helpers.telemetry.series import Window

SERVICE = "prometheus-proof"
SAMPLE_DATA = Path(__file__).parent / "recorded" / "dcgm.prom"
NOT_MEASURED = (
    "GPU and node series: SAMPLE DATA in the DCGM exporter's documented format, not measured"
)
EXPORTER = "dcgm-exporter"
# on a machine with a GPU, its series must not mix with the sample data
DROPPED = "sampler;(DCGM_.*|gpu_e2e_gpu_info)"
POD = {"namespace": "triton", "pod": "triton-0"}  # as in the sample data
LOAD_S = 8.0  # rates need several scrapes
SCRAPES_AFTER_LOAD = 3
PICTURES = "dashboards/proof"


def check(run: Run, endpoint: Endpoint, access: Access) -> Dashboards:
    """Evaluate every query of every dashboard while Triton answers, draw them, and record it.

    On AWS the cluster's own Prometheus is used, with no sample data.
    """
    if access.cluster is not None and access.prometheus is not None:
        window, requests = load_window(run, endpoint)
        return evaluate(run, access.prometheus, window, requests=requests)
    with second_prometheus(run, endpoint) as server:
        window, requests = load_window(run, endpoint)
        return evaluate(run, server, window, note=NOT_MEASURED, requests=requests)


def evaluate(
    run: Run, server: Prometheus, window: Window, *, note: str = "", requests: int = 0
) -> Dashboards:
    """Evaluate every query over a window, draw the dashboards, and record what was answered."""
    values = series.read(server, window)
    facts = []
    for board in dashboards.build(run.profile.kpis):
        data = snapshots.DashboardData(board, window, values, note)
        snapshots.draw(run, data, folder=PICTURES)
        queries = sum(len(panel.series) for panel in board.panels)
        absent = data.absent()
        facts.append(DashboardFacts(
            name=board.name, title=board.title, panels=len(board.panels), queries=queries,
            answered=queries - len(absent), values=data.count(), absent=absent,
        ))  # fmt: skip
    version, boards = server.version(), tuple(facts)
    return run.save(Dashboards(prometheus=version, requests=requests, note=note, boards=boards))


def frame(record: Dashboards) -> pd.DataFrame:
    """One row per dashboard."""
    rows = [(board.title, board.panels, board.queries, board.answered, board.values,
             "; ".join(f"{what}: {why}" for what, why in board.absent.items()))
            for board in record.boards]  # fmt: skip
    columns = ["Dashboard", "Panels", "Queries", "Answered", "Values", "Without a value"]
    return pd.DataFrame(rows, columns=columns)


@contextmanager
def second_prometheus(run: Run, endpoint: Endpoint) -> Iterator[Prometheus]:
    """A separate Prometheus that scrapes Triton, the sampler and the sample data."""
    with _exporter() as url:
        try:
            jobs = {
                prometheus.TRITON: endpoint.metrics,
                prometheus.SAMPLER: prometheus.start_sampler(run),
                EXPORTER: url,
            }
            expires = time.time() + run.profile.infrastructure.ttl_hours * 3600
            added = {prometheus.TRITON: POD}
            server = prometheus.start(
                run, SERVICE, jobs, added=added, dropped=DROPPED, expires=expires
            )
            prometheus.wait_for_targets(server, jobs)
            yield server
        finally:
            processes.stop(run, SERVICE)


def load_window(run: Run, endpoint: Endpoint) -> tuple[Window, int]:
    """Send requests to every model for some seconds; returns the window and the answers' number."""
    start, interval = datetime.now(UTC), run.profile.telemetry.scrape_interval_s
    deadline, count = time.monotonic() + LOAD_S, 0
    inputs = {
        model.name: np.zeros((1, 3, model.image_size, model.image_size), dtype=np.float32)
        for model in run.profile.model.networks
    }
    while time.monotonic() < deadline:
        for model, images in inputs.items():
            try:
                smoke.over_http(endpoint, model, images)
            except (InferenceServerException, OSError) as error:
                raise Problem(f"Triton does not answer for {model}: {error}.") from error
            count += 1
    time.sleep(SCRAPES_AFTER_LOAD * interval)
    return Window(start, datetime.now(UTC), interval), count


class _Metrics(SimpleHTTPRequestHandler):
    extensions_map = {".prom": "text/plain; version=0.0.4"}  # noqa: RUF012

    def log_message(self, *_: object) -> None:
        """A line per scrape would be noise."""


@contextmanager
def _exporter() -> Iterator[str]:
    """Serve the sample data on this machine, as an exporter would; gives its URL."""
    handler = partial(_Metrics, directory=str(SAMPLE_DATA.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/{SAMPLE_DATA.name}"
        finally:
            server.shutdown()
