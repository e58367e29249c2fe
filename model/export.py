"""Export networks from torch to ONNX, and compare the two."""

import contextlib
import io
import logging
import math
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import nn

from model.networks import MEAN, STD, FromPixels
from model.signature import INPUT, OUTPUT, InputType, image_dims

LEAST_OPSET = 18
LARGEST_BATCH = 64


class ExportError(Exception):
    """The exported file is wrong; the message says why."""


@dataclass(frozen=True)
class Parity:
    """Comparison of torch and ONNX Runtime on the same images, from the input to the logits.

    Attributes:
        difference: Batch size → largest absolute difference of the logits, divided by the
            largest absolute logit; infinite where one is not a number.
        top1_agreement: Share of images for which both predict the same class.
    """

    difference: dict[int, float]
    top1_agreement: float


def export(network: nn.Module, image_size: int, path: Path, kind: InputType) -> None:
    """Write a network as ONNX with a dynamic batch of 1 to 64.

    With `uint8`, the file takes (N, image_size, image_size, 3) and normalises by itself.

    Args:
        network: In evaluation mode; takes (N, 3, image_size, image_size).
        image_size: Height and width, pixels.
        path: File to write; it is written completely or not at all.
        kind: What the file takes.
    """
    batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    sample = torch.zeros(2, *image_dims(kind, image_size))
    if kind == "uint8":
        network, sample = FromPixels(network), sample.to(torch.uint8)
    temporary = path.with_suffix(f".{os.getpid()}.part")
    with _quiet():
        torch.onnx.export(
            network,
            (sample,),
            temporary,
            dynamo=True,
            external_data=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: batch},),
            verbose=False,
        )
    temporary.replace(path)


def check(path: Path, image_size: int, kind: InputType) -> int:
    """Check an exported file; returns its opset.

    Raises:
        ExportError: It is not valid ONNX, its opset is too old, its batch is fixed, or it takes
            other images.
    """
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # onnx raises protobuf's and its own, without a common base
        raise ExportError(f"{path.name} is not a valid ONNX file: {error}") from error
    opset: int = next(entry.version for entry in model.opset_import if entry.domain == "")
    if opset < LEAST_OPSET:
        raise ExportError(f"{path.name} has opset {opset}; at least {LEAST_OPSET} is required")
    tensor = model.graph.input[0].type.tensor_type
    first, *rest = tensor.shape.dim
    wanted = onnx.TensorProto.UINT8 if kind == "uint8" else onnx.TensorProto.FLOAT
    dims = image_dims(kind, image_size)
    taken = [dimension.dim_value for dimension in rest]
    if not first.dim_param or taken != dims or tensor.elem_type != wanted:
        raise ExportError(f"{path.name} does not take {kind} of (batch, {str(dims)[1:-1]})")
    return opset


def parity(network: nn.Module, path: Path, batches: tuple[int, ...], seed: int) -> Parity:
    """Compare torch with ONNX Runtime on seeded images.

    Args:
        network: The exported network.
        path: The exported file.
        batches: Batch sizes to compare.
        seed: Seed of the images.
    """
    session = open_session(path)
    generator = np.random.default_rng(seed)
    difference: dict[int, float] = {}
    same: list[NDArray[np.bool_]] = []
    for batch in batches:
        images = random_images(session, batch, generator)
        tensor = torch.from_numpy(images)
        if images.dtype == np.uint8:  # in torchvision's order, other than in the exported graph
            scaled = tensor.permute(0, 3, 1, 2) / 255
            tensor = (scaled - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
        with torch.inference_mode():
            truth = network(tensor).numpy()
        logits = session.run([OUTPUT], {INPUT: images})[0]
        difference[batch] = relative_difference(truth, logits)
        same.append(truth.argmax(1) == logits.argmax(1))
    return Parity(difference, float(np.concatenate(same).mean()))


def relative_difference(truth: NDArray[np.float32], logits: NDArray[np.float32]) -> float:
    """Largest absolute difference over the largest absolute true value.

    It is infinite where a value is not a finite number: a NaN fails no comparison with `>`, and
    Python's `max` may drop it.
    """
    if not (np.isfinite(truth).all() and np.isfinite(logits).all() and truth.any()):
        return math.inf
    return float(np.abs(truth - logits).max() / np.abs(truth).max())


def random_images(
    session: ort.InferenceSession, batch: int, generator: np.random.Generator
) -> NDArray[Any]:
    """Random images as a file's input wants them: bytes of 0 to 255, or normalised floats."""
    (tensor,) = session.get_inputs()
    shape = (batch, *tensor.shape[1:])
    if tensor.type == "tensor(uint8)":
        return generator.integers(256, size=shape, dtype=np.uint8)
    return generator.standard_normal(shape, dtype=np.float32)


def open_session(path: Path, threads: int = 2) -> ort.InferenceSession:
    """An ONNX Runtime session on this CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's progress output and its warnings about its own internals."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
