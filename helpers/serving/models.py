"""Networks of the profile, exported to ONNX once and compared with torch in every run."""

import hashlib
import os
from pathlib import Path

import pandas as pd
import torch

from helpers.errors import Problem
from helpers.paths import MODEL
from helpers.profile import Network
from helpers.run import Run, write_atomically
from helpers.serving import store
from helpers.serving.reports import ModelFacts, Models
from model import export, weights
from model.weights import Loaded

PARITY_BATCHES = (1, 2, 8)
PARITY_SEED = 7
TOLERANCE = 1e-4  # far above float32 rounding through 50 layers, far below a wrong layer


def prepare(run: Run) -> Models:
    """Export what the profile asks for (or take the cached file), check it, and compare it.

    Raises:
        Problem: Pretrained weights were demanded and cannot be had, or an export is wrong.
    """
    models = Models(models=tuple(_prepare(run, one) for one in run.profile.model.networks))
    run.save(models)
    run.note(models={one.name: one.sha256 for one in models.models})
    return models


def frame(models: Models) -> pd.DataFrame:
    """One row a model, as people read it."""
    return pd.DataFrame(
        {
            "model": one.name,
            "network": one.network,
            "input": f"{one.image_size} x {one.image_size} px",
            "weights": one.weights,
            "opset": one.opset,
            "parameters, millions": round(one.parameters / 1e6, 1),
            "file, MB": round(one.bytes / 1e6, 1),
            "parity": f"{max(one.parity.values()):.1e}",
            "same top 1": f"{one.top1_agreement:.0%}",
        }
        for one in models.models
    )


def _prepare(run: Run, network: Network) -> ModelFacts:
    try:
        loaded = weights.build(network.network, run.profile.model.weights, run.profile.model.seed)
        path = _exported(loaded, network)
        opset = export.check(path, network.image_size)
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
    compared = export.parity(loaded.network, path, network.image_size, PARITY_BATCHES, PARITY_SEED)
    worst = max(compared.difference.values())
    if not worst <= TOLERANCE:
        raise Problem(f"{network.name} differs from torch by {worst:.1e} of the largest logit.")
    return ModelFacts(
        name=network.name,
        network=network.network,
        image_size=network.image_size,
        weights=loaded.weights,
        opset=opset,
        parameters=sum(one.numel() for one in loaded.network.parameters()),
        bytes=path.stat().st_size,
        sha256=path.stem,
        parity=compared.difference,
        top1_agreement=compared.top1_agreement,
    )


def _exported(loaded: Loaded, network: Network) -> Path:
    """The exported file, named by its digest; an index says which choices it belongs to."""
    index = store.FOLDER / f"{_choices(loaded, network)}.sha256"
    if index.is_file():
        known = store.path_of(index.read_text().strip())
        if known.is_file() and store.digest(known) == known.stem:
            return known
    index.parent.mkdir(parents=True, exist_ok=True)
    fresh = index.with_suffix(f".{os.getpid()}.onnx")
    export.export(loaded.network, network.image_size, fresh)
    path = fresh.replace(store.path_of(store.digest(fresh)))
    write_atomically(index, f"{path.stem}\n")
    return path


def _choices(loaded: Loaded, network: Network) -> str:
    sources = b"".join(path.read_bytes() for path in sorted(MODEL.glob("*.py")))
    choices = f"{network.network} {network.image_size} {loaded.weights} {torch.__version__}"
    return hashlib.sha256(sources + choices.encode()).hexdigest()
