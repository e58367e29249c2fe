"""Locust's master and workers as processes here, in place of the engine's own workers."""

import os
import subprocess
import sys
from pathlib import Path

from helpers.load.crew import Crew
from helpers.load.payload import Shape
from helpers.load.worker import Order
from helpers.paths import ROOT
from helpers.scenario import Scenario
from helpers.services import MARK, free_port
from helpers.serving.endpoint import Endpoint

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
PATIENCE_S = 60  # for workers to join


def start(
    scenario: Scenario,
    endpoint: Endpoint,
    shape: Shape,
    folder: Path,
    max_connections: int,
    mark: str,
) -> Crew:
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
    port, count = str(free_port()), str(scenario.workers)
    locust = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless",
              "--loglevel", "WARNING"]  # fmt: skip
    as_master = ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port,
                 "-u", count, "-r", count, "--expect-workers", count,
                 "--expect-workers-max-wait", str(PATIENCE_S), "--csv", str(folder / "locust"),
                 "--only-summary", "--exit-code-on-error", "0"]  # fmt: skip
    as_worker = ["--worker", "--master-host", "127.0.0.1", "--master-port", port]
    with log.open("w") as errors:
        master = subprocess.Popen(
            [*locust, *as_master], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            text=True, cwd=ROOT, env=environment, start_new_session=True,
        )  # fmt: skip
        workers = [
            subprocess.Popen(
                [*locust, *as_worker], stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
                text=True, cwd=ROOT, env=environment, start_new_session=True,
            )
            for _ in range(scenario.workers)
        ]  # fmt: skip
    return Crew(scenario, [master], log, helpers=workers)
