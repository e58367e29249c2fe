"""Start Triton on this machine (as a process or a container), or reach it in the cluster."""

import hashlib
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import requests

from helpers import processes, programs
from helpers.cloud import certificate
from helpers.cluster.records import Balancer
from helpers.errors import Problem, Unavailable
from helpers.paths import TOOLS
from helpers.processes import Service
from helpers.run import Run
from helpers.serving import builders, repository
from helpers.serving.records import Endpoint, Models

SERVICE = "triton"
APIS = {"http": 8000, "grpc": 8001, "metrics": 8002}  # and their ports inside NVIDIA's image
SHARED_MEMORY_BYTES = 8 << 20
SHARED_MEMORY = Path("/dev/shm")
TLS_PORT = 443
TLS_TIMEOUT_S = 10.0


def connect(run: Run, balancer: Balancer) -> Endpoint:
    """The endpoint of the run's Triton: behind the load balancer if there is one, or local."""
    if not balancer.host:
        return serve(run)
    endpoint = behind_load_balancer(balancer.host, certificate.ensure(run).certificate)
    run.save(endpoint)
    return endpoint


def behind_load_balancer(host: str, trusted: Path, port: int = TLS_PORT) -> Endpoint:
    """The endpoint behind a load balancer, checked with one request over verified HTTPS.

    HTTP and gRPC share address and port; the load balancer routes them by path. Triton's metrics
    stay inside the cluster. The certificate is verified against the PEM file `trusted`.
    """
    url = f"https://{host}" if port == TLS_PORT else f"https://{host}:{port}"
    try:
        answer = requests.get(f"{url}/v2", verify=str(trusted), timeout=TLS_TIMEOUT_S)
        answer.raise_for_status()
        version = answer.json()["version"]
    except requests.exceptions.SSLError as error:
        # the verifier's own sentence, without the exceptions that wrap it
        text = str(error)
        reason = text.partition("verify failed: ")[2].partition(" (_ssl")[0].rstrip(".") or text
        raise Problem(
            f"The server at {host} does not have the run's certificate: {reason}.",
            "Apply stage 01 again, which imports it, then repeat stage 03.",
        ) from error
    except (requests.RequestException, ValueError, KeyError) as error:
        raise Problem(
            f"Triton does not answer at {host}: {error}.",
            "If your address has changed, apply stage 01 again and repeat stage 03.",
        ) from error
    return Endpoint(
        http=url,
        grpc=f"{host}:{port}",
        metrics="",
        server=f"tritonserver {version} (GPU, behind an ALB)",
        certificate=str(trusted),
    )


def serve(run: Run) -> Endpoint:
    """The endpoint of the run's Triton; a server that serves every model is started if needed.

    On AWS it runs in the cluster, and stage 03 has recorded its endpoint.

    Raises:
        Unavailable: This machine has neither the server nor a working Docker.
    """
    if run.profile.target == "aws":
        return run.load(Endpoint)
    running, endpoint = processes.find(run, SERVICE), run.find(Endpoint)
    names = [network.name for network in run.profile.model.networks]
    if running and endpoint and _is_ready(endpoint.http, names):
        return endpoint
    exported, wanted = run.load(Models), run.profile.serving
    ports = {api: processes.free_port(getattr(wanted, f"{api}_port")) for api in APIS}
    cores: list[int] = []
    if programs.find("tritonserver"):
        cores = cores_beside(wanted.client_cores)
        service = serve_folder(run, repository.build(run, exported), names, ports, cores)
    else:
        service = _start_container(run, exported, names, ports)
    http = f"http://127.0.0.1:{ports['http']}"
    metadata = processes.ask(f"{http}/v2")
    if metadata is None:
        raise Problem("Triton became ready but does not answer.", f"Its log is {service.log}.")
    limit = f", {len(cores)} of {os.cpu_count()} cores" if cores else ""
    endpoint = Endpoint(
        http=http,
        grpc=f"127.0.0.1:{ports['grpc']}",
        metrics=f"http://127.0.0.1:{ports['metrics']}/metrics",
        server=f"tritonserver {metadata.json()['version']} (CPU{limit})",
    )
    run.save(endpoint)
    return endpoint


def cores_beside(client_cores: int) -> list[int]:
    """The cores of this machine except those for the client; empty for all cores."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    available = sorted(os.sched_getaffinity(0))
    return available[client_cores:] if 0 < client_cores < len(available) else []


def shared_memory_prefix(run: Run) -> str:
    """How the run's shared memory begins; runs of two folders may share an id, not a mark."""
    return f"gpu-e2e-{hashlib.sha256(run.mark.encode()).hexdigest()[:12]}-"


def serve_folder(
    run: Run, folder: Path, models: list[str], ports: dict[str, int], cores: Sequence[int] = ()
) -> Service:
    """Start the server of Triton's wheel on a model repository, for this machine only.

    It loads and waits for `models`; `cores` are the only ones that it may use, empty means all.
    """
    program = programs.need("tritonserver").resolve()
    prefix = shared_memory_prefix(run)
    python_backend = {
        "shm-default-byte-size": SHARED_MEMORY_BYTES,
        "shm-growth-byte-size": SHARED_MEMORY_BYTES,
        "shm-region-prefix-name": prefix,
    }
    libraries = program.parents[3] / "nvidia_pytriton.libs"
    return processes.start(
        run,
        SERVICE,
        [
            *(str(program), *_common_flags(folder, models)),
            f"--backend-directory={TOOLS / 'backends'}",
            *(f"--backend-config=python,{key}={value}" for key, value in python_backend.items()),
            *(f"--{api}-port={port}" for api, port in ports.items()),
            *(f"--{api}-address=127.0.0.1" for api in ports),
        ],
        ports=ports,
        ready=lambda: _is_ready(f"http://127.0.0.1:{ports['http']}", models),
        timeout_s=run.profile.serving.start_timeout_s,
        env={
            "LD_LIBRARY_PATH": os.pathsep.join([str(libraries), str(TOOLS / "lib")]),
            # the Python backend's stub takes its packages from the first Python on PATH
            "PATH": os.pathsep.join([str(TOOLS / "server/bin"), os.environ["PATH"]]),
        },
        program="tritonserver",
        leftovers=str(SHARED_MEMORY / f"{prefix}*"),
        cores=cores,
    )


def container_command(
    run_id: str, folder: Path, models: list[str], ports: dict[str, int]
) -> list[str]:
    """Docker's command line for the cluster's base image, reachable from this machine only."""
    return [
        *("docker", "run", "--rm", "--init", f"--name=gpu-e2e-{run_id.lower()}"),
        *(f"--publish=127.0.0.1:{ports[api]}:{port}" for api, port in APIS.items()),
        f"--volume={folder.resolve()}:/models:ro",
        *(builders.base_image(), "tritonserver"),
        *_common_flags(Path("/models"), models),
    ]


def _common_flags(folder: Path, models: list[str]) -> list[str]:
    return [
        f"--model-repository={folder}",
        "--model-control-mode=explicit",
        *(f"--load-model={name}" for name in models),
        "--metrics-interval-ms=500",
        "--metrics-config=summary_latencies=true",
        "--exit-timeout-secs=5",
    ]


def _start_container(
    run: Run, exported: Models, models: list[str], ports: dict[str, int]
) -> Service:
    if builders.find_builder(["docker"]) is None:
        raise Unavailable(
            f"Triton's wheel does not run on {platform.system()} {platform.machine()}, "
            "and Docker does not work here.",
            "Start Docker, or use Linux on x86-64 and 'make setup'.",
        )
    folder = repository.build(run, exported, "onnxruntime")
    return processes.start(
        run,
        SERVICE,
        container_command(run.run_id, folder, models, ports),
        ports=ports,
        ready=lambda: _is_ready(f"http://127.0.0.1:{ports['http']}", models),
        timeout_s=run.profile.serving.start_timeout_s,
        program=builders.base_image(),
    )


def _is_ready(http: str, models: list[str]) -> bool:
    paths = [f"models/{name}/ready" for name in models]
    return all(processes.ask(f"{http}/v2/{path}") for path in ["health/ready", *paths])
