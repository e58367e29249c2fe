"""What stage 03 records: the models, and how they answered."""

from helpers.run import Record
from helpers.scenario import Settings


class ModelFacts(Settings):
    """One exported network.

    Attributes:
        name: The served model's name.
        network: `resnet50` or `mobilenetv2`.
        image_size: Height and width of the input, pixels.
        weights: `pretrained (<file>)` or `seeded random (<seed>)`.
        opset: ONNX opset of the default domain.
        parameters: Trainable parameters.
        bytes: Size of the ONNX file.
        sha256: Of the ONNX file.
        parity: Batch size → largest absolute difference of the logits, torch against ONNX
            Runtime, over the largest absolute logit.
        top1_agreement: Share of the parity images on which both name the same class.
    """

    name: str
    network: str
    image_size: int
    weights: str
    opset: int
    parameters: int
    bytes: int
    sha256: str
    parity: dict[int, float]
    top1_agreement: float


class Models(Record, stage="03", name="models"):
    """Every exported network."""

    models: tuple[ModelFacts, ...]

    @property
    def has_both_networks(self) -> bool:
        """Whether ResNet50 and MobileNetV2 are both there."""
        return {one.network for one in self.models} == {"resnet50", "mobilenetv2"}

    @property
    def summary(self) -> str:
        """One sentence: which networks, and how far they are from torch at most."""
        worst = max(max(one.parity.values()) for one in self.models)
        names = ", ".join(f"{one.name} at {one.image_size} px" for one in self.models)
        return f"{names}; parity with torch within {worst:.1e} of the largest logit"


class SmokeAnswer(Settings):
    """One inference, compared with ONNX Runtime on the same input.

    Attributes:
        model: The served model's name.
        protocol: `http` or `grpc`.
        batch: Images in the request.
        max_difference: Largest absolute difference of the logits over the largest logit.
        top1: Class that Triton named, by image.
        agrees: Whether the difference is within the tolerance.
        milliseconds: Time of the answer; first calls are slow, this is no measurement.
    """

    model: str
    protocol: str
    batch: int
    max_difference: float
    top1: tuple[int, ...]
    agrees: bool
    milliseconds: float


class Smoke(Record, stage="03", name="smoke"):
    """All smoke inferences.

    Attributes:
        answers: One per model and protocol.
        tolerance: Largest relative difference that counts as agreement.
        weights: Of the served models; predictions of random weights mean nothing.
    """

    answers: tuple[SmokeAnswer, ...]
    tolerance: float
    weights: dict[str, str]

    @property
    def all_agree(self) -> bool:
        """Whether every answer agrees, and there is one."""
        return bool(self.answers) and all(answer.agrees for answer in self.answers)

    @property
    def summary(self) -> str:
        """One sentence: how many answers agree, and how closely."""
        agreed = sum(answer.agrees for answer in self.answers)
        worst = max(answer.max_difference for answer in self.answers)
        return f"{agreed} of {len(self.answers)} answers agree with ONNX Runtime within {worst:.1e}"
