"""Every request as a row: appended in memory, kept on disk in parts, assembled at the end."""

import shutil
from array import array
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from helpers.run import Run
from helpers.scenario import Scenario

COLUMNS = (
    "phase",
    "warmup",
    "intended_s",
    "sent_s",
    "done_s",
    "latency_ms",
    "service_ms",
    "outcome",
    "bytes",
)
DIGITS = 6  # microseconds


@dataclass
class Columns:
    """Rows that are not on disk yet. Times are seconds since the scenario's start."""

    phase: "array[int]" = field(default_factory=lambda: array("h"))
    intended_s: "array[float]" = field(default_factory=lambda: array("d"))
    sent_s: "array[float]" = field(default_factory=lambda: array("d"))
    done_s: "array[float]" = field(default_factory=lambda: array("d"))
    outcome: "array[int]" = field(default_factory=lambda: array("h"))
    bytes: "array[int]" = field(default_factory=lambda: array("q"))


class Recorder:
    """Takes rows, and writes those it has as a part of the table.

    Args:
        folder: Where the parts go; made when missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._parts = 0
        self._columns = Columns()
        self._outcomes: dict[str, int] = {}

    def add(
        self, phase: int, intended: float, sent: float, done: float, outcome: str, size: int
    ) -> None:
        """Append one request; `sent` and `done` are NaN where that never happened."""
        columns = self._columns
        columns.phase.append(phase)
        columns.intended_s.append(intended)
        columns.sent_s.append(sent)
        columns.done_s.append(done)
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
                "intended_s": np.asarray(columns.intended_s),
                "sent_s": np.asarray(columns.sent_s),
                "done_s": np.asarray(columns.done_s),
                "outcome": names[np.asarray(columns.outcome)],
                "bytes": np.asarray(columns.bytes),
            }
        )
        path = self._folder / f"{self._parts:06d}.parquet"
        temporary = path.with_suffix(".tmp")
        pq.write_table(table, temporary)
        temporary.replace(path)
        self._parts += 1


def table_name(scenario: str) -> str:
    """The name of a scenario's table of requests."""
    return f"requests-{scenario}"


def parts_folder(run: Run, scenario: str) -> Path:
    """Where the parts of a scenario's table lie until they are assembled."""
    return run.folder / "parts" / table_name(scenario)


def clear(run: Run, scenario: str) -> None:
    """Remove what an earlier firing of the scenario has left."""
    shutil.rmtree(parts_folder(run, scenario), ignore_errors=True)
    for path in table_paths(run, scenario):
        path.unlink(missing_ok=True)


def table_paths(run: Run, scenario: str) -> tuple[Path, Path]:
    """Parquet and CSV of a scenario's requests."""
    path = run.folder / "tables" / f"{table_name(scenario)}.parquet"
    return path, path.with_suffix(".csv")


def assemble(run: Run, scenario: Scenario) -> pd.DataFrame:
    """Make the table of requests from the parts there are, store it, and remove the parts."""
    folder = parts_folder(run, scenario.name)
    parts = [pq.read_table(path).to_pandas() for path in sorted(folder.glob("*.parquet"))]
    frame = _frame(parts, scenario)
    run.save_table(table_name(scenario.name), frame)
    shutil.rmtree(folder, ignore_errors=True)
    return frame


def recover(run: Run) -> None:
    """Make the tables of loads that were killed before they could do so themselves."""
    for scenario in run.profile.load.scenarios:
        if parts_folder(run, scenario.name).is_dir():
            assemble(run, scenario)


def _frame(parts: list[pd.DataFrame], scenario: Scenario) -> pd.DataFrame:
    names = ("phase", "intended_s", "sent_s", "done_s", "outcome", "bytes")
    rows = pd.concat(parts) if parts else pd.DataFrame({name: [] for name in names})
    rows = rows.sort_values("intended_s", kind="stable", ignore_index=True)
    for name in ("intended_s", "sent_s", "done_s"):
        rows[name] = rows[name].astype(float).round(DIGITS)
    number = rows["phase"].astype(int).to_numpy()
    rows["phase"] = np.array([one.name for one in scenario.phases], dtype=object)[number]
    rows["warmup"] = np.array([one.warmup for one in scenario.phases])[number]
    # the times have whole microseconds, so three digits lose nothing but the noise of subtraction
    rows["latency_ms"] = ((rows["done_s"] - rows["intended_s"]) * 1000).round(3)
    rows["service_ms"] = ((rows["done_s"] - rows["sent_s"]) * 1000).round(3)
    rows["outcome"] = rows["outcome"].astype(str)
    rows["bytes"] = rows["bytes"].astype(int)
    return rows[list(COLUMNS)]
