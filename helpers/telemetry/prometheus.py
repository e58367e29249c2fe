"""A real Prometheus for a run: started with the sampler and pointed at Triton."""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import yaml

from helpers import services, tools
from helpers.errors import Problem
from helpers.run import Run
from helpers.services import Service
from helpers.services.loopback import answers
from helpers.serving.endpoint import Endpoint
from helpers.telemetry import rules
from helpers.telemetry.catalogue import duration
from helpers.telemetry.places import RULES
from helpers.telemetry.report import Targets
from helpers.telemetry.server import Server

START_TIMEOUT_S = 30.0
FACTS = "facts.yaml"
RETENTION = "1d"  # longer than a session may last
# Prometheus hands changed targets on every 5 s only
TARGETS_TIMEOUT_S = 30.0
SAMPLER, PROMETHEUS, TRITON = "sampler", "prometheus", "triton"

Job = dict[str, str]


@dataclass(frozen=True)
class Place:
    """One Prometheus of a run.

    Attributes:
        service: Its name as a service; also the folder of the run that is its own.
        port: Where it listens; 0 chooses a free port.
        dropped: Series that it does not keep, as a regular expression of `job;name`.
    """

    service: str
    port: int = 0
    dropped: str = ""

    @property
    def targets(self) -> str:
        """What it scrapes, relative to the run's folder."""
        return f"{self.service}/targets.json"


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
    program = tools.need(PROMETHEUS)
    place = Place(PROMETHEUS, run.profile.telemetry.prometheus_port)
    wanted = {SAMPLER: sample(run), TRITON: endpoint.metrics}
    point(run, place, {job: (url, {}) for job, url in wanted.items()})
    server = launch(run, place, program)
    errors = await_targets(server, wanted, timeout_s)
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
        service = services.find(run, PROMETHEUS)
        if service is None:
            return run.load(Targets)
        server = Server(_url(service))
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


def sample(run: Run) -> str:
    """Start the run's sampler, or find it running; returns the address of its metrics.

    Raises:
        Problem: It does not start.
    """
    return f"{_url(services.find(run, SAMPLER) or _start_sampler(run))}/metrics"


def point(run: Run, place: Place, wanted: Mapping[str, tuple[str, Job]]) -> None:
    """Say what a Prometheus scrapes; one that runs follows within seconds.

    Args:
        run: The run.
        place: Which Prometheus.
        wanted: Job → address of its metrics, and labels that its series get.
    """
    groups = [_group(job, url, labels) for job, (url, labels) in wanted.items()]
    run.write(place.targets, json.dumps(groups, indent=2) + "\n")


def launch(run: Run, place: Place, program: Path, expires: float | None = None) -> Server:
    """Start a Prometheus with the rules and the run's facts, or find it running.

    Args:
        run: The run.
        place: Which Prometheus.
        program: Where the program is.
        expires: Stands for the timer of a stack that there is not, seconds since 1970.

    Raises:
        Problem: It does not start; the sentence quotes its log.
    """
    running = services.find(run, place.service)
    if running is None:
        facts = yaml.safe_dump(rules.of_run(run, expires))
        run.write(f"{place.service}/{FACTS}", facts)
        running = _start_prometheus(run, place, program)
    return Server(_url(running))


def _start_sampler(run: Run) -> Service:
    port = services.free_port()
    module = "helpers.telemetry.sampler"
    return services.start(
        run,
        SAMPLER,
        [sys.executable, "-m", module, "--port", str(port), "--mark", run.mark],
        ports={"http": port},
        ready=lambda: answers(f"http://127.0.0.1:{port}/metrics"),
        timeout_s=START_TIMEOUT_S,
        program=module,
    )


def _start_prometheus(run: Run, place: Place, program: Path) -> Service:
    port = services.free_port(place.port)
    command: list[str | Path] = [
        program,
        f"--config.file={run.write(f'{place.service}/prometheus.yml', _configuration(run, place))}",
        f"--storage.tsdb.path={run.folder / place.service / 'data'}",
        f"--storage.tsdb.retention.time={RETENTION}",
        f"--web.listen-address=127.0.0.1:{port}",
        # its default of 5 s would come on top of the 5 s that discovery takes
        "--scrape.discovery-reload-interval=500ms",
    ]
    return services.start(
        run,
        place.service,
        command,
        ports={"http": port},
        ready=lambda: answers(f"http://127.0.0.1:{port}/-/ready"),
        timeout_s=START_TIMEOUT_S,
        program=str(program),
    )


def _configuration(run: Run, place: Place) -> str:
    """The cluster's rules with the run's own facts, and the targets of a file that may change."""
    every = duration(run.profile.telemetry.scrape_interval_s)
    facts = run.folder / place.service / FACTS
    discovery = [{"files": [str((run.folder / place.targets).resolve())]}]
    return yaml.safe_dump(
        {
            "global": {
                "scrape_interval": every,
                "scrape_timeout": every,
                "evaluation_interval": every,
            },
            "rule_files": [str(RULES / "*.yaml"), str(facts.resolve())],
            "scrape_configs": [
                {
                    "job_name": "run",
                    "honor_labels": True,
                    "file_sd_configs": discovery,
                    "metric_relabel_configs": _without(place.dropped),
                }
            ],
        }
    )


def _without(dropped: str) -> list[dict[str, object]]:
    if not dropped:
        return []
    return [{"source_labels": ["job", "__name__"], "regex": dropped, "action": "drop"}]


def _group(job: str, url: str, added: Job) -> dict[str, object]:
    parts = urlsplit(url)
    # the same instance wherever it listens: a restarted Triton continues its series
    labels = {"job": job, "instance": job, **added}
    labels |= {"__scheme__": parts.scheme, "__metrics_path__": parts.path or "/metrics"}
    return {"targets": [parts.netloc], "labels": labels}


def await_targets(server: Server, wanted: dict[str, str], timeout_s: float) -> dict[str, str]:
    """Wait until all targets are up; returns job → why it is not, empty where it is."""
    deadline = time.monotonic() + timeout_s
    while True:
        known = {one.url: one for one in server.targets()}
        errors = dict.fromkeys(wanted, "it has not been scraped yet")
        for job, url in wanted.items():
            if url in known and known[url].health != "unknown":
                errors[job] = known[url].error
        if not any(errors.values()) or time.monotonic() > deadline:
            return errors
        time.sleep(0.1)


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


def _url(service: Service) -> str:
    return f"http://127.0.0.1:{service.ports['http']}"
