"""A real Triton: it serves what ONNX Runtime computes, and says clearly why it does not start."""

import asyncio
import os
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as config_pb2

from helpers import load, processes, programs
from helpers.errors import Problem, Unavailable
from helpers.load import server_check
from helpers.load.request import Shape
from helpers.profile import Profile
from helpers.run import Run
from helpers.serving import builders, repository, smoke, triton
from helpers.serving.records import Endpoint, Models
from helpers.serving.smoke import Smoke
from tests.load.conftest import scenario
from tests.load.known_server import SHAPE


@pytest.mark.parametrize(("backend", "kind"), [("python", "cpu"), ("onnxruntime", "gpu")])
def test_a_configuration_reads_back_with_dynamic_batching(
    prepared: Run, exported: Models, backend: repository.Backend, kind: repository.Kind
) -> None:
    folder = repository.build(prepared, exported, backend, kind)
    for model in exported.models:
        text = (folder / model.name / "config.pbtxt").read_text()
        config = text_format.Parse(text, config_pb2.ModelConfig())
        assert (config.name, config.backend) == (model.name, backend)
        assert config.HasField("dynamic_batching")
        assert config.max_batch_size == prepared.profile.serving.max_batch_size
        size = model.image_size
        for taken, wanted in (
            ("uint8", f"TYPE_UINT8 format: FORMAT_NHWC dims: {size} dims: {size} dims: 3"),
            ("fp32", f"TYPE_FP32 format: FORMAT_NCHW dims: 3 dims: {size} dims: {size}"),
        ):
            copy = model.model_copy(update={"input": taken})
            text = repository.config(copy, prepared.profile.serving, backend, kind)
            assert f"data_type: {wanted}" in " ".join(text.split())
        warmed = {warmup.batch_size for warmup in config.model_warmup}
        most = prepared.profile.serving.max_batch_size
        assert warmed == ({1, most} if kind == "gpu" else {1})
        group_kind = config_pb2.ModelInstanceGroup.Kind.Value(f"KIND_{kind.upper()}")
        assert config.instance_group[0].kind == group_kind
        version = folder / model.name / "1"
        assert (version / "model.onnx").stat().st_size == model.bytes
        assert (version / "model.py").is_file() == (backend == "python")


def test_the_server_is_real_and_serves_every_model(endpoint: Endpoint, exported: Models) -> None:
    mine = len(os.sched_getaffinity(0))
    cores = f", {mine - 1} of {os.cpu_count()} cores" if mine > 1 else ""
    assert endpoint.server == f"tritonserver 2.51.0 (CPU{cores})"
    for model in exported.models:
        described = requests.get(f"{endpoint.http}/v2/models/{model.name}/config", timeout=5).json()
        assert described["backend"] == "python"
        assert "dynamic_batching" in described
        assert len(described["model_warmup"]) == 1
    assert "nv_inference_count" in requests.get(endpoint.metrics, timeout=5).text


def tritons(run: Run) -> list[psutil.Process]:
    marked = processes.marked(run.mark)
    return [process for name, process in marked.items() if name.startswith("tritonserver")]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) == 1, reason="there is no core to leave")
def test_a_core_is_left_to_the_client(shared: Run, endpoint: Endpoint) -> None:
    left = min(os.sched_getaffinity(0))
    servers = tritons(shared)
    assert servers and all(left not in server.cpu_affinity() for server in servers)


def test_answers_agree_with_onnx_runtime(shared: Run, endpoint: Endpoint) -> None:
    smoke_record = smoke.infer(shared, endpoint)
    assert smoke_record.all_agree
    asked = {(answer.model, answer.protocol, answer.batch) for answer in smoke_record.answers}
    models = [network.name for network in shared.profile.model.networks]
    assert asked == {(m, p, b) for m in models for p in ("http", "grpc") for b in smoke.BATCHES}
    assert shared.load(Smoke) == smoke_record
    assert len(smoke.frame(smoke_record)) == len(smoke_record.answers)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        np.zeros((0, 1000), np.float32),
        np.zeros((2, 10), np.float32),
        np.full((2, 1000), np.nan, np.float32),
        np.ones((2, 1000), np.float32) * 1.01,
    ],
)
def test_content_counts_and_not_status(run: Run, answer: "smoke.Logits | None") -> None:
    truth = np.ones((2, 1000), np.float32)
    assert smoke.compare("m", "http", truth, truth, 1.0).agrees
    wrong = smoke.compare("m", "http", truth, answer, 1.0)
    assert not wrong.agrees
    record = Smoke(answers=(wrong,), tolerance=1e-4, weights={"m": "x"})
    run.save(record)
    assert run.load(Smoke) == record
    assert not record.all_agree


# larger than a server's first HTTP/2 window
WRONG_SIZE = replace(SHAPE, dims=(256, 256, 3))
WRONG_NAME = replace(SHAPE, model="nobody")


@pytest.mark.parametrize(
    ("protocol", "shape", "outcome"),
    [
        ("http", SHAPE, "ok"),
        ("grpc", SHAPE, "ok"),
        ("http", WRONG_SIZE, "http-400"),
        ("grpc", WRONG_SIZE, "grpc-invalid-argument"),
        ("http", WRONG_NAME, "http-404"),
        ("grpc", WRONG_NAME, "grpc-not-found"),
    ],
)
def test_outcomes_of_a_load_are_right_and_its_counts_are_tritons(
    tmp_path: Path, endpoint: Endpoint, protocol: str, shape: Shape, outcome: str
) -> None:
    burst = scenario({"arrivals": "burst", "count": 12, "duration_s": 0.05}, protocol=protocol)
    result = asyncio.run(load.run(burst, endpoint, shape=shape, folder=tmp_path))
    assert list(result.requests()["outcome"]) == [outcome] * 12
    assert result.report.server is not None
    assert result.report.server.requests == (12 if outcome == "ok" else 0)


def test_the_line_to_it_can_be_measured(endpoint: Endpoint) -> None:
    assert server_check.line_mbit(endpoint) > 100  # it reads what is for no model, and goes on


def test_a_taken_port_is_named(prepared: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        profile = Profile.load_named("quick", f"serving.grpc_port={port}")
        with pytest.raises(Problem, match=f"Port {port} on 127.0.0.1 is taken"):
            triton.serve(Run(prepared.folder, profile))
    assert processes.marked(prepared.mark) == {}


def test_a_bad_model_ends_with_the_servers_words(
    prepared: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = repository.build

    def broken(*arguments: object) -> Path:
        folder = build(*arguments)  # type: ignore[arg-type]
        model = next(folder.glob("*/1/model.onnx"))
        model.unlink()
        model.write_bytes(b"not a model")
        return folder

    monkeypatch.setattr(repository, "build", broken)
    with pytest.raises(Problem, match=r"triton ended while starting(.|\n)*log(.|\n)*model"):
        triton.serve(prepared)
    assert processes.marked(prepared.mark) == {}


def test_killed_outright_it_leaves_nothing(prepared: Run) -> None:
    triton.serve(prepared)
    mine = f"{triton.shared_memory_prefix(prepared)}*"
    assert list(triton.SHARED_MEMORY.glob(mine))
    marked = list(processes.marked(prepared.mark).values())
    os.kill(tritons(prepared)[0].pid, signal.SIGKILL)
    processes.wait_for_end(marked, 20)
    assert processes.marked(prepared.mark) == {}
    deadline = time.monotonic() + 5
    while list(triton.SHARED_MEMORY.glob(mine)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not list(triton.SHARED_MEMORY.glob(mine))


def test_without_wheel_and_docker_the_stage_is_not_available(
    prepared: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(programs, "TOOLS", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="Docker does not work here"):
        triton.serve(prepared)


def test_the_container_is_reachable_from_this_machine_alone(tmp_path: Path) -> None:
    ports = {"http": 1, "grpc": 2, "metrics": 3}
    command = triton.container_command("R-1", tmp_path, ["m"], ports)
    assert command[:2] == ["docker", "run"]
    published = [option for option in command if option.startswith("--publish")]
    assert published == [f"--publish=127.0.0.1:{number}:{7999 + number}" for number in (1, 2, 3)]
    assert command.index(builders.base_image()) < command.index("tritonserver")
    assert {"--model-repository=/models", "--load-model=m"} <= set(command)
