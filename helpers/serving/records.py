"""The records of the exported models and of Triton's addresses.

Load workers import this module, so it imports nothing heavy.
"""

from pathlib import Path

from helpers.errors import Problem
from helpers.paths import CACHE
from helpers.profile import InputType
from helpers.run import Record
from helpers.scenario import Settings

ONNX_FILES = CACHE / "onnx"  # each file is named by its SHA-256, so that runs can share it


class ModelFacts(Settings):
    """One exported network."""

    name: str  # of the served model
    network: str  # `resnet50` or `mobilenetv2`
    image_size: int  # height and width of the input, pixels
    input: InputType = "fp32"  # as in the profile; of a run from before the key, always this
    weights: str  # `pretrained (<file>)` or `seeded random (<seed>)`
    opset: int
    parameters: int  # trainable
    bytes: int  # size of the ONNX file
    sha256: str  # digest of the ONNX file
    # batch size → largest absolute difference between the logits of torch and ONNX Runtime,
    # divided by the largest absolute logit
    parity: dict[int, float]
    top1_agreement: float  # share of the parity images for which both predict the same class

    def onnx_file(self) -> Path:
        """The exported file; a `Problem` if it is no longer in the cache."""
        path = ONNX_FILES / f"{self.sha256}.onnx"
        if not path.is_file():
            raise Problem(f"The exported file of '{self.name}' is missing.", "Run stage 03 again.")
        return path


class Models(Record, stage="03", name="models"):
    """Every exported network."""

    models: tuple[ModelFacts, ...]

    @property
    def has_both_networks(self) -> bool:
        """Whether both ResNet50 and MobileNetV2 were exported."""
        return {model.network for model in self.models} == {"resnet50", "mobilenetv2"}

    @property
    def summary(self) -> str:
        """One sentence: which networks were exported, and their largest difference from torch."""
        worst = max(max(model.parity.values()) for model in self.models)
        names = ", ".join(f"{model.name} at {model.image_size} px" for model in self.models)
        return f"{names}; parity with torch within {worst:.1e} of the largest logit"


class Endpoint(Record, stage="03", name="endpoint"):
    """Addresses of a Triton server."""

    http: str  # base URL of the KServe v2 HTTP API, such as `http://127.0.0.1:8000`
    grpc: str  # `host:port` of the gRPC API
    metrics: str  # URL of the Prometheus metrics; empty if they stay inside the cluster
    server: str  # name and version, such as `tritonserver 2.51.0 (CPU)`
    certificate: str = ""  # PEM file that TLS is verified against; empty without TLS
