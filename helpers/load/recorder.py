"""Every request as a row: appended in memory, kept on disk in parts, assembled at the end."""

import shutil
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from helpers.load.client import Request
from helpers.run import write_atomically
from helpers.scenario import Scenario

COLUMNS = (
    "phase",
    "warmup",
    "intended_s",
    "released_s",
    "sent_s",
    "done_s",
    "latency_ms",
    "service_ms",
    "outcome",
    "bytes",
)
DIGITS = 6  # microseconds
TIMES = ("intended_s", "released_s", "sent_s", "done_s")
ROWS_AT_ONCE = 500_000  # held in memory while the table is assembled


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
        names = np.array(list(self._outcomes), dtype=object)
        table = pa.table(
            {
                "phase": np.asarray(columns.phase),
                **{name: np.asarray(getattr(columns, name)) for name in TIMES},
                "outcome": names[np.asarray(columns.outcome)],
                "bytes": np.asarray(columns.bytes),
            }
        )
        path = self._folder / f"{self._shard:02d}-{self._parts:06d}.parquet"
        temporary = path.with_suffix(".tmp")
        pq.write_table(table, temporary)
        temporary.replace(path)
        self._parts += 1


def table_name(scenario: str) -> str:
    """The name of a scenario's table of requests."""
    return f"requests-{scenario}"


def parts_folder(folder: Path, scenario: str) -> Path:
    """Where the parts of a scenario's table lie until they are assembled."""
    return folder / "parts" / table_name(scenario)


def table_path(folder: Path, scenario: str) -> Path:
    """The parquet file of a scenario's requests."""
    return folder / "tables" / f"{table_name(scenario)}.parquet"


def seconds_path(folder: Path, scenario: str) -> Path:
    """The CSV file of a scenario's seconds."""
    return folder / "tables" / f"seconds-{scenario}.csv"


def write_seconds(folder: Path, scenario: str, seconds: pd.DataFrame) -> None:
    """Store the table of seconds."""
    write_atomically(seconds_path(folder, scenario), seconds.to_csv(index=False))


def clear(folder: Path, scenario: str) -> None:
    """Remove what an earlier firing of the scenario has left."""
    shutil.rmtree(parts_folder(folder, scenario), ignore_errors=True)
    for path in (table_path(folder, scenario), seconds_path(folder, scenario)):
        path.unlink(missing_ok=True)


def assemble(folder: Path, scenario: Scenario) -> Path:
    """Make the table of requests from the parts there are, and remove the parts.

    Memory does not grow with the table: up to `ROWS_AT_ONCE` rows, in order of intended send
    time, are written together; a longer table is ordered only so far.
    """
    parts = parts_folder(folder, scenario.name)
    path = table_path(folder, scenario.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    writer = None
    for rows in _gathered(parts):
        table = pa.Table.from_pandas(_frame(rows, scenario), preserve_index=False)
        writer = writer or pq.ParquetWriter(temporary, table.schema)
        writer.write_table(table.cast(writer.schema))
    assert writer is not None
    writer.close()
    temporary.replace(path)
    shutil.rmtree(parts, ignore_errors=True)
    return path


def _gathered(parts: Path) -> Iterator[pd.DataFrame]:
    """The rows of all parts, many at once; an empty frame where there is no part."""
    # by time, not by worker: the parts of one time come together
    paths = sorted(parts.glob("*.parquet"), key=lambda path: path.stem.partition("-")[::-1])
    held: list[pd.DataFrame] = []
    for number, path in enumerate(paths, 1):
        held.append(pq.read_table(path).to_pandas())
        if sum(map(len, held)) >= ROWS_AT_ONCE or number == len(paths):
            yield pd.concat(held)
            held = []
    if not paths:
        yield pd.DataFrame({name: [] for name in ("phase", *TIMES, "outcome", "bytes")})


def _frame(rows: pd.DataFrame, scenario: Scenario) -> pd.DataFrame:
    rows = rows.sort_values("intended_s", kind="stable", ignore_index=True)
    for name in TIMES:
        rows[name] = rows[name].astype(float).round(DIGITS)
    number = rows["phase"].astype(int).to_numpy()
    rows["phase"] = pd.Categorical.from_codes(
        number, pd.Index([one.name for one in scenario.phases])
    )
    rows["warmup"] = np.array([one.warmup for one in scenario.phases])[number]
    # the times have whole microseconds, so three digits lose nothing but the noise of subtraction
    rows["latency_ms"] = ((rows["done_s"] - rows["intended_s"]) * 1000).round(3)
    rows["service_ms"] = ((rows["done_s"] - rows["sent_s"]) * 1000).round(3)
    rows["outcome"] = rows["outcome"].astype(str).astype("category")
    rows["bytes"] = rows["bytes"].astype(int)
    return rows[list(COLUMNS)]
