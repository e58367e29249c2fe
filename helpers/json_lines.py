"""Logs of JSON lines: appended by several processes, readable after a kill."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def append_line(path: Path, line: str) -> None:
    """Append one line in a single write, mending a torn last line first."""
    with path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        torn = False
        if size:
            file.seek(size - 1)
            torn = file.read(1) != b"\n"
        file.write(("\n" if torn else "").encode() + line.encode() + b"\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a log of JSON lines; what a kill tore is left out."""
    if not path.is_file():
        return []
    return list(_whole_lines(path.read_text(errors="replace").splitlines()))


def _whole_lines(lines: list[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(value, dict):
            yield value
