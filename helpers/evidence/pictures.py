"""Pictures in exported pages: as small as a plot can be without looking different."""

import base64
import io
from typing import Any

from PIL import Image, UnidentifiedImageError

COLOURS = 256  # plots have few; a palette of so many keeps the edges of their letters smooth


def shrink(notebook: Any) -> None:
    """Give every PNG of a notebook's outputs a palette, where that makes it smaller."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                data["image/png"] = with_palette(data["image/png"])


def with_palette(encoded: str) -> str:
    """A base64 PNG with a palette of 256 colours; the same where that is no smaller, or no picture.

    Args:
        encoded: The picture, as a notebook holds it.
    """
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(encoded)))
    except UnidentifiedImageError:
        return encoded
    small = io.BytesIO()
    picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(
        small, "PNG", optimize=True
    )
    shrunk = base64.b64encode(small.getvalue()).decode()
    return min(encoded, shrunk, key=len)
