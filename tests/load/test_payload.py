"""What is sent is what Triton's own client would send, and no two inputs are alike."""

import json

import numpy as np
import pytest
from tritonclient import grpc as tritongrpc
from tritonclient import http as tritonhttp

from helpers.errors import Problem
from helpers.load import payload
from helpers.profile import Profile

from .conftest import MakeRun, scenario
from .known_server import MODEL, SHAPE

BATCH = payload.Shape(MODEL, batch=2, size=32)


def test_http_body_equals_that_of_tritonclient() -> None:
    (image,) = payload.images(BATCH, 1, 5)
    tensor = tritonhttp.InferInput("input", list(BATCH.input), "FP32")
    tensor.set_data_from_numpy(image)
    wanted = [tritonhttp.InferRequestedOutput("logits")]
    body, length = tritonhttp.InferenceServerClient.generate_request_body([tensor], outputs=wanted)
    (message,) = payload.http_messages(BATCH, 1, 5, "https://example.org:8443/base/")
    head, _, sent = message.partition(b"\r\n\r\n")
    assert head.startswith(
        b"POST /base/v2/models/mobilenetv2/infer HTTP/1.1\r\nHost: example.org:8443"
    )
    assert f"\r\nContent-Length: {len(sent)}".encode() in head
    ours = int(head.split(b"Inference-Header-Content-Length: ")[1].split(b"\r\n")[0])
    assert json.loads(sent[:ours]) == json.loads(body[:length])
    assert sent[ours:] == body[length:] == image.tobytes()


def test_grpc_message_is_a_whole_inference() -> None:
    (image,) = payload.images(BATCH, 1, 5)
    (message,) = payload.grpc_messages(BATCH, 1, 5)
    parsed = tritongrpc.service_pb2.ModelInferRequest.FromString(message)
    assert (parsed.model_name, parsed.inputs[0].name) == (MODEL, "input")
    assert (list(parsed.inputs[0].shape), parsed.inputs[0].datatype) == ([2, 3, 32, 32], "FP32")
    assert parsed.outputs[0].name == "logits"
    assert parsed.raw_input_contents[0] == image.tobytes()


def test_images_are_seeded_and_differ() -> None:
    first, second, again, other = (
        next(payload.images(SHAPE, 1, 1)),
        list(payload.images(SHAPE, 2, 1))[1],
        next(payload.images(SHAPE, 1, 1)),
        next(payload.images(SHAPE, 1, 2)),
    )
    assert first.dtype == np.float32 and first.shape == (1, 3, 64, 64)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second) and not np.array_equal(first, other)
    assert abs(first.mean()) < 0.05 and abs(first.std() - 1) < 0.05


def test_the_size_is_that_of_the_served_network(make_run: MakeRun, profile: Profile) -> None:
    chosen = scenario({"arrivals": "burst", "count": 1, "duration_s": 1}, batch=4)
    assert payload.shape_of(profile, chosen).input == (4, 3, 64, 64)
    assert payload.shape_of(profile, chosen).output_bytes == 16_000


def test_inputs_beyond_memory_are_refused() -> None:
    large = Profile.load_named("quick", "model.networks.mobilenetv2.image_size=1024")
    chosen = scenario({"arrivals": "burst", "count": 1, "duration_s": 1}, batch=32, inputs=256)
    with pytest.raises(Problem, match=r"The 256 inputs of scenario 'trial' take 96\.0 GiB"):
        payload.shape_of(large, chosen)
