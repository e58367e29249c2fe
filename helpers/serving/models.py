"""The networks of the profile: exported to ONNX once, compared with torch in every run."""

import hashlib
import os
from pathlib import Path

import pandas as pd
import torch

from helpers.errors import Problem
from helpers.paths import MODEL
from helpers.profile import InputType, Network
from helpers.run import Run, write_atomically
from helpers.serving import records
from helpers.serving.records import ModelFacts, Models
from model import export, weights
from model.weights import Loaded

PARITY_BATCHES = (1, 2, 8)
PARITY_SEED = 7
TOLERANCE = 1e-4  # far above float32 rounding through 50 layers, far below a wrong layer


def prepare(run: Run) -> Models:
    """Export the profile's networks or reuse cached files, then check and compare them."""
    models = Models(models=tuple(_prepare(run, network) for network in run.profile.model.networks))
    run.save(models)
    run.note(models={model.name: model.sha256 for model in models.models})
    return models


def frame(models: Models) -> pd.DataFrame:
    """The exported models as a table, one row per model."""
    return pd.DataFrame(
        {
            "model": model.name,
            "network": model.network,
            "input": f"{model.image_size} x {model.image_size} px, {model.input}",
            "weights": model.weights,
            "opset": model.opset,
            "parameters, millions": round(model.parameters / 1e6, 1),
            "file, MB": round(model.bytes / 1e6, 1),
            "parity": f"{max(model.parity.values()):.1e}",
            "same top 1": f"{model.top1_agreement:.0%}",
        }
        for model in models.models
    )


def _prepare(run: Run, network: Network) -> ModelFacts:
    settings = run.profile.model
    try:
        loaded = weights.build(network.network, settings.weights, settings.seed)
        path = _export(loaded, network, settings.input)
        opset = export.check(path, network.image_size, settings.input)
    except weights.WeightsError as error:
        raise Problem(
            f"There are no pretrained weights for {network.network}: {error}.",
            "Put the file into the folder that GPU_E2E_WEIGHTS names, or set "
            "model.weights=random in the profile.",
        ) from error
    except export.ExportError as error:
        raise Problem(f"The export of {network.name} is wrong: {error}.") from error
    if loaded.weights.startswith("seeded random"):
        why = f" ({loaded.reason})" if loaded.reason else ""
        print(f"{network.name}: {loaded.weights} weights{why}: its predictions mean nothing.")
    compared = export.parity(loaded.network, path, PARITY_BATCHES, PARITY_SEED)
    worst = max(compared.difference.values())
    if not worst <= TOLERANCE:
        raise Problem(f"{network.name} differs from torch by {worst:.1e} of the largest logit.")
    return ModelFacts(
        **dict(network),
        input=settings.input,
        weights=loaded.weights,
        opset=opset,
        parameters=sum(parameter.numel() for parameter in loaded.network.parameters()),
        bytes=path.stat().st_size,
        sha256=path.stem,
        parity=compared.difference,
        top1_agreement=compared.top1_agreement,
    )


def _export(loaded: Loaded, network: Network, kind: InputType) -> Path:
    """The exported file, named by its digest; an index file maps the inputs of the export to it."""
    sources = b"".join(path.read_bytes() for path in sorted(MODEL.glob("*.py")))
    inputs = f"{network.network} {network.image_size} {kind} {loaded.weights} {torch.__version__}"
    key = hashlib.sha256(sources + inputs.encode()).hexdigest()
    index = records.ONNX_FILES / f"{key}.sha256"
    if index.is_file():
        cached = records.ONNX_FILES / f"{index.read_text().strip()}.onnx"
        if cached.is_file() and _sha256(cached) == cached.stem:
            return cached
    index.parent.mkdir(parents=True, exist_ok=True)
    temporary = index.with_suffix(f".{os.getpid()}.onnx")
    export.export(loaded.network, network.image_size, temporary, kind)
    path = temporary.replace(records.ONNX_FILES / f"{_sha256(temporary)}.onnx")
    write_atomically(index, f"{path.stem}\n")
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
