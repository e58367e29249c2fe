"""One Prometheus on this machine: what it scrapes, how it is started, when its targets are up."""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from helpers import processes
from helpers.processes import Service, answers
from helpers.run import Run
from helpers.telemetry import rules
from helpers.telemetry.catalogue import duration
from helpers.telemetry.places import RULES
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


def sample(run: Run) -> str:
    """Start the run's sampler, or find it running; returns the address of its metrics.

    Raises:
        Problem: It does not start.
    """
    return f"{address(processes.find(run, SAMPLER) or _start_sampler(run))}/metrics"


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
    running = processes.find(run, place.service)
    if running is None:
        facts = yaml.safe_dump(rules.of_run(run, expires))
        run.write(f"{place.service}/{FACTS}", facts)
        running = _start_prometheus(run, place, program)
    return Server(address(running))


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


def address(service: Service) -> str:
    """Where a service of this machine listens."""
    return f"http://127.0.0.1:{service.ports['http']}"


def _start_sampler(run: Run) -> Service:
    port = processes.free_port()
    module = "helpers.telemetry.sampler"
    return processes.start(
        run,
        SAMPLER,
        [sys.executable, "-m", module, "--port", str(port), "--mark", run.mark],
        ports={"http": port},
        ready=lambda: answers(f"http://127.0.0.1:{port}/metrics"),
        timeout_s=START_TIMEOUT_S,
        program=module,
    )


def _start_prometheus(run: Run, place: Place, program: Path) -> Service:
    port = processes.free_port(place.port)
    command: list[str | Path] = [
        program,
        f"--config.file={run.write(f'{place.service}/prometheus.yml', _configuration(run, place))}",
        f"--storage.tsdb.path={run.folder / place.service / 'data'}",
        f"--storage.tsdb.retention.time={RETENTION}",
        f"--web.listen-address=127.0.0.1:{port}",
        # its default of 5 s would come on top of the 5 s that discovery takes
        "--scrape.discovery-reload-interval=500ms",
    ]
    return processes.start(
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
