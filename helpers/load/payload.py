"""What each request carries: seeded images, serialised once before the first is sent."""

import json
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from helpers.load import arrivals
from helpers.scenario import Scenario

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Shape:
    """What goes in and what must come out.

    Attributes:
        model: The served model's name.
        batch: Inputs per request.
        dims: Dimensions of one input, without the batch.
        outputs: Numbers in the output of one input.
        input_name: Name of the input tensor.
        output_name: Name of the output tensor.
        batched: Whether the batch is a dimension of the tensors.
    """

    model: str
    batch: int
    dims: tuple[int, ...]
    outputs: int
    input_name: str
    output_name: str
    batched: bool = True

    @property
    def input(self) -> tuple[int, ...]:
        """Dimensions of the input tensor."""
        return (self.batch, *self.dims) if self.batched else self.dims

    @property
    def input_bytes(self) -> int:
        """Bytes of the input tensor."""
        return int(np.prod(self.input)) * FLOAT_BYTES

    @property
    def output_bytes(self) -> int:
        """Bytes of the output tensor of a good answer."""
        return self.batch * self.outputs * FLOAT_BYTES


Tensors = list[npt.NDArray[np.float32]]


def tensors(shape: Shape, scenario: Scenario, shard: int = 0) -> Tensors:
    """The inputs of a scenario; random ones differ, also from those of other shards."""
    if scenario.payload == "zeros":
        return [np.zeros(shape.input, dtype=np.float32)] * scenario.inputs
    random = arrivals.generator(scenario.seed, 1, shard)
    return [random.standard_normal(shape.input, dtype=np.float32) for _ in range(scenario.inputs)]


def http_messages(shape: Shape, inputs: Tensors, url: str) -> list[bytes]:
    """Whole HTTP/1.1 requests: KServe v2 with the binary tensor extension.

    Args:
        shape: Of the tensors.
        inputs: The input of each.
        url: Base URL of the server.
    """
    tensor = {
        "name": shape.input_name,
        "shape": shape.input,
        "datatype": "FP32",
        "parameters": {"binary_data_size": shape.input_bytes},
    }
    wanted = {"name": shape.output_name, "parameters": {"binary_data": True}}
    described = json.dumps({"inputs": [tensor], "outputs": [wanted]}).encode()
    target = urlsplit(url)
    head = (
        f"POST {target.path.rstrip('/')}/v2/models/{shape.model}/infer HTTP/1.1\r\n"
        f"Host: {target.netloc}\r\n"
        "Content-Type: application/octet-stream\r\n"
        f"Inference-Header-Content-Length: {len(described)}\r\n"
        f"Content-Length: {len(described) + shape.input_bytes}\r\n\r\n"
    )
    start = head.encode() + described
    return [start + one.tobytes() for one in inputs]


def grpc_messages(shape: Shape, inputs: Tensors) -> list[bytes]:
    """Serialised `ModelInferRequest` messages; arguments as of `http_messages`."""
    from tritonclient.grpc import service_pb2  # only needed, and slow to import, for gRPC

    messages = []
    for one in inputs:
        message = service_pb2.ModelInferRequest(model_name=shape.model)
        message.inputs.add(name=shape.input_name, datatype="FP32", shape=shape.input)
        message.outputs.add(name=shape.output_name)
        message.raw_input_contents.append(one.tobytes())
        messages.append(message.SerializeToString())
    return messages
