"""The tables of a load: every request, assembled from the workers' parts, and every second."""

import json
import math
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.dataset import (
    Dataset,
    ParquetFileFormat,
    ParquetFragmentScanOptions,
    dataset,
    field,
)  # fmt: skip

from helpers.load import statistics
from helpers.load.request import OUTCOMES, TIMES, parts_folder
from helpers.run import write_atomically
from helpers.scenario import Scenario

COLUMNS = ["phase", "warmup", *TIMES, "latency_ms", "service_ms", "outcome", "bytes"]
DIGITS = 6  # microseconds
ROWS_AT_ONCE = 500_000  # held in memory while the table is assembled


def table_name(scenario: str) -> str:
    """The name of a scenario's table of requests."""
    return f"requests-{scenario}"


def table_path(folder: Path, scenario: str) -> Path:
    """The parquet file of a scenario's requests."""
    return folder / "tables" / f"{table_name(scenario)}.parquet"


def seconds_path(folder: Path, scenario: str) -> Path:
    """The CSV file of a scenario's seconds."""
    return folder / "tables" / f"seconds-{scenario}.csv"


def open_requests(folder: Path, scenario: str) -> Dataset:
    """A scenario's requests as a dataset that is read as needed."""
    # pre-buffering would keep the columns of the whole file in memory
    options = ParquetFragmentScanOptions(pre_buffer=False)
    wanted = ParquetFileFormat(default_fragment_scan_options=options)
    return dataset(table_path(folder, scenario), format=wanted)


def seconds(table: Dataset) -> pd.DataFrame:
    """One row a second, as `helpers.load.records` describes."""
    good = table.filter(statistics.GOOD)
    rows = pd.DataFrame(
        {
            "due": _count_per_second(table, "intended_s"),
            "released": _count_per_second(table, "released_s"),
            "ok": _count_per_second(good, "done_s"),
            "errors": _count_per_second(table.filter(~statistics.GOOD), "intended_s"),
        }
    )
    rows = rows.fillna(0).astype(int).sort_index()
    latency = statistics.column(good, field("latency_ms"))
    due = statistics.column(good, field("intended_s")).astype(np.int32)
    latencies = {second: np.sort(values) for second, values in statistics.grouped(due, latency)}
    for name in ("p50", "p95", "p99"):
        share = statistics.PERCENTILES[name]
        at = {
            second: values[math.ceil(share * (len(values) - 1))]
            for second, values in latencies.items()
        }
        rows[f"{name}_ms"] = pd.Series(at, dtype=float).round(3)
    return rows.rename_axis("second").reset_index()


def _count_per_second(table: Dataset, time: str) -> "pd.Series[int]":
    """Second → number of requests with this time in it."""
    counts: Counter[int] = Counter()
    known = field(time).is_valid() & ~field(time).is_nan()
    second = field(time).cast(pa.int32(), safe=False)
    for batch in table.to_batches(columns={"second": second}, filter=known):
        values, per_value = np.unique(batch["second"].to_numpy(), return_counts=True)
        counts.update(dict(zip(values.tolist(), per_value.tolist(), strict=True)))
    return pd.Series(counts).astype(int)


def clear(folder: Path, scenario: str) -> None:
    """Remove the tables and parts of an earlier firing of the scenario."""
    shutil.rmtree(parts_folder(folder, scenario), ignore_errors=True)
    for path in (table_path(folder, scenario), seconds_path(folder, scenario)):
        path.unlink(missing_ok=True)


def assemble(folder: Path, scenario: Scenario) -> Dataset:
    """Make both tables from what the workers recorded; returns the requests.

    Memory does not grow with the table: up to `ROWS_AT_ONCE` rows, in order of intended send
    time, are written together; a longer table is ordered only so far.
    """
    parts = parts_folder(folder, scenario.name)
    path = table_path(folder, scenario.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    writer = None
    for rows in _batches(parts):
        batch = pa.Table.from_pandas(_frame(rows, scenario), preserve_index=False)
        writer = writer or pq.ParquetWriter(temporary, batch.schema)
        writer.write_table(batch.cast(writer.schema))
    assert writer is not None
    writer.close()
    temporary.replace(path)
    shutil.rmtree(parts, ignore_errors=True)
    table = open_requests(folder, scenario.name)
    csv = seconds(table).to_csv(index=False)
    write_atomically(seconds_path(folder, scenario.name), csv)
    return table


def _batches(parts: Path) -> Iterator[pd.DataFrame]:
    """The rows of all parts in large batches; an empty frame if there is no part."""
    # by time, not by worker: the parts of one time come together
    paths = sorted(parts.glob("*.parquet"), key=lambda path: path.stem.partition("-")[::-1])
    held: list[pd.DataFrame] = []
    for number, path in enumerate(paths, 1):
        held.append(_part(path))
        if sum(map(len, held)) >= ROWS_AT_ONCE or number == len(paths):
            yield pd.concat(held)
            held = []
    if not paths:
        yield pd.DataFrame({name: [] for name in ("phase", *TIMES, "outcome", "bytes")})


def _part(path: Path) -> pd.DataFrame:
    table = pq.read_table(path)
    names = json.loads(table.schema.metadata[OUTCOMES])
    rows: pd.DataFrame = table.to_pandas()
    rows["outcome"] = np.array(names, dtype=object)[rows["outcome"].to_numpy()]
    return rows


def _frame(rows: pd.DataFrame, scenario: Scenario) -> pd.DataFrame:
    rows = rows.sort_values("intended_s", kind="stable", ignore_index=True)
    for name in TIMES:
        rows[name] = rows[name].astype(float).round(DIGITS)
    number = rows["phase"].astype(int).to_numpy()
    rows["phase"] = pd.Categorical.from_codes(
        number, pd.Index([phase.name for phase in scenario.phases])
    )
    rows["warmup"] = np.array([phase.warmup for phase in scenario.phases])[number]
    # times are whole microseconds, so three digits only drop the noise of the subtraction
    rows["latency_ms"] = ((rows["done_s"] - rows["intended_s"]) * 1000).round(3)
    rows["service_ms"] = ((rows["done_s"] - rows["sent_s"]) * 1000).round(3)
    rows["outcome"] = rows["outcome"].astype(str).astype("category")
    rows["bytes"] = rows["bytes"].astype(int)
    return rows[COLUMNS]
