"""A real Prometheus for a run: started with the sampler and pointed at Triton."""

from datetime import datetime

import pandas as pd

from helpers import processes, programs
from helpers.errors import Problem
from helpers.run import Run
from helpers.serving.endpoint import Endpoint
from helpers.telemetry import instance
from helpers.telemetry.instance import PROMETHEUS, SAMPLER, TARGETS_TIMEOUT_S, TRITON, Place
from helpers.telemetry.report import Targets
from helpers.telemetry.server import Server


def serve(run: Run, endpoint: Endpoint, *, timeout_s: float = TARGETS_TIMEOUT_S) -> Server:
    """Start the run's Prometheus and sampler, or find them running, and point them at Triton.

    A Prometheus that runs already follows to a Triton that moved; it is not restarted. The record
    `Targets` is saved also where a target is not up.

    Args:
        run: The run they belong to; data goes to its folder `prometheus/`.
        endpoint: The Triton to scrape.
        timeout_s: How long targets may take to be up, seconds.

    Raises:
        Unavailable: There is no Prometheus here.
        Problem: Something does not start, or a target is not up.
    """
    program = programs.need(PROMETHEUS)
    place = Place(PROMETHEUS, run.profile.telemetry.prometheus_port)
    wanted = {SAMPLER: instance.sample(run), TRITON: endpoint.metrics}
    instance.point(run, place, {job: (url, {}) for job, url in wanted.items()})
    server = instance.launch(run, place, program)
    errors = instance.await_targets(server, wanted, timeout_s)
    _save(run, server, {job: not error for job, error in errors.items()})
    for job, error in errors.items():
        if error:
            raise Problem(
                f"Prometheus cannot scrape {job} at {wanted[job]} "
                f"(tried for {timeout_s:g} s): {error}.",
                f"Check that {job} runs: its log is services/{job}.log of the run.",
            )
    return server


def targets(run: Run, server: Server | None = None) -> Targets:
    """What is scraped: asked anew where a Prometheus is running, else as it was saved.

    Args:
        run: The run.
        server: The cluster's Prometheus; None means the run's own.

    Raises:
        Problem: The run never had a Prometheus, or it does not answer.
    """
    if server is None:
        service = processes.find(run, PROMETHEUS)
        if service is None:
            return run.load(Targets)
        server = Server(instance.address(service))
    up: dict[str, bool] = {}
    for one in server.targets():  # of a job with several targets, all must be up
        up[one.job] = up.get(one.job, True) and one.health == "up"
    return _save(run, server, up)


def frame(found: Targets) -> pd.DataFrame:
    """What is scraped, for people."""
    facts = {
        "Prometheus": found.prometheus,
        "Scraped every": f"{found.scrape_interval_s:g} s",
        "Kept for": found.retention,
        "Series": f"{found.series:,}",
        **{f"Target {job}": "up" if is_up else "DOWN" for job, is_up in found.up.items()},
        "GPU": found.gpu,
    }
    return pd.DataFrame({"What": list(facts), "Found": list(facts.values())})


def gpu_absent(server: Server, at: datetime | None = None) -> str:
    """Why no GPU is sampled; empty where one is.

    Args:
        server: The Prometheus to ask.
        at: The moment to ask about; None means now.

    Raises:
        Problem: Prometheus cannot be reached.
    """
    found = server.query("gpu_e2e_gpu_info", at)
    if found.empty:
        return "no sampler reports on GPUs"
    return "" if found["state"].eq("present").any() else str(found["detail"].iloc[-1])


def _save(run: Run, server: Server, up: dict[str, bool]) -> Targets:
    record = Targets(
        prometheus=server.version(),
        up=up,
        scrape_interval_s=run.profile.telemetry.scrape_interval_s,
        gpu=_gpu(server),
        retention=server.retention(),
        series=server.series_count(),
    )
    run.save(record)
    return record


def _gpu(server: Server) -> str:
    if absent := gpu_absent(server):
        return f"none: {absent}"
    return str(server.query('gpu_e2e_gpu_info{state="present"}')["detail"].iloc[-1])
