"""A request carries what Triton's own client would send, and its row comes back as recorded."""

import json
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tritonclient import http as tritonhttp

from helpers import load
from helpers.load import http_client, request, statistics
from helpers.load.request import Recorder, Request, parts_folder
from helpers.run import Run

from .conftest import MakeRun, scenario
from .known_server import MODEL, SHAPE

BURST = {"arrivals": "burst", "count": 1, "duration_s": 1}
BATCH = request.Shape(MODEL, 2, (3, 32, 32), 1000, "input", "logits", datatype="FP32")


@pytest.mark.parametrize("shape", [BATCH, SHAPE])
def test_a_message_is_that_of_tritonclient(shape: request.Shape) -> None:
    (image,) = request.tensors(shape, scenario(BURST, inputs=1))
    assert shape.input_bytes == image.nbytes == {"FP32": 24_576, "UINT8": 12_288}[shape.datatype]
    tensor = tritonhttp.InferInput("input", list(shape.input), shape.datatype)
    tensor.set_data_from_numpy(image)
    wanted = [tritonhttp.InferRequestedOutput("logits")]
    body, length = tritonhttp.InferenceServerClient.generate_request_body([tensor], outputs=wanted)
    (message,) = http_client.messages(shape, [image], "https://example.org:8443/base/")
    head, _, sent = message.partition(b"\r\n\r\n")
    assert head.startswith(
        b"POST /base/v2/models/mobilenetv2/infer HTTP/1.1\r\nHost: example.org:8443"
    )
    assert f"\r\nContent-Length: {len(sent)}".encode() in head
    ours = int(head.split(b"Inference-Header-Content-Length: ")[1].split(b"\r\n")[0])
    assert json.loads(sent[:ours]) == json.loads(body[:length])
    assert sent[ours:] == body[length:] == image.tobytes()


def test_inputs_are_seeded_and_differ_or_are_zeros() -> None:
    chosen = scenario(BURST, inputs=2, seed=1)
    (first, second), (again, _) = request.tensors(SHAPE, chosen), request.tensors(SHAPE, chosen)
    (other,) = request.tensors(SHAPE, scenario(BURST, inputs=1, seed=2))
    (next_shard, _) = request.tensors(SHAPE, chosen, shard=1)
    assert first.dtype == np.uint8 and first.shape == (1, 64, 64, 3)
    assert (first.min(), first.max()) == (0, 255) and abs(first.mean() - 127.5) < 3
    assert np.array_equal(first, again)
    for tensor in (second, other, next_shard):
        assert not np.array_equal(first, tensor)
    (floats,) = request.tensors(BATCH, scenario(BURST, inputs=1))
    assert abs(floats.mean()) < 0.05 and abs(floats.std() - 1) < 0.05
    zeros = request.tensors(SHAPE, scenario(BURST, inputs=3, payload="zeros"))
    assert len(zeros) == 3 and not np.any(zeros)


@pytest.fixture
def run(make_run: MakeRun) -> Run:
    """A run of a scenario `trial` of two phases."""
    even = {"arrivals": "constant", "rate": 1}
    return make_run(
        scenario(
            {**even, "name": "warm-up", "duration_s": 2, "warmup": True}, {**even, "duration_s": 9}
        )
    )


Row = tuple[int, float, float, float, str, int]  # phase, intended, sent, done, outcome, bytes


def record(folder: Path, *parts: list[Row]) -> None:
    recorder = Recorder(folder)
    for rows in parts:
        for phase, intended, sent, done, outcome, size in rows:
            answered = Request(phase, intended, 0, intended)
            answered.sent, answered.done = sent, done
            recorder.add(answered, outcome, size)
        recorder.write(recorder.take())


def test_rows_come_back_in_order_with_their_latency(run: Run) -> None:
    record(
        parts_folder(run.folder, "trial"),
        [(1, 2.5, 2.5001, 2.5203456, "ok", 4000), (0, 0.25, 0.2501, nan, "timeout", 0)],
        [(1, 2.0, nan, nan, "refused", 0), (1, 2.25, 2.2501, 2.2511, "http-503", 9)],
        [],
    )
    statistics.assemble(run.folder, run.profile.load.scenarios[0])
    table = run.load_table("requests-trial")
    assert list(table.columns) == statistics.COLUMNS
    assert list(table["intended_s"]) == [0.25, 2.0, 2.25, 2.5]
    assert list(table["phase"]) == ["warm-up", "steady", "steady", "steady"]
    assert list(table["warmup"]) == [True, False, False, False]
    assert list(table["outcome"]) == ["timeout", "refused", "http-503", "ok"]
    assert list(table["bytes"]) == [0, 0, 9, 4000]
    assert np.allclose(table["latency_ms"], [nan, nan, 1.1, 20.346], equal_nan=True)
    assert np.allclose(table["service_ms"], [nan, nan, 1.0, 20.246], equal_nan=True)
    assert not parts_folder(run.folder, "trial").exists()


def test_a_torn_part_is_left_out_and_an_earlier_firing_removed(run: Run) -> None:
    folder = parts_folder(run.folder, "trial")
    record(folder, [(1, 2.5, 2.5001, 2.52, "ok", 4000)])
    (folder / "00-000001.tmp").write_bytes((folder / "00-000000.parquet").read_bytes()[:99])
    load.recover(run)
    assert len(run.load_table("requests-trial")) == 1
    record(folder, [(1, 2.5, 2.5001, 2.52, "ok", 4000)])
    statistics.clear(run.folder, "trial")
    load.recover(run)
    assert not statistics.table_path(run.folder, "trial").exists()


def test_no_rows_are_an_empty_table(run: Run) -> None:
    Recorder(parts_folder(run.folder, "trial"))
    statistics.assemble(run.folder, run.profile.load.scenarios[0])
    table = pd.read_parquet(statistics.table_path(run.folder, "trial"))
    assert table.empty and list(table.columns) == statistics.COLUMNS
