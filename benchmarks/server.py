"""A real Triton for the length of a benchmark, and what it counts."""

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import psutil
import requests

from helpers import services, tools
from helpers.paths import TOOLS
from helpers.profile import Profile
from helpers.run import Run
from helpers.serving import triton
from helpers.serving.endpoint import Endpoint

SETTINGS = "services.ttl_minutes=30, model.weights=random"
START_S = 90.0
PROBE_S = 5.0
SETTLE_S = 0.2  # Triton counts a request a little after it has answered it


@dataclass(frozen=True)
class Counts:
    """Triton's counters of one model since it started.

    Attributes:
        request_success: Requests answered well.
        request_duration_us: Time in the server of all of them together, microseconds.
        exec_count: Executions of the model.
    """

    request_success: float
    request_duration_us: float
    exec_count: float


@dataclass(frozen=True)
class Server:
    """A Triton that runs.

    Attributes:
        run: The run it belongs to, in a folder that is removed at the end.
        ports: By API.
    """

    run: Run
    ports: dict[str, int]

    @property
    def endpoint(self) -> Endpoint:
        """Its addresses, as the load engine wants them."""
        host = "127.0.0.1"
        return Endpoint(
            http=f"http://{host}:{self.ports['http']}",
            grpc=f"{host}:{self.ports['grpc']}",
            metrics=f"http://{host}:{self.ports['metrics']}/metrics",
            server="tritonserver",
        )

    def counts(self, model: str) -> Counts:
        """What Triton has counted for a model."""
        text = _get(self.endpoint.metrics).text
        return Counts(*(_counter(text, one.name, model) for one in fields(Counts)))

    def processes(self) -> list[psutil.Process]:
        """The server's processes: watcher, Triton, and one stub for each model instance."""
        return list(services.marked(self.run.mark).values())


@contextmanager
def temporary_run(profile: str) -> Iterator[Run]:
    """A run that is gone at the end, with everything that it started, whatever ends it."""
    os.environ[services.OWNER] = services.owner_mark(os.getpid())
    with tempfile.TemporaryDirectory(prefix="gpu-e2e-bench-") as folder:
        run = Run.create(Profile.load_named(profile, SETTINGS), Path(folder))
        try:
            yield run
        finally:
            services.down(run)


@contextmanager
def serving(run: Run, build: Callable[[Path], None]) -> Iterator[Server]:
    """Serve every model of a repository as a rehearsal does, on 127.0.0.1 alone.

    Args:
        run: Which the processes belong to.
        build: Lays out the repository in the folder it is given.

    Raises:
        Problem: There is no tritonserver here, or it does not get ready.
    """
    folder = Path(tempfile.mkdtemp(prefix="models-", dir=run.folder))
    build(folder)
    names = sorted(one.name for one in folder.iterdir())
    server = Server(run, {api: services.free_port() for api in ("http", "grpc", "metrics")})
    _start(server, folder, names)
    try:
        yield server
    finally:
        services.stop(run, triton.SERVICE)


def settle() -> None:
    """Wait until what was answered has been counted."""
    time.sleep(SETTLE_S)


def _start(server: Server, folder: Path, names: list[str]) -> None:
    program = tools.need("tritonserver").resolve()
    prefix = f"gpu-e2e-bench-{os.getpid()}-"
    listen = [f"--{api}-port={port}" for api, port in server.ports.items()]
    listen += [f"--{api}-address=127.0.0.1" for api in server.ports]
    libraries = [program.parents[3] / "nvidia_pytriton.libs", TOOLS / "lib"]
    services.start(
        server.run,
        triton.SERVICE,
        triton.process_command(program, folder, names, prefix) + listen,
        ports=server.ports,
        ready=lambda: _is_ready(server, names),
        timeout_s=START_S,
        env={
            "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
            # the stub finds its packages from the first Python on PATH, and nowhere else
            "PATH": os.pathsep.join([str(TOOLS / "server/bin"), os.environ["PATH"]]),
        },
        leftovers=str(triton.SHM / f"{prefix}*"),
    )


def _is_ready(server: Server, names: list[str]) -> bool:
    try:
        return all(_get(f"{server.endpoint.http}/v2/models/{one}/ready").ok for one in names)
    except requests.RequestException:
        return False


def _get(url: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False  # nothing here goes through a proxy
        return session.get(url, timeout=PROBE_S)


def _counter(text: str, name: str, model: str) -> float:
    pattern = rf'^nv_inference_{name}{{[^}}]*model="{re.escape(model)}"[^}}]*}} (\S+)$'
    return sum(float(one) for one in re.findall(pattern, text, re.MULTILINE))
