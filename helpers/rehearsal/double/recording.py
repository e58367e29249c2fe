"""Which actions were asked for: one line each."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock

from helpers.rehearsal.double.wire import Asked
from helpers.run import read_lines


@dataclass(frozen=True)
class Line:
    """One request.

    Attributes:
        service: What IAM calls the service.
        action: The operation, as botocore's model names it.
        resource: What it names first; empty where it names nothing.
        caller: The program that asked.
    """

    service: str
    action: str
    resource: str
    caller: str


def line_of(asked: Asked) -> Line:
    """The line of a request."""
    return Line(asked.prefix, asked.operation, asked.resource, asked.caller)


class File:
    """Appends a line per request to a file of JSON lines."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", buffering=1)
        self._lock = Lock()

    def __call__(self, asked: Asked) -> None:
        """Append the line of a request."""
        line = json.dumps(asdict(line_of(asked)))
        with self._lock:
            self._file.write(line + "\n")


def read(path: Path) -> list[Line]:
    """The lines of such a file; what a kill tore is left out."""
    return [Line(**one) for one in read_lines(path)]
