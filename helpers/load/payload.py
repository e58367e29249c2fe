"""What each request carries: seeded images, serialised once before the first is sent."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from helpers.errors import Problem
from helpers.load import arrivals
from helpers.profile import Profile
from helpers.scenario import Scenario

INPUT, OUTPUT, CLASSES = "input", "logits", 1000
FLOAT_BYTES = 4
MEMORY_LIMIT = 2 << 30


@dataclass(frozen=True)
class Shape:
    """What goes in and what must come out.

    Attributes:
        model: The served model's name.
        batch: Images per request.
        size: Height and width of an image, pixels.
    """

    model: str
    batch: int
    size: int

    @property
    def input(self) -> tuple[int, int, int, int]:
        """Dimensions of the input tensor."""
        return (self.batch, 3, self.size, self.size)

    @property
    def input_bytes(self) -> int:
        """Bytes of the input tensor."""
        return int(np.prod(self.input)) * FLOAT_BYTES

    @property
    def output_bytes(self) -> int:
        """Bytes of the output tensor of a good answer."""
        return self.batch * CLASSES * FLOAT_BYTES


def shape_of(profile: Profile, scenario: Scenario) -> Shape:
    """The shapes of a scenario's requests; the image size is that of the served network.

    Raises:
        Problem: The inputs together would not fit into memory.
    """
    sizes = {network.name: network.image_size for network in profile.model.networks}
    shape = Shape(scenario.model, scenario.batch, sizes[scenario.model])
    if shape.input_bytes * scenario.inputs > MEMORY_LIMIT:
        raise Problem(
            f"The {scenario.inputs} inputs of scenario '{scenario.name}' take "
            f"{shape.input_bytes * scenario.inputs / 2**30:.1f} GiB of memory.",
            "Lower its inputs or its batch.",
        )
    return shape


def images(shape: Shape, count: int, seed: int) -> Iterator[npt.NDArray[np.float32]]:
    """`count` different inputs, distributed as normalised images are."""
    random = arrivals.generator(seed, 1)
    for _ in range(count):
        yield random.standard_normal(shape.input, dtype=np.float32)


def http_messages(shape: Shape, count: int, seed: int, url: str) -> list[bytes]:
    """Whole HTTP/1.1 requests: KServe v2 with the binary tensor extension.

    Args:
        shape: Of the tensors.
        count: How many different ones.
        seed: Of the images.
        url: Base URL of the server.
    """
    tensor = {
        "name": INPUT,
        "shape": shape.input,
        "datatype": "FP32",
        "parameters": {"binary_data_size": shape.input_bytes},
    }
    wanted = {"name": OUTPUT, "parameters": {"binary_data": True}}
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
    return [start + image.tobytes() for image in images(shape, count, seed)]


def grpc_messages(shape: Shape, count: int, seed: int) -> list[bytes]:
    """Serialised `ModelInferRequest` messages; arguments as of `http_messages`."""
    from tritonclient.grpc import service_pb2  # only needed, and slow to import, for gRPC

    messages = []
    for image in images(shape, count, seed):
        message = service_pb2.ModelInferRequest(model_name=shape.model)
        message.inputs.add(name=INPUT, datatype="FP32", shape=shape.input)
        message.outputs.add(name=OUTPUT)
        message.raw_input_contents.append(image.tobytes())
        messages.append(message.SerializeToString())
    return messages
