"""A real Prometheus on this machine: started with the sampler and pointed at Triton.

Functions raise `Unavailable` if this machine has no Prometheus, and `Problem` if a process does not
start, a target is not up, or Prometheus does not answer.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import yaml

from helpers import processes, programs
from helpers.errors import Problem
from helpers.run import Run
from helpers.serving.records import Endpoint
from helpers.telemetry import rules
from helpers.telemetry.catalogue import duration
from helpers.telemetry.prometheus_api import Prometheus
from helpers.telemetry.records import Targets

PROMETHEUS, SAMPLER, TRITON = "prometheus", "sampler", "triton"
SAMPLER_MODULE = "helpers.telemetry.sampler"
START_TIMEOUT_S = 30.0
TARGETS_TIMEOUT_S = 30.0  # Prometheus applies changed targets only every 5 s
RETENTION = "1d"  # longer than a session can last


def serve(run: Run, endpoint: Endpoint, *, timeout_s: float = TARGETS_TIMEOUT_S) -> Prometheus:
    """Start the run's Prometheus and sampler, or find them running, and point them at Triton.

    A running Prometheus follows a Triton that moved without a restart. The record `Targets` is
    saved even if a target is not up.
    """
    programs.need(PROMETHEUS)

    def command(port: int) -> list[str | Path]:
        return [sys.executable, "-m", SAMPLER_MODULE, "--port", str(port), "--mark", run.mark]

    sampler = start_service(run, SAMPLER, command, "/metrics", program=SAMPLER_MODULE)
    jobs = {SAMPLER: f"{sampler}/metrics", TRITON: endpoint.metrics}
    server = _start(run, jobs)
    try:
        wait_for_targets(server, jobs, timeout_s)
    finally:
        targets(run, server)
    return server


def targets(run: Run, server: Prometheus | None) -> Targets:
    """What is scraped now, which is recorded; without a Prometheus, what was recorded last."""
    if server is None:
        return run.load(Targets)
    up: dict[str, bool] = {}
    for target in server.targets():  # all targets of a job must be up
        job = target["labels"]["job"]
        up[job] = up.get(job, True) and target["health"] == "up"
    if absence := gpu_absence(server):
        gpu = f"none: {absence}"
    else:
        gpu = str(server.query('gpu_e2e_gpu_info{state="present"}')["detail"].iloc[-1])
    interval_s = run.profile.telemetry.scrape_interval_s
    record = Targets(
        prometheus=server.version(), up=up, scrape_interval_s=interval_s, gpu=gpu,
        retention=server.retention(), series=server.series_count(),
    )  # fmt: skip
    return run.save(record)


def frame(record: Targets) -> pd.DataFrame:
    """What is scraped, as a table."""
    facts = {
        "Prometheus": record.prometheus,
        "Scrape interval": f"{record.scrape_interval_s:g} s",
        "Retention": record.retention,
        "Series": f"{record.series:,}",
        **{f"Target {job}": "up" if is_up else "DOWN" for job, is_up in record.up.items()},
        "GPU": record.gpu,
    }
    return pd.DataFrame({"What": list(facts), "Value": list(facts.values())})


def gpu_absence(server: Prometheus, at: datetime | None = None) -> str:
    """Why no GPU is sampled; empty if one is."""
    info = server.query("gpu_e2e_gpu_info", at)
    if info.empty:
        return "no sampler reports on GPUs"
    return "" if info["state"].eq("present").any() else str(info["detail"].iloc[-1])


def _start(run: Run, jobs: Mapping[str, str]) -> Prometheus:
    """Start a Prometheus with the rules and the run's facts, or find it running.

    `jobs` are names and addresses of metrics; a running one picks up changed jobs within seconds.
    """
    groups = []
    for name, url in jobs.items():
        parts = urlsplit(url)
        # a fixed instance name: a Triton that restarts on another port continues its series
        labels = {"job": name, "instance": name}
        labels |= {"__scheme__": parts.scheme, "__metrics_path__": parts.path or "/metrics"}
        groups.append({"targets": [parts.netloc], "labels": labels})
    discovered = run.write(f"{PROMETHEUS}/targets.json", json.dumps(groups, indent=2) + "\n")

    def command(port: int) -> list[str | Path]:
        facts = run.write(f"{PROMETHEUS}/facts.yaml", yaml.safe_dump(rules.run_facts(run)))
        every = duration(run.profile.telemetry.scrape_interval_s)
        intervals = ("scrape_interval", "scrape_timeout", "evaluation_interval")
        discovery = [{"files": [str(discovered.resolve())]}]
        configuration = {
            "global": dict.fromkeys(intervals, every),
            "rule_files": [str(rules.FOLDER / "*.yaml"), str(facts.resolve())],
            "scrape_configs": [{"job_name": "run", "file_sd_configs": discovery}],
        }
        file = run.write(f"{PROMETHEUS}/prometheus.yml", yaml.safe_dump(configuration))
        return [
            programs.need(PROMETHEUS),
            f"--config.file={file}",
            f"--storage.tsdb.path={run.folder / PROMETHEUS / 'data'}",
            f"--storage.tsdb.retention.time={RETENTION}",
            f"--web.listen-address=127.0.0.1:{port}",
            # the default of 5 s would be added to the 5 s of file discovery
            "--scrape.discovery-reload-interval=500ms",
        ]

    port = run.profile.telemetry.prometheus_port
    return Prometheus(
        start_service(run, PROMETHEUS, command, "/-/ready", port=port, program=PROMETHEUS)
    )


def wait_for_targets(
    server: Prometheus, jobs: Mapping[str, str], timeout_s: float = TARGETS_TIMEOUT_S
) -> None:
    """Wait until all targets are up."""
    deadline = time.monotonic() + timeout_s
    while True:
        errors = {target["scrapeUrl"]: target["lastError"] for target in server.targets()
                  if target["health"] != "unknown"}  # fmt: skip
        down = [(name, url, error) for name, url in jobs.items()
                if (error := errors.get(url, "it has not been scraped yet"))]  # fmt: skip
        if not down:
            return
        if time.monotonic() > deadline:
            name, url, error = down[0]
            raise Problem(
                f"Prometheus cannot scrape {name} at {url} (tried for {timeout_s:g} s): {error}.",
                f"Check that {name} is running; its log is services/{name}.log in the run's "
                "folder.",
            )
        time.sleep(0.1)


def start_service(
    run: Run,
    service: str,
    command: Callable[[int], list[str | Path]],  # for a port of this machine
    ready_path: str,
    *,
    port: int = 0,
    program: str,  # shown to people
) -> str:
    """Start a service that answers HTTP, or find it running; returns its base URL."""
    if running := processes.find(run, service):
        return f"http://127.0.0.1:{running.ports['http']}"
    port = processes.free_port(port)
    url = f"http://127.0.0.1:{port}"
    processes.start(
        run, service, command(port), ports={"http": port}, program=program,
        ready=lambda: processes.ask(url + ready_path), timeout_s=START_TIMEOUT_S,
    )  # fmt: skip
    return url
