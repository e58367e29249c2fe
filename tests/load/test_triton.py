"""At a real Triton the engine's outcomes are right, and its counts are those of Triton."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from helpers import processes
from helpers.load import server_check
from helpers.load.arrivals import WHOLE
from helpers.load.request import Answered, Client, Shape
from helpers.load.worker import WorkerJob, connect
from helpers.profile import Profile
from helpers.run import Run
from helpers.scenario import Scenario
from helpers.serving import models, triton
from helpers.serving.records import Endpoint

from .conftest import MakeRun, play, scenario
from .known_server import SHAPE


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, profile: Profile) -> Iterator[Endpoint]:
    """A real Triton that serves the networks of the quick profile."""
    run = Run.create(profile, tmp_path_factory.mktemp("serving"))
    models.prepare(run)
    yield triton.serve(run)
    processes.down(run)


def client(endpoint: Endpoint, shape: Shape, chosen: Scenario, answered: Answered) -> Client:
    job = WorkerJob(
        folder=Path(), scenario=chosen, shard=WHOLE, endpoint=endpoint, shape=shape,
        max_connections=64,
    )  # fmt: skip
    return connect(job, answered)


def successes(endpoint: Endpoint) -> float:
    counters = server_check.read_counters(endpoint.metrics, SHAPE.model)
    assert counters is not None
    return counters["nv_inference_request_success"]


# larger than a server's first HTTP/2 window
WRONG_SIZE = Shape(SHAPE.model, 1, (3, 256, 256), SHAPE.outputs, "input", "logits")
WRONG_NAME = Shape("nobody", 1, SHAPE.dims, SHAPE.outputs, "input", "logits")


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
def test_outcomes_and_counts(
    make_run: MakeRun, real: Endpoint, protocol: str, shape: Shape, outcome: str
) -> None:
    chosen = scenario({"arrivals": "burst", "count": 12, "duration_s": 0.05}, protocol=protocol)
    expected = successes(real) + (12 if outcome == "ok" else 0)
    table = play(make_run(chosen), partial(client, real, shape, chosen))
    assert list(table["outcome"]) == [outcome] * 12
    deadline = time.monotonic() + 5  # Triton counts a request a little after it has answered it
    while successes(real) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    assert successes(real) == expected
