"""A real Triton that runs during a benchmark, and its request counters."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from helpers import processes
from helpers.errors import Problem
from helpers.load import server_check
from helpers.load.server_check import Counters
from helpers.profile import Profile
from helpers.run import Run
from helpers.serving import triton
from helpers.serving.records import Endpoint

SETTINGS = "services.ttl_minutes=30, model.weights=random"
SETTLE_S = 0.2  # Triton counts a request shortly after it answers


@dataclass(frozen=True)
class Server:
    """A running Triton.

    Attributes:
        run: The run it belongs to, in a folder that is removed at the end.
        ports: By API.
    """

    run: Run
    ports: dict[str, int]

    @property
    def endpoint(self) -> Endpoint:
        """Its addresses, in the form of the load engine."""
        host = "127.0.0.1"
        return Endpoint(
            http=f"http://{host}:{self.ports['http']}",
            grpc=f"{host}:{self.ports['grpc']}",
            metrics=f"http://{host}:{self.ports['metrics']}/metrics",
            server="tritonserver",
        )

    def counts(self, model: str) -> Counters:
        """What Triton has counted for a model since it started.

        Raises:
            Problem: Its counters cannot be read.
        """
        counters = server_check.read_counters(self.endpoint.metrics, model)
        if counters is None:
            raise Problem(f"Triton's metrics have no counters for '{model}'.")
        return counters

    def processes(self) -> list[psutil.Process]:
        """The server's processes: watcher, Triton, and one stub for each model instance."""
        return list(processes.marked(self.run.mark).values())


@contextmanager
def temporary_run(profile: str) -> Iterator[Run]:
    """A run that is deleted at the end, with every process it started."""
    os.environ[processes.OWNER] = processes.owner_mark(os.getpid())
    with tempfile.TemporaryDirectory(prefix="gpu-e2e-bench-") as folder:
        run = Run.create(Profile.load_named(profile, SETTINGS), Path(folder))
        try:
            yield run
        finally:
            processes.down(run)


@contextmanager
def serving(run: Run, build: Callable[[Path], None], *, left: int = 0) -> Iterator[Server]:
    """Serve every model of a repository as a rehearsal does, on 127.0.0.1 only.

    Args:
        run: Which the processes belong to.
        build: Lays out the repository in the folder it is given.
        left: How many cores are left to the client.

    Raises:
        Problem: There is no tritonserver here, or it does not get ready.
    """
    folder = Path(tempfile.mkdtemp(prefix="models-", dir=run.folder))
    build(folder)
    names = sorted(path.name for path in folder.iterdir())
    server = Server(run, {api: processes.free_port() for api in ("http", "grpc", "metrics")})
    triton.serve_folder(run, folder, names, server.ports, triton.cores_beside(left))
    try:
        yield server
    finally:
        processes.stop(run, triton.SERVICE)


def settle() -> None:
    """Wait until Triton has counted the answered requests."""
    time.sleep(SETTLE_S)
