"""Pretrained weights if they are on disk or can be downloaded, seeded random ones otherwise."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import requests
import torch
from torch import nn

from model.networks import NETWORKS, randomise

Choice = Literal["auto", "pretrained", "random"]
SITE = "https://download.pytorch.org/models"
# torchvision's ImageNet weights; the file's name ends with the start of its SHA-256
FILES = {"resnet50": "resnet50-11ad3fa6.pth", "mobilenetv2": "mobilenet_v2-7ebf99e0.pth"}
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 3.0, 30.0
CHUNK = 1 << 20


class WeightsError(Exception):
    """Pretrained weights are required but not available; the message says why."""


@dataclass(frozen=True)
class Loaded:
    """A network with weights.

    Attributes:
        network: In evaluation mode.
        weights: `pretrained (<file>)` or `seeded random (<seed>)`.
        reason: Why pretrained weights could not be used; empty if they were not wanted.
    """

    network: nn.Module
    weights: str
    reason: str = ""


def build(name: str, choice: Choice, seed: int) -> Loaded:
    """A network with the chosen weights.

    Args:
        name: A key of `NETWORKS`.
        choice: `auto` falls back to random weights, `pretrained` does not, `random` never searches.
        seed: Seed of random weights.

    Raises:
        WeightsError: `pretrained` was chosen and the weights are not available.
    """
    network = NETWORKS[name]().eval()
    reason = ""
    if choice != "random":
        try:
            file = find(FILES[name]) or download(FILES[name])
            network.load_state_dict(torch.load(file, weights_only=True), strict=True)
            return Loaded(network, f"pretrained ({file.name})")
        except WeightsError as error:
            if choice == "pretrained":
                raise
            reason = str(error)
    randomise(network, seed)
    return Loaded(network, f"seeded random ({seed})", reason)


def cache() -> Path:
    """The folder where torch stores downloaded weights: `$TORCH_HOME/hub/checkpoints`."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def find(name: str) -> Path | None:
    """A weights file that is already on disk, in `$GPU_E2E_WEIGHTS` or torch's cache.

    Raises:
        WeightsError: The file is damaged.
    """
    folders = [Path(os.environ["GPU_E2E_WEIGHTS"])] if "GPU_E2E_WEIGHTS" in os.environ else []
    for folder in [*folders, cache()]:
        path = folder / name
        if path.is_file():
            if not is_genuine(path, name):
                raise WeightsError(f"{name} is damaged: its SHA-256 does not match its name")
            return path
    return None


def download(name: str) -> Path:
    """Download a weights file into torch's cache.

    Raises:
        WeightsError: The site cannot be reached, or the downloaded file is damaged.
    """
    path = cache() / name
    part = path.with_suffix(".part")
    timeout = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with requests.get(f"{SITE}/{name}", stream=True, timeout=timeout) as answer:
            answer.raise_for_status()
            with part.open("wb") as file:
                for chunk in answer.iter_content(CHUNK):
                    file.write(chunk)
    except (requests.RequestException, OSError) as error:
        part.unlink(missing_ok=True)
        raise WeightsError(f"{name} is not on disk and could not be downloaded") from error
    if not is_genuine(part, name):
        part.unlink()
        raise WeightsError(f"the download of {name} is damaged")
    return part.replace(path)


def is_genuine(path: Path, name: str) -> bool:
    """Whether the SHA-256 of a file starts with the prefix in torchvision's file name."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest.startswith(name.removesuffix(".pth").rpartition("-")[2])
