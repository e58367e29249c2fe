"""A minimal echo model, so that the benchmark compares clients and not networks."""

from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as config_pb2

PLAIN, BATCHED = "echo", "echo-batched"
BATCH = 64  # the server's largest batch; a request has one item
NUMBERS = 16
INPUT, OUTPUT = "asked", "said"

CODE = f'''"""Returns its input."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """One instance."""

    def execute(self, requests):
        """Return each request's input as its output."""
        inputs = [pb_utils.get_input_tensor_by_name(request, "{INPUT}") for request in requests]
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("{OUTPUT}", tensor.as_numpy())])
            for tensor in inputs
        ]
'''


def build(folder: Path) -> None:
    """Write both echo models: one request per execution, and dynamic batching."""
    for name, batch in ((PLAIN, 1), (BATCHED, BATCH)):
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "1/model.py").write_text(CODE)
        (folder / name / "config.pbtxt").write_text(_config(name, batch))


def _config(name: str, batch: int) -> str:
    message = config_pb2.ModelConfig(name=name, backend="python", max_batch_size=batch)
    message.input.add(name=INPUT, data_type=config_pb2.TYPE_FP32, dims=[NUMBERS])
    message.output.add(name=OUTPUT, data_type=config_pb2.TYPE_FP32, dims=[NUMBERS])
    message.instance_group.add(kind=config_pb2.ModelInstanceGroup.KIND_CPU, count=1)
    if batch > 1:
        message.dynamic_batching.max_queue_delay_microseconds = 0
    text: str = text_format.MessageToString(message)
    return text
