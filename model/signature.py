"""Input and output of every network; the export, the server and the clients use these names."""

from typing import Literal

InputType = Literal["uint8", "fp32"]  # of images: RGB from 0 to 255, or normalised
INPUT, OUTPUT = "input", "logits"
CLASSES = 1000


def image_dims(kind: InputType, size: int) -> list[int]:
    """Dimensions of one image: height, width, colour as uint8; colour, height, width as FP32."""
    return [size, size, 3] if kind == "uint8" else [3, size, size]
