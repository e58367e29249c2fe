"""Triton's model repository: one ONNX file and one config.pbtxt per model."""

import os
import shutil
from pathlib import Path
from typing import Literal

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as config_pb2

from helpers.paths import MODEL
from helpers.profile import ServingSettings
from helpers.run import Run
from helpers.serving.records import ModelFacts, Models
from model.signature import CLASSES, INPUT, OUTPUT, image_dims

# `python` runs ONNX Runtime inside Triton's Python backend, on a CPU; `onnxruntime` is Triton's
# own backend, on a GPU in the cluster and on a CPU in the container.
Backend = Literal["python", "onnxruntime"]
Kind = Literal["cpu", "gpu"]


def build(run: Run, exported: Models, backend: Backend = "python", kind: Kind = "cpu") -> Path:
    """Create a model repository in the run's folder and replace an earlier one.

    It holds `<name>/config.pbtxt` and `<name>/1/` for each model.
    """
    folder = run.folder / "models" / f"{backend}-{kind}"
    shutil.rmtree(folder, ignore_errors=True)
    for model in exported.models:
        version = folder / model.name / "1"
        version.mkdir(parents=True)
        link(model.onnx_file(), version / "model.onnx")
        if backend == "python":
            shutil.copyfile(MODEL / "backend/model.py", version / "model.py")
        text = config(model, run.profile.serving, backend, kind)
        (folder / model.name / "config.pbtxt").write_text(text)
    return folder


def config(model: ModelFacts, serving: ServingSettings, backend: Backend, kind: Kind) -> str:
    """The model's config.pbtxt, built with Triton's own schema.

    Each instance runs warm-up requests before the model is ready, so that no first request is
    slow. Triton counts the warm-up images as successful requests.
    """
    message = config_pb2.ModelConfig(
        name=model.name, backend=backend, max_batch_size=serving.max_batch_size
    )
    pixels = model.input == "uint8"
    datatype = config_pb2.TYPE_UINT8 if pixels else config_pb2.TYPE_FP32
    layout = config_pb2.ModelInput.FORMAT_NHWC if pixels else config_pb2.ModelInput.FORMAT_NCHW
    dims = image_dims(model.input, model.image_size)
    message.input.add(name=INPUT, data_type=datatype, format=layout, dims=dims)
    message.output.add(name=OUTPUT, data_type=config_pb2.TYPE_FP32, dims=[CLASSES])
    group = config_pb2.ModelInstanceGroup
    message.instance_group.add(
        kind=group.KIND_GPU if kind == "gpu" else group.KIND_CPU, count=serving.instances
    )
    message.dynamic_batching.max_queue_delay_microseconds = serving.queue_delay_us
    message.parameters["intra_op_thread_count"].string_value = str(serving.threads)
    # a large warm-up batch lets a GPU choose its kernels; on a CPU it makes no difference
    for batch in sorted({1, serving.max_batch_size}) if kind == "gpu" else [1]:
        warmup = message.model_warmup.add(name=f"{batch} random", batch_size=batch)
        tensor = warmup.inputs[INPUT]
        tensor.data_type, tensor.random_data = datatype, True
        tensor.dims.extend(dims)
    text: str = text_format.MessageToString(message)
    return text


def link(source: str | Path, target: str | Path) -> None:
    """Make a hard link, or a copy where the file system has none; models are large."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
