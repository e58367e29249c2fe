"""Triton's life in a rehearsal: a local process of the run, or NVIDIA's image where Docker runs."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path

import requests
import sh

from helpers import processes, programs
from helpers.errors import Problem, Unavailable
from helpers.paths import TOOLS
from helpers.processes import Service
from helpers.run import Run
from helpers.serving import dockerfile, repository
from helpers.serving.endpoint import Endpoint
from helpers.serving.reports import Models

SERVICE = "triton"
SHARED_MEMORY_BYTES = 8 << 20
PROBE_TIMEOUT_S = 2.0
SHM = Path("/dev/shm")


def serve(run: Run) -> Endpoint:
    """The run's Triton: the one that is running, or a new one that serves every model.

    On AWS it runs in the cluster, and is reached as stage 03 has recorded.

    Raises:
        Unavailable: This machine has neither the server nor a Docker that runs.
        Problem: A port is taken, or Triton ended or did not get ready; the sentence quotes its
            log.
    """
    if run.profile.target == "aws":
        return run.load(Endpoint)
    running = processes.find(run, SERVICE)
    endpoint = run.find(Endpoint)
    if running and endpoint and _is_ready(endpoint.http, _served(run)):
        return endpoint
    exported = run.load(Models)
    wanted = run.profile.serving
    ports = {
        "http": processes.free_port(wanted.http_port),
        "grpc": processes.free_port(wanted.grpc_port),
        "metrics": processes.free_port(wanted.metrics_port),
    }
    if programs.find("tritonserver"):
        folder = repository.build(run, exported, "python")
        cores = cores_beside(wanted.client_cores)
        service = serve_folder(run, folder, _served(run), ports, cores)
    else:
        cores = []
        service = _start_container(run, exported, ports)
    endpoint = _endpoint(service, cores)
    run.save(endpoint)
    return endpoint


def cores_beside(left: int) -> list[int]:
    """The cores of this machine without so many that are left to the client; empty for all."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    mine = sorted(os.sched_getaffinity(0))
    return mine[left:] if 0 < left < len(mine) else []


def serve_folder(
    run: Run, folder: Path, models: list[str], ports: dict[str, int], cores: Sequence[int] = ()
) -> Service:
    """Start the wheel's server on a model repository, reachable from this machine alone.

    Args:
        run: Which the process belongs to.
        folder: The model repository.
        models: Names of the models to load; it is waited for them.
        ports: By API: `http`, `grpc`, `metrics`.
        cores: Of this machine, the only ones it may use; empty for all.

    Raises:
        Problem: There is no tritonserver, or it ended or did not get ready in time.
    """
    program = programs.need("tritonserver").resolve()
    prefix = f"gpu-e2e-{run.run_id}-"
    libraries = program.parents[3] / "nvidia_pytriton.libs"
    return processes.start(
        run,
        SERVICE,
        _process_command(program, folder, models, ports, prefix),
        ports=ports,
        ready=lambda: _is_ready(_http(ports), models),
        timeout_s=run.profile.serving.start_timeout_s,
        env={
            "LD_LIBRARY_PATH": os.pathsep.join([str(libraries), str(TOOLS / "lib")]),
            # the stub finds its packages from the first Python on PATH, and nowhere else
            "PATH": os.pathsep.join([str(TOOLS / "server/bin"), os.environ["PATH"]]),
        },
        program="tritonserver",
        leftovers=str(SHM / f"{prefix}*"),
        cores=cores,
    )


def container_command(
    run_id: str, folder: Path, models: list[str], ports: dict[str, int]
) -> list[str]:
    """Docker's command line: the image that the cluster's stands on, for this machine alone.

    Args:
        run_id: Names the container.
        folder: The model repository, mounted read-only.
        models: Names of the models to load.
        ports: Of this machine, by API.

    Raises:
        Problem: The Dockerfile names no image by digest.
    """
    inside = {"http": 8000, "grpc": 8001, "metrics": 8002}
    published = [f"--publish=127.0.0.1:{ports[name]}:{inner}" for name, inner in inside.items()]
    name = f"--name=gpu-e2e-{run_id.lower()}"
    mount = f"--volume={folder.resolve()}:/models:ro"
    start = ["docker", "run", "--rm", "--init", name, *published, mount]
    image = [dockerfile.base_of(), "tritonserver"]
    return start + image + _common_flags(Path("/models"), models)


def _common_flags(folder: Path, models: list[str]) -> list[str]:
    return [
        f"--model-repository={folder}",
        "--model-control-mode=explicit",
        *(f"--load-model={name}" for name in models),
        "--metrics-interval-ms=500",
        "--metrics-config=summary_latencies=true",
        "--exit-timeout-secs=5",
    ]


def _process_command(
    program: Path, folder: Path, models: list[str], ports: dict[str, int], prefix: str
) -> list[str]:
    python = {
        "shm-default-byte-size": SHARED_MEMORY_BYTES,
        "shm-growth-byte-size": SHARED_MEMORY_BYTES,
        "shm-region-prefix-name": prefix,
    }
    return [
        *(str(program), *_common_flags(folder, models)),
        f"--backend-directory={TOOLS / 'backends'}",
        *(f"--backend-config=python,{key}={value}" for key, value in python.items()),
        *(f"--{api}-port={port}" for api, port in ports.items()),
        *(f"--{api}-address=127.0.0.1" for api in ports),
    ]


def _start_container(run: Run, exported: Models, ports: dict[str, int]) -> Service:
    if not _docker_runs():
        raise Unavailable(
            f"Triton's wheel does not run on {platform.system()} {platform.machine()}, "
            "and no Docker runs here.",
            "Start Docker, or use Linux on x86-64 and 'make setup'.",
        )
    folder = repository.build(run, exported, "onnxruntime")
    return processes.start(
        run,
        SERVICE,
        container_command(run.run_id, folder, _served(run), ports),
        ports=ports,
        ready=lambda: _is_ready(_http(ports), _served(run)),
        timeout_s=run.profile.serving.start_timeout_s,
        program=dockerfile.base_of(),
    )


def _docker_runs() -> bool:
    docker = programs.find("docker")
    if docker is None:
        return False
    try:
        sh.Command(str(docker))("info", _timeout=programs.ANSWER_TIMEOUT_S)
    except (sh.ErrorReturnCode, sh.TimeoutException):
        return False
    return True


def _endpoint(service: Service, cores: Sequence[int]) -> Endpoint:
    http = _http(service.ports)
    described = _get(f"{http}/v2")
    if described is None:
        raise Problem("Triton got ready and does not answer.", f"Its log is {service.log}.")
    told = f", {len(cores)} of {os.cpu_count()} cores" if cores else ""
    return Endpoint(
        http=http,
        grpc=f"127.0.0.1:{service.ports['grpc']}",
        metrics=f"http://127.0.0.1:{service.ports['metrics']}/metrics",
        server=f"tritonserver {described.json()['version']} (CPU{told})",
    )


def _http(ports: dict[str, int]) -> str:
    return f"http://127.0.0.1:{ports['http']}"


def _served(run: Run) -> list[str]:
    return [one.name for one in run.profile.model.networks]


def _is_ready(http: str, models: list[str]) -> bool:
    paths = [f"models/{name}/ready" for name in models]
    return all(_get(f"{http}/v2/{path}") for path in ["health/ready", *paths])


def _get(url: str) -> requests.Response | None:
    """A good answer from this machine, past any proxy; None where there is none."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.get(url, timeout=PROBE_TIMEOUT_S)
        except requests.RequestException:
            return None
        return answer if answer.ok else None
