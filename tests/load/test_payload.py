"""What is sent is what Triton's own client would send, and no two inputs are alike."""

import json

import numpy as np
from tritonclient import grpc as tritongrpc
from tritonclient import http as tritonhttp

from helpers.load import request

from .conftest import scenario
from .known_server import MODEL, SHAPE

BURST = {"arrivals": "burst", "count": 1, "duration_s": 1}
BATCH = request.Shape(MODEL, 2, (3, 32, 32), 1000, "input", "logits")


def test_http_body_equals_that_of_tritonclient() -> None:
    (image,) = request.tensors(BATCH, scenario(BURST, inputs=1))
    tensor = tritonhttp.InferInput("input", list(BATCH.input), "FP32")
    tensor.set_data_from_numpy(image)
    wanted = [tritonhttp.InferRequestedOutput("logits")]
    body, length = tritonhttp.InferenceServerClient.generate_request_body([tensor], outputs=wanted)
    (message,) = request.http_messages(BATCH, [image], "https://example.org:8443/base/")
    head, _, sent = message.partition(b"\r\n\r\n")
    assert head.startswith(
        b"POST /base/v2/models/mobilenetv2/infer HTTP/1.1\r\nHost: example.org:8443"
    )
    assert f"\r\nContent-Length: {len(sent)}".encode() in head
    ours = int(head.split(b"Inference-Header-Content-Length: ")[1].split(b"\r\n")[0])
    assert json.loads(sent[:ours]) == json.loads(body[:length])
    assert sent[ours:] == body[length:] == image.tobytes()


def test_grpc_message_is_a_whole_inference() -> None:
    (image,) = request.tensors(BATCH, scenario(BURST, inputs=1))
    (message,) = request.grpc_messages(BATCH, [image])
    parsed = tritongrpc.service_pb2.ModelInferRequest.FromString(message)
    assert (parsed.model_name, parsed.inputs[0].name) == (MODEL, "input")
    assert (list(parsed.inputs[0].shape), parsed.inputs[0].datatype) == ([2, 3, 32, 32], "FP32")
    assert parsed.outputs[0].name == "logits"
    assert parsed.raw_input_contents[0] == image.tobytes()


def test_inputs_are_seeded_and_differ() -> None:
    chosen = scenario(BURST, inputs=2, seed=1)
    (first, second), (again, _) = request.tensors(SHAPE, chosen), request.tensors(SHAPE, chosen)
    (other,) = request.tensors(SHAPE, scenario(BURST, inputs=1, seed=2))
    (of_another_worker, _) = request.tensors(SHAPE, chosen, shard=1)
    assert first.dtype == np.float32 and first.shape == (1, 3, 64, 64)
    assert np.array_equal(first, again)
    for one in (second, other, of_another_worker):
        assert not np.array_equal(first, one)
    assert abs(first.mean()) < 0.05 and abs(first.std() - 1) < 0.05


def test_zeros_are_zeros() -> None:
    inputs = request.tensors(SHAPE, scenario(BURST, inputs=3, payload="zeros"))
    assert len(inputs) == 3 and not any(one.any() for one in inputs)
