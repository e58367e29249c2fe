"""Every request as a row: appended in memory, kept on disk in parts."""

import json
from array import array
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from helpers.load.client import Request

TIMES = ("intended_s", "released_s", "sent_s", "done_s")
SCHEMA = pa.schema(
    [
        pa.field("phase", pa.int16()),
        *(pa.field(name, pa.float64()) for name in TIMES),
        pa.field("outcome", pa.int16()),
        pa.field("bytes", pa.int64()),
    ]
)
OUTCOMES = b"outcomes"  # the metadata that names them


@dataclass
class Columns:
    """Rows that are not on disk yet. Times are seconds since the scenario's start."""

    phase: "array[int]" = field(default_factory=lambda: array("h"))
    intended_s: "array[float]" = field(default_factory=lambda: array("d"))
    released_s: "array[float]" = field(default_factory=lambda: array("d"))
    sent_s: "array[float]" = field(default_factory=lambda: array("d"))
    done_s: "array[float]" = field(default_factory=lambda: array("d"))
    outcome: "array[int]" = field(default_factory=lambda: array("h"))
    bytes: "array[int]" = field(default_factory=lambda: array("q"))


class Recorder:
    """Takes rows, and writes those it has as a part of the table.

    Args:
        folder: Where the parts go; made when missing.
        shard: Which worker's rows they are; several write into one folder.
    """

    def __init__(self, folder: Path, shard: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._shard = shard
        self._parts = 0
        self._columns = Columns()
        self._outcomes: dict[str, int] = {}

    def add(self, request: Request, zero: float, outcome: str, size: int) -> None:
        """Append one request; `sent` and `done` are NaN where that never happened.

        Args:
            request: The request.
            zero: The scenario's start, on the clock of the request's times.
            outcome: `ok` or an error class.
            size: Bytes of the answer.
        """
        columns = self._columns
        columns.phase.append(request.phase)
        columns.intended_s.append(request.intended - zero)
        columns.released_s.append(request.released - zero)
        columns.sent_s.append(request.sent - zero)
        columns.done_s.append(request.done - zero)
        columns.outcome.append(self._outcomes.setdefault(outcome, len(self._outcomes)))
        columns.bytes.append(size)

    def take(self) -> Columns:
        """The rows since the last call, handed over so that another thread may write them."""
        columns, self._columns = self._columns, Columns()
        return columns

    def write(self, columns: Columns) -> None:
        """Write rows as the next part; a kill leaves a whole part or none."""
        if not columns.phase:
            return
        # from the buffers themselves: pa.array and pa.table would import pandas first, for a second
        buffers = [pa.py_buffer(getattr(columns, one.name)) for one in SCHEMA]
        arrays = [
            pa.Array.from_buffers(one.type, len(columns.phase), [None, buffer])
            for one, buffer in zip(SCHEMA, buffers, strict=True)
        ]
        named = SCHEMA.with_metadata({OUTCOMES: json.dumps(list(self._outcomes))})
        table = pa.Table.from_arrays(arrays, schema=named)
        path = self._folder / f"{self._shard:02d}-{self._parts:06d}.parquet"
        temporary = path.with_suffix(".tmp")
        pq.write_table(table, temporary)
        temporary.replace(path)
        self._parts += 1


def parts_folder(folder: Path, scenario: str) -> Path:
    """Where the parts of a scenario's table lie until they are assembled."""
    return folder / "parts" / f"requests-{scenario}"
