"""Triton's Python backend around ONNX Runtime: the CPU's stand-in for the ONNX Runtime backend.

Triton loads this file in an environment of its own (numpy < 2); nothing of the project is
imported.
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """One instance of a model; Triton hands it batches of requests."""

    def initialize(self, args):
        """Open the version's `model.onnx` with the threads that config.pbtxt grants."""
        if int(np.__version__.split(".")[0]) >= 2:
            # with numpy 2 this backend answers 200 and empty tensors (server#7647)
            raise RuntimeError(f"numpy {np.__version__} found; the backend needs numpy < 2")
        config = json.loads(args["model_config"])
        options = ort.SessionOptions()
        threads = config["parameters"]["intra_op_thread_count"]["string_value"]
        options.intra_op_num_threads = int(threads)
        options.inter_op_num_threads = 1
        # waiting threads must not burn the cores that client and server share
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = Path(args["model_repository"], args["model_version"], "model.onnx")
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.input = config["input"][0]["name"]
        self.output = config["output"][0]["name"]

    def execute(self, requests):
        """Run all requests of a batch at once, and hand each its part."""
        inputs = [
            pb_utils.get_input_tensor_by_name(request, self.input).as_numpy()
            for request in requests
        ]
        batch = inputs[0] if len(inputs) == 1 else np.concatenate(inputs)
        logits = self.session.run([self.output], {self.input: batch})[0]
        ends = np.cumsum([len(one) for one in inputs])[:-1]
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor(self.output, part)])
            for part in np.split(logits, ends)
        ]
