"""Proof that every dashboard's every query is answered, by a Prometheus that scrapes a real Triton.

In a rehearsal that is a second, short-lived Prometheus, for two reasons. Where there is no GPU,
GPU and node series come from exposition text that the DCGM exporter documents, and such figures
must never reach the Prometheus that measures. And Triton's series get labels of a pod, so that
the variables `namespace` and `pod`, and the join of load and GPU, are tried as in the cluster.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import numpy as np
import pandas as pd
from tritonclient.utils import InferenceServerException

from helpers import processes, programs
from helpers.errors import Problem
from helpers.run import Run
from helpers.serving import smoke
from helpers.serving.endpoint import Endpoint
from helpers.telemetry import answers, board, dashboards, exposition, instance, pictures
from helpers.telemetry.access import Access
from helpers.telemetry.answers import Answers, Window
from helpers.telemetry.instance import Place
from helpers.telemetry.report import BoardFacts, Dashboards
from helpers.telemetry.server import Server

# where the machine has a GPU of its own, its series must not mix with the documented ones
PLACE = Place("prometheus-proof", dropped="sampler;(DCGM_.*|gpu_e2e_gpu_info)")
EXPOSITION, DCGM = "exposition", "dcgm-exporter"
POD = {"namespace": "triton", "pod": "triton-0"}  # as in the documented exposition
LOAD_S = 8.0  # rates need a few scrapes
SETTLE_S = 3.0
SCRAPES = 4  # so many make a rate


def of(run: Run, endpoint: Endpoint, access: Access) -> Dashboards:
    """Prove the dashboards where the run happens.

    On AWS the cluster's own Prometheus answers; nothing there is documented instead of measured.

    Args:
        run: The run.
        endpoint: Its Triton.
        access: Whom it can ask.

    Raises:
        Unavailable: There is no Prometheus here.
        Problem: Something does not start or is not scraped, or a query is refused.
    """
    if access.grafana is None or access.server is None:
        return prove(run, endpoint)
    begin = datetime.now(UTC)
    asked = keep_busy(run, endpoint, LOAD_S)
    interval = run.profile.telemetry.scrape_interval_s
    time.sleep(SCRAPES * interval)
    return record(run, access.server, Window(begin, datetime.now(UTC), interval), requests=asked)


def prove(run: Run, endpoint: Endpoint) -> Dashboards:
    """Ask every query of every dashboard while Triton answers, draw them, and record it.

    Args:
        run: The run.
        endpoint: Its Triton.

    Raises:
        Unavailable: There is no Prometheus here.
        Problem: Something does not start or is not scraped, or a query is refused.
    """
    with watching(run, endpoint) as server:
        begin = datetime.now(UTC)
        asked = keep_busy(run, endpoint, LOAD_S)
        time.sleep(max(SETTLE_S, 2 * run.profile.telemetry.scrape_interval_s))
        window = Window(begin, datetime.now(UTC), run.profile.telemetry.scrape_interval_s)
        note = exposition.NOT_MEASURED
        return record(run, server, window, note=note, requests=asked)


def record(
    run: Run, server: Server, window: Window, *, note: str = "", requests: int = 0
) -> Dashboards:
    """Ask every query of every dashboard over a time, draw them, and record what was answered.

    Args:
        run: The run.
        server: The Prometheus.
        window: The time.
        note: What a reader must know of the data.
        requests: How many requests Triton was sent meanwhile.

    Raises:
        Problem: Prometheus does not answer, or refuses a query.
    """
    facts = []
    for name, found in every(run, server, window, note=note).items():
        pictures.draw(run, name, found, place=f"{pictures.FOLDER}/proof")
        facts.append(_facts(name, found))
    proved = Dashboards(
        prometheus=server.version(), requests=requests, note=note, boards=tuple(facts)
    )
    run.save(proved)
    return proved


def every(run: Run, server: Server, window: Window, *, note: str = "") -> dict[str, Answers]:
    """Each dashboard with the targets of the run's profile, asked over a time; by name.

    Raises:
        Problem: Prometheus does not answer, or refuses a query.
    """
    return {
        name: answers.ask(server, board.read(text), window, note=note)
        for name, text in dashboards.build(run.profile.kpis).items()
    }


def frame(proved: Dashboards) -> pd.DataFrame:
    """One row a dashboard, for people."""
    return pd.DataFrame(
        {
            "Dashboard": one.title,
            "Panels": one.panels,
            "Queries": one.queries,
            "Answered": one.answered,
            "Values": one.values,
            "Without a value": "; ".join(f"{what}: {why}" for what, why in one.absent.items()),
        }
        for one in proved.boards
    )


@contextmanager
def watching(run: Run, endpoint: Endpoint) -> Iterator[Server]:
    """A Prometheus of its own that scrapes Triton, the sampler and the documented exposition.

    Raises:
        Unavailable: There is no Prometheus here.
        Problem: Something does not start, or a target is not up.
    """
    program = programs.need(instance.PROMETHEUS)
    try:
        wanted = {
            instance.TRITON: (endpoint.metrics, POD),
            instance.SAMPLER: (instance.sample(run), {}),
            DCGM: (_expose(run), {}),
        }
        instance.point(run, PLACE, wanted)
        timer = time.time() + run.profile.infrastructure.ttl_hours * 3600
        server = instance.launch(run, PLACE, program, expires=timer)
        addresses = {job: url for job, (url, _) in wanted.items()}
        errors = instance.await_targets(server, addresses, instance.TARGETS_TIMEOUT_S)
        if down := {job: error for job, error in errors.items() if error}:
            told = "; ".join(f"{job}: {error}" for job, error in down.items())
            raise Problem(f"The dashboards cannot be proved, a target is down: {told}.")
        yield server
    finally:
        processes.stop(run, PLACE.service)
        processes.stop(run, EXPOSITION)


def keep_busy(run: Run, endpoint: Endpoint, seconds: float) -> int:
    """Ask every model again and again for so long; returns how many requests were answered.

    Raises:
        Problem: Triton does not answer.
    """
    until, count = time.monotonic() + seconds, 0
    inputs = {
        one.name: np.zeros((1, 3, one.image_size, one.image_size), dtype=np.float32)
        for one in run.profile.model.networks
    }
    while time.monotonic() < until:
        for model, images in inputs.items():
            try:
                smoke.over_http(endpoint, model, images)
            except (InferenceServerException, OSError) as error:
                raise Problem(f"Triton does not answer for {model}: {error}.") from error
            count += 1
    return count


def _expose(run: Run) -> str:
    port = processes.free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    module = exposition.__name__
    processes.start(
        run,
        EXPOSITION,
        [sys.executable, "-m", module, "--port", str(port), exposition.DCGM],
        ports={"http": port},
        ready=lambda: processes.answers(url),
        timeout_s=instance.START_TIMEOUT_S,
        program=module,
    )
    return url


def _facts(name: str, found: Answers) -> BoardFacts:
    queries = sum(len(panel.queries) for panel in found.board.panels)
    absent = found.unanswered()
    return BoardFacts(
        name=name,
        title=found.board.title,
        panels=len(found.board.panels),
        queries=queries,
        answered=queries - len(absent),
        values=len(found.table),
        absent=absent,
    )
