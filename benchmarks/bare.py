"""ONNX Runtime without a server, in the environment that Triton's Python backend runs in.

`python bare.py MODEL BATCH THREADS SECONDS` prints images per second; nothing of the project is
imported.
"""

import sys
import time

import numpy as np
import onnxruntime as ort


def main(path: str, batch: int, threads: int, seconds: float) -> None:
    """Run a model repeatedly, with the same options as the served one."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    tensor = session.get_inputs()[0]
    dtype = np.uint8 if tensor.type == "tensor(uint8)" else np.float32
    images = np.random.default_rng(1).uniform(0, 255, (batch, *tensor.shape[1:])).astype(dtype)
    session.run(None, {tensor.name: images})  # the first run allocates
    count, begin = 0, time.monotonic()
    while time.monotonic() < begin + seconds:
        session.run(None, {tensor.name: images})
        count += batch
    print(count / (time.monotonic() - begin))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
