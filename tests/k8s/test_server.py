"""The chart's command line, run by the real Triton; the chart's own test against its answers."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import pytest
import requests
from flask import Flask, request
from werkzeug.serving import make_server

from helpers import processes, programs
from helpers.paths import TOOLS
from helpers.processes import ask
from helpers.profile import Profile
from helpers.run import Run
from helpers.serving import models, repository
from tests.k8s import charts
from tests.listening import listening

INFER = charts.TRITON / "files/infer.py"


@dataclass(frozen=True)
class Server:
    """A Triton that runs as the chart's container would."""

    pid: int
    http: str  # URL of its API
    metrics: str  # URL of its metrics
    served: list[str]  # models it was told to load


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, profile: Profile) -> Iterator[Server]:
    """The command line of the CPU values, started."""
    if programs.find("tritonserver") is None:
        pytest.skip("no tritonserver on this machine")
    model = profile.model.model_copy(update={"networks": profile.model.networks[:1]})
    run = Run.create(profile.model_copy(update={"model": model}), tmp_path_factory.mktemp("chart"))
    exported = models.prepare(run)
    folder = repository.build(run, exported, "python")
    served = [network.name for network in exported.models]
    ports = {api: processes.free_port(0) for api in ("http", "grpc", "metrics")}
    # what a machine without a container sets: folder, free ports, the wheel's backends
    extra = [
        f"--backend-directory={TOOLS / 'backends'}",
        *(f"--{api}-address=127.0.0.1" for api in ports),
        f"--backend-config=python\\,shm-region-prefix-name=gpu-e2e-{run.run_id}-",
    ]
    settings = [
        f"modelRepository.path={folder}",
        f"modelRepository.load={{{','.join(served)}}}",
        f"triton.extraArgs={{{','.join(extra)}}}",
        *(f"ports.{api}={port}" for api, port in ports.items()),
    ]
    objects = charts.triton(*settings, values=(charts.CONTRACT, charts.CPU))
    program = programs.need("tritonserver").resolve()
    http = f"http://127.0.0.1:{ports['http']}"
    ready = objects.server()["readinessProbe"]["httpGet"]["path"]
    started = processes.start(
        run,
        "chart",
        [program, *objects.server()["args"]],
        ports=ports,
        ready=lambda: ask(f"{http}{ready}") is not None,
        timeout_s=60,
        env={
            "LD_LIBRARY_PATH": f"{program.parents[3] / 'nvidia_pytriton.libs'}:{TOOLS / 'lib'}",
            "PATH": f"{TOOLS / 'server/bin'}:/usr/bin:/bin",
        },
        leftovers=f"/dev/shm/gpu-e2e-{run.run_id}-*",
    )
    metrics = f"http://127.0.0.1:{ports['metrics']}"
    yield Server(started.pid, http, metrics, served)
    processes.down(run)


def infer(url: str, *served: str) -> "subprocess.CompletedProcess[str]":
    """The chart's test, run as its pod runs it."""
    command = [sys.executable, "-I", "-c", INFER.read_text(), url, *served]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)


def test_triton_takes_the_charts_command_line_and_passes_its_test(server: Server) -> None:
    container = charts.triton(values=(charts.CONTRACT, charts.CPU)).server()
    for kind in ("startup", "liveness", "readiness"):
        assert ask(f"{server.http}{container[f'{kind}Probe']['httpGet']['path']}")
    done = infer(server.http, *server.served)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in server.served)
    text = requests.get(f"{server.metrics}/metrics", timeout=5).text
    for name in ("nv_inference_queue_duration_us", "nv_inference_request_summary_us"):
        assert f"{name}{{" in text
    done = infer(server.http, "absent")
    assert done.returncode == 1
    assert "/v2/models/absent answered" in done.stderr


def liar(answer: Any) -> Flask:
    """A server that says 200 whatever it answers; `answer` makes the values of a batch."""
    app = Flask("liar")

    @app.get("/<path:_>")
    def about(_: str) -> Any:
        return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]}

    @app.post("/<path:_>")
    def inference(_: str) -> Any:
        tensor = request.get_json(force=True)["inputs"][0]
        return {"outputs": [{"data": answer(tensor["data"], tensor["shape"][0])}]}

    return app


@pytest.mark.parametrize(
    ("sentence", "answer"),
    [
        ("with nothing", lambda data, batch: []),
        ("no numbers", lambda data, batch: [float("nan"), 1.0] * batch),
        ("times the same value", lambda data, batch: [0.5, 0.5] * batch),
        ("does not look at its input", lambda data, batch: [0.1, 0.9] * batch),
        ("otherwise than the two images alone", lambda data, batch: [x * batch for x in data]),
        ("", lambda data, batch: data),
    ],
)
def test_the_charts_test_looks_at_the_answers_not_at_the_status(sentence: str, answer: Any) -> None:
    with listening(make_server("127.0.0.1", 0, liar(answer))) as server:
        done = infer(f"http://127.0.0.1:{server.server_port}", "liar")
    assert bool(done.returncode) == bool(sentence) and sentence in done.stderr


def test_the_server_ends_at_sigterm_within_its_exit_timeout(server: Server) -> None:
    """Last, as it ends the server that the others ask."""
    objects = charts.triton(values=(charts.CONTRACT, charts.CPU))
    parent = psutil.Process(server.pid)
    tree = [parent, *parent.children(recursive=True)]
    process = next(each for each in tree if "tritonserver" in each.name())
    process.send_signal(signal.SIGTERM)
    assert process.wait(objects.pod()["terminationGracePeriodSeconds"]) in (0, None)
