"""Check that a Prometheus that scrapes real Triton answers every query of every dashboard.

A rehearsal without a GPU, or without a stack, has no data for some queries. Prometheus reads those
too, and would refuse one that is wrong; they are CHECKED, not measured.
"""

import time
from datetime import UTC, datetime

import numpy as np
import pandas as pd
from tritonclient.utils import InferenceServerException

from helpers.cloud.stack import Stack
from helpers.errors import Problem, Unavailable
from helpers.run import Run
from helpers.serving import smoke
from helpers.serving.records import Endpoint, Models
from helpers.telemetry import dashboards, series, snapshots
from helpers.telemetry.access import Access
from helpers.telemetry.catalogue import NO_GPU, SERIES
from helpers.telemetry.prometheus import gpu_absence
from helpers.telemetry.prometheus_api import Prometheus
from helpers.telemetry.records import CHECKED, DashboardFacts, Dashboards
from helpers.telemetry.series import NO_PROMETHEUS, Window
from model.export import open_session, random_images

OF_STACK = {SERIES[name].absence for name in ("burn", "hours_left")}
LOAD_S = 8.0  # rates need several scrapes
SCRAPES_AFTER_LOAD = 3
PICTURES = "dashboards/proof"


def check(run: Run, endpoint: Endpoint, access: Access) -> Dashboards:
    """Evaluate every query of every dashboard while Triton answers, draw them, and record it.

    Raises:
        Unavailable: There is no Prometheus on this machine.
        Problem: Triton or Prometheus does not answer, or a query is rejected.
    """
    server = access.prometheus
    if server is None:
        raise Unavailable(NO_PROMETHEUS)
    window, requests = load_window(run, endpoint)
    lacking = set() if run.find(Stack) else set(OF_STACK)
    if access.cluster is None and gpu_absence(server):
        lacking.add(NO_GPU)
    return evaluate(run, server, window, lacking, requests)


def evaluate(
    run: Run, server: Prometheus, window: Window, lacking: set[str], requests: int
) -> Dashboards:
    """Evaluate every query over a window, draw the dashboards, and record what was answered.

    `lacking` are the absences of series that this run cannot have.
    """
    values = series.read(server, window)
    answered, facts = set(values["series"]), []
    for board in dashboards.build(run.profile.kpis):
        data = snapshots.DashboardData(board, window, values)
        snapshots.draw(run, data, folder=PICTURES)
        shown = [(f"{panel.title} ({letter})", series) for panel in board.panels
                 for letter, series in zip("ABC", panel.series, strict=False)]  # fmt: skip
        missing = {name: wanted.absence for name, wanted in shown if wanted.name not in answered}
        absent = {name: f"{CHECKED}: {why}" if why in lacking else why
                  for name, why in missing.items()}  # fmt: skip
        facts.append(DashboardFacts(
            name=board.name, title=board.title, panels=len(board.panels), queries=len(shown),
            answered=sum(wanted.name in answered for _, wanted in shown), values=data.count(),
            absent=absent,
        ))  # fmt: skip
    reasons = dict.fromkeys(why for board in facts for why in board.absent.values())
    return run.save(Dashboards(
        prometheus=server.version(), requests=requests, note="; ".join(reasons),
        boards=tuple(facts),
    ))  # fmt: skip


def frame(record: Dashboards) -> pd.DataFrame:
    """One row per dashboard."""
    rows = [(board.title, board.panels, board.queries, board.answered, board.values,
             "; ".join(f"{what}: {why}" for what, why in board.absent.items()))
            for board in record.boards]  # fmt: skip
    columns = ["Dashboard", "Panels", "Queries", "Answered", "Values", "Without a value"]
    return pd.DataFrame(rows, columns=columns)


def load_window(run: Run, endpoint: Endpoint) -> tuple[Window, int]:
    """Send requests to every model for some seconds; returns the window and the answers' number."""
    start, interval = datetime.now(UTC), run.profile.telemetry.scrape_interval_s
    deadline, count = time.monotonic() + LOAD_S, 0
    generator = np.random.default_rng()
    inputs = {
        model.name: random_images(open_session(model.onnx_file()), 1, generator)
        for model in run.load(Models).models
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
