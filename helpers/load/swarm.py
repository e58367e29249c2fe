"""Locust's master and workers as processes here, in place of the engine's own workers."""

import os
import subprocess
import sys
from pathlib import Path

from helpers.load.crew import HEAD_START_S, Crew
from helpers.load.payload import Shape
from helpers.load.worker import Order
from helpers.paths import ROOT
from helpers.processes import MARK, free_port
from helpers.scenario import Scenario
from helpers.serving.endpoint import Endpoint

LOCUSTFILE = "helpers/load/locustfile.py"  # from the checkout's root, or the image's
LOCUST = ["-m", "locust", "-f", LOCUSTFILE, "--headless", "--loglevel", "WARNING"]
PATIENCE_S = 60  # for workers to join


class Swarm(Crew):
    """Locust's master and workers; the master speaks for all, wherever it runs."""

    stop_s = 20.0  # the records of every worker go to the master first

    def _zero(self) -> float:
        """Seconds from when the master hears it: its clock may be another machine's."""
        return HEAD_START_S

    def _ask_to_end(self) -> None:
        """The end of its input: what a signal kills sends no records any more."""
        self._close_words()


def start(
    scenario: Scenario,
    endpoint: Endpoint,
    shape: Shape,
    folder: Path,
    max_connections: int,
    mark: str,
) -> Swarm:
    """Start a master and `scenario.workers` workers; the master speaks for all of them.

    Locust's own table goes to `locust_*.csv` in the folder.
    """
    chosen = order(scenario, endpoint, shape, max_connections).model_dump_json()
    environment = os.environ | {
        MARK: mark, "GPU_E2E_ORDER": chosen, "GPU_E2E_FOLDER": str(folder),
    }  # fmt: skip
    log = folder / "services" / f"load-{scenario.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    port, count = str(free_port()), scenario.workers
    as_master = [sys.executable, *master(count, folder), "--master-bind-host", "127.0.0.1",
                 "--master-bind-port", port]  # fmt: skip
    as_worker = [sys.executable, *LOCUST, "--worker", "--master-host", "127.0.0.1",
                 "--master-port", port]  # fmt: skip
    with log.open("w") as errors:
        leader = subprocess.Popen(
            as_master, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            text=True, cwd=ROOT, env=environment, start_new_session=True,
        )  # fmt: skip
        workers = [
            subprocess.Popen(
                as_worker, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
                text=True, cwd=ROOT, env=environment, start_new_session=True,
            )
            for _ in range(count)
        ]  # fmt: skip
    return Swarm(scenario, [leader], log, helpers=workers)


def order(scenario: Scenario, endpoint: Endpoint, shape: Shape, max_connections: int) -> Order:
    """What every worker is told; `max_connections` is over all of them."""
    each = max(max_connections // scenario.workers, 1)
    return Order(scenario=scenario, endpoint=endpoint, shape=shape, max_connections=each)


def master(workers: int, folder: Path) -> list[str]:
    """Arguments of the Python that runs a master.

    Args:
        workers: How many are waited for.
        folder: Where Locust's own table goes.
    """
    count = str(workers)
    return [
        *LOCUST, "--master", "-u", count, "-r", count, "--expect-workers", count,
        "--expect-workers-max-wait", str(PATIENCE_S), "--csv", str(folder / "locust"),
        "--only-summary", "--exit-code-on-error", "0",
    ]  # fmt: skip
