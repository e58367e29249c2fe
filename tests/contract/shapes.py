"""What each executed notebook shows, without its words: tables, pictures and ticks, in order."""

import re
from pathlib import Path
from typing import Any

import nbformat


def shapes(folder: Path) -> dict[str, list[str]]:
    """Notebook file name → what its cells show, in order.

    Printed lines are left out: how many there are depends on the machine.
    """
    return {
        path.name: [
            shape
            for cell in nbformat.read(path, as_version=4).cells
            for output in cell.get("outputs", [])
            if (shape := _shape(output))
        ]
        for path in sorted(folder.glob("*.ipynb"))
    }


def _shape(output: Any) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        return "picture"
    if "text/html" in data:
        header = data["text/html"].partition("</thead>")[0]
        return f"table of {len(re.findall('<th[ >]', header))} columns"
    return "tick" if "text/plain" in data else ""
