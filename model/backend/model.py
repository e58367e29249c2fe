"""ONNX Runtime in Triton's Python backend: replaces the ONNX Runtime backend on a CPU.

Triton loads this file in a separate environment (numpy < 2), so it imports nothing of the
project.
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """One instance of a model; Triton passes it batches of requests."""

    def initialize(self, args):
        """Open the version's `model.onnx` with the number of threads in config.pbtxt."""
        if int(np.__version__.split(".")[0]) >= 2:
            # with numpy 2 this backend returns status 200 with empty tensors (server#7647)
            raise RuntimeError(f"numpy {np.__version__} found; the backend needs numpy < 2")
        config = json.loads(args["model_config"])
        options = ort.SessionOptions()
        threads = config["parameters"]["intra_op_thread_count"]["string_value"]
        options.intra_op_num_threads = int(threads)
        options.inter_op_num_threads = 1
        # idle threads must not use CPU time on the cores that client and server share
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = Path(args["model_repository"], args["model_version"], "model.onnx")
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.input = config["input"][0]["name"]
        self.output = config["output"][0]["name"]

    def execute(self, requests):
        """Run all requests of a batch at once and return one response per request."""
        inputs = [
            pb_utils.get_input_tensor_by_name(request, self.input).as_numpy()
            for request in requests
        ]
        batch = inputs[0] if len(inputs) == 1 else np.concatenate(inputs)
        logits = self.session.run([self.output], {self.input: batch})[0]
        ends = np.cumsum([len(images) for images in inputs])[:-1]
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor(self.output, part)])
            for part in np.split(logits, ends)
        ]
