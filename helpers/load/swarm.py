"""Locust's master and workers as processes here, in place of the engine's own workers."""

import os
import subprocess
import sys
from pathlib import Path

from helpers.load.crew import HEAD_START_S, Crew
from helpers.load.payload import Shape
from helpers.load.worker import Order
from helpers.paths import ROOT
from helpers.scenario import Scenario
from helpers.services import MARK, free_port
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
    order = Order(
        scenario=scenario, endpoint=endpoint, shape=shape,
        max_connections=max(max_connections // scenario.workers, 1),
    )  # fmt: skip
    environment = os.environ | {
        MARK: mark, "GPU_E2E_ORDER": order.model_dump_json(), "GPU_E2E_FOLDER": str(folder),
    }  # fmt: skip
    log = folder / "services" / f"load-{scenario.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    port, count = str(free_port()), scenario.workers
    as_master = [sys.executable, *master(count, folder, port), "--master-bind-host", "127.0.0.1"]
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


def master(workers: int, folder: Path, port: str) -> list[str]:
    """Arguments of the Python that runs a master.

    Args:
        workers: How many are waited for.
        folder: Where Locust's own table goes.
        port: Where the workers join.
    """
    count = str(workers)
    return [
        *LOCUST, "--master", "--master-bind-port", port, "-u", count, "-r", count,
        "--expect-workers", count, "--expect-workers-max-wait", str(PATIENCE_S),
        "--csv", str(folder / "locust"), "--only-summary", "--exit-code-on-error", "0",
    ]  # fmt: skip
