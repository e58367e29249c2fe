"""The tables of a load, and its figures: percentiles, rates, and what is invalid.

The table of requests is assembled from the workers' parts. It may be larger than memory, so it is
read as a `Dataset`: counts are taken while rows stream by, and where every value is needed, as for
a percentile, only that column is read.
"""

import json
import math
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import dataset
from pyarrow.dataset import Dataset, Expression, field

from helpers.load.arrivals import PhaseSpan, schedule, spans
from helpers.load.records import CLIENTS_FAULT, Percentile, PhaseReport, Trend
from helpers.load.request import OK, OUTCOMES, TIMES, parts_folder
from helpers.run import write_atomically
from helpers.scenario import Burst, Closed, Scenario

Floats = npt.NDArray[np.floating]

PERCENTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
# Fewest good answers for a percentile at 99 % confidence, as MLPerf loadgen's early stopping has
# it: P(at most 1 of n exceeds the true percentile) <= 1 %. P50 by the same rule.
FLOORS = {"p50": 11, "p90": 64, "p95": 130, "p99": 662, "p99.9": 6_636}
CONFIDENCE = 0.95

BLOCK_S = 5.0  # neighbouring seconds are alike; a trend is taken over medians of blocks
FEWEST_BLOCKS = 12

LEAST_DELIVERED = 0.98
# A request may leave late by a share of the median latency, judged where samples suffice. No client
# is exact to less than the floor on every machine, nor at the median to less than a core's waking.
SEND_ERROR_SHARE, SEND_ERROR_FLOOR_MS, WAKE_UP_MS = 0.05, 0.5, 0.25
SEND_ERROR_LIMIT_MS, BURST_LIMIT_MS = 1.0, 10.0  # at P99, whatever the latency, however few
CPU_LIMIT = 0.8  # one core is all that one event loop can use
KEPT_UP = 0.95
FEW = 5  # late answers that are chance rather than a server falling behind

COLUMNS = ["phase", "warmup", *TIMES, "latency_ms", "service_ms", "outcome", "bytes"]
DIGITS = 6  # microseconds
ROWS_AT_ONCE = 500_000  # held in memory while the table is assembled

GOOD = field("outcome") == OK
SEND_ERROR_MS = (field("released_s") - field("intended_s")) * 1000


def percentile(ascending: Floats, share: float) -> float:
    """The nearest-rank percentile: the least value with at least `share` of all at or below it.

    >>> percentile(np.array([1.0, 2.0, 3.0, 4.0]), 0.5)
    2.0
    """
    # the tolerance keeps 0.95 * 20 = 19.000000000000004 at rank 19
    rank = math.ceil(share * len(ascending) - 1e-9)
    return float(ascending[max(rank, 1) - 1])


def interval_ranks(count: int, share: float) -> tuple[int | None, int | None]:
    """Ranks (from 1) whose values enclose the true percentile with 95 % confidence or more.

    By order statistics, without assuming a distribution (Hahn & Meeker 1991, 5.2): how many of
    `count` samples lie at or below the true percentile is binomial, and each tail is left 2.5 %.
    None where the samples are too few for that end.
    """
    from scipy.special import bdtrik  # slow to import

    tail = (1 - CONFIDENCE) / 2
    low, high = np.ceil(np.nan_to_num(bdtrik([tail, 1 - tail], count, share))).astype(int).tolist()
    return low or None, (high + 1 if high < count else None)


def latency(values_ms: Floats) -> dict[str, Percentile]:
    """The percentiles for which there are samples enough, each with its interval."""
    ascending = np.sort(values_ms)
    percentiles = {}
    for name, share in PERCENTILES.items():
        if len(ascending) >= FLOORS[name]:
            low, high = interval_ranks(len(ascending), share)
            percentiles[name] = Percentile(
                ms=percentile(ascending, share),
                low_ms=None if low is None else float(ascending[low - 1]),
                high_ms=None if high is None else float(ascending[high - 1]),
            )
    return percentiles


def trend(at_s: npt.ArrayLike, values: npt.ArrayLike) -> Trend | None:
    """The slope over time, by Theil and Sen, of the medians of blocks; None where there are few."""
    blocks = np.floor_divide(np.asarray(at_s, dtype=float), BLOCK_S).astype(np.int32)
    medians = pd.Series(values, dtype=float).groupby(blocks).median().dropna()
    if len(medians) < FEWEST_BLOCKS:
        return None
    from scipy import stats  # slow to import, and short loads do without

    minutes = medians.index.to_numpy() * BLOCK_S / 60
    slope, _, low, high = stats.theilslopes(medians, minutes, CONFIDENCE)
    return Trend(per_minute=float(slope), low=float(low), high=float(high))


def outcomes(table: Dataset) -> Counter[str]:
    """How many requests had each outcome."""
    counts: Counter[str] = Counter()
    for batch in table.to_batches(columns=["outcome"]):
        for row in batch["outcome"].value_counts().to_pylist():
            counts[row["values"]] += row["counts"]
    return counts


def column(rows: Dataset, values: Expression) -> Floats:
    """One column, or what is computed from some, in the table's order; unknown values left out."""
    known = _known(values)
    result = np.empty(rows.count_rows(filter=known))
    filled = 0
    for batch in rows.to_batches(columns={"value": values}, filter=known):
        result[filled : filled + len(batch)] = batch["value"].to_numpy()
        filled += len(batch)
    return result


def drift(table: Dataset) -> Trend | None:
    """How the median latency of measured good answers changed, milliseconds per minute."""
    good = table.filter(GOOD & ~field("warmup") & _known(field("latency_ms")))
    return trend(column(good, field("intended_s")), column(good, field("latency_ms")))


def reports(
    table: Dataset, scenario: Scenario, objective_ms: float | None = None
) -> tuple[tuple[PhaseReport, ...], PhaseReport]:
    """Figures of each phase, and of all measured phases together, from a scenario's requests."""
    plan = schedule(scenario)
    parts = []
    for number, span in enumerate(spans(scenario)):
        scheduled = None if isinstance(span.phase, Closed) else plan.count(number)
        parts.append(PhaseRows(span, table.filter(field("phase") == span.phase.name), scheduled))
    phases = tuple(_report(part.span.phase.name, table, [part], objective_ms) for part in parts)
    measured = [part for part in parts if not part.span.phase.warmup]
    return phases, _report("measured", table, measured, objective_ms)


@dataclass(frozen=True)
class PhaseRows:
    """The requests of a phase, and how many the schedule asked for; None for a closed loop."""

    span: PhaseSpan
    rows: Dataset
    scheduled: int | None

    def count(self, condition: Expression | None = None) -> int:
        """How many requests meet a condition."""
        return int(self.rows.count_rows(filter=condition))

    @cached_property
    def requests(self) -> int:
        """How many requests there should be; a closed loop has as many as it has."""
        return self.count() if self.scheduled is None else self.scheduled

    @cached_property
    def sent(self) -> int:
        """How many were sent, however late."""
        return self.count(_known(field("sent_s")))

    def answered(self, within_ms: float = math.inf) -> int:
        """How many were answered well, by the phase's end and within an objective."""
        in_phase = GOOD & (field("done_s") <= self.span.end_s)
        return self.count(in_phase & (field("latency_ms") <= within_ms))

    @cached_property
    def fell_behind(self) -> bool:
        """Whether more than 5 % of what was due was not answered well by the phase's end.

        What arrived too shortly before the end for even a quick answer (P10) was not due.
        """
        if self.scheduled is None:
            return False
        quick_s = self._latency_ms(0.10) / 1000
        due = self.count(field("intended_s") <= self.span.end_s - quick_s)
        return due - self.answered() > max((1 - KEPT_UP) * due, FEW)

    def reasons_invalid(self) -> list[str]:
        """Why its figures must not be trusted, each a short clause."""
        reasons = []
        if not self.requests:
            reasons.append("nothing was sent")
        elif self.sent < LEAST_DELIVERED * self.requests and not self.fell_behind:
            delivered = 100 * self.sent / self.requests
            reasons.append(f"only {delivered:.1f} % of its arrivals were sent")
        # judged by the highest percentile up to P99 that so many samples support
        errors_ms = _ascending(self.rows, SEND_ERROR_MS)
        enough = [name for name in ("p90", "p95", "p99") if errors_ms.size >= FLOORS[name]]
        share_ms, most_ms = SEND_ERROR_SHARE * self._latency_ms(0.50), SEND_ERROR_LIMIT_MS
        if isinstance(self.span.phase, Burst):  # all are due at once; the last leaves later
            most_ms = min(max(most_ms, share_ms), BURST_LIMIT_MS)
        limits_ms = (
            (["p50", *enough][-1], min(max(share_ms, SEND_ERROR_FLOOR_MS), most_ms)),
            ("p99", most_ms),
            ("p50", max(share_ms, WAKE_UP_MS)),
        )
        for name, limit_ms in limits_ms:
            late_ms = _at(errors_ms, PERCENTILES[name]) or 0.0
            if late_ms > limit_ms:
                reasons.append(
                    f"requests left {late_ms:.2f} ms late ({name.upper()}; "
                    f"the limit is {limit_ms:.3g} ms): {CLIENTS_FAULT}"
                )
                break
        return reasons

    def _latency_ms(self, share: float) -> float:
        return _at(_ascending(self.rows.filter(GOOD), field("latency_ms")), share) or 0.0


def _report(
    name: str, table: Dataset, parts: Sequence[PhaseRows], objective_ms: float | None
) -> PhaseReport:
    rows = table.filter(field("phase").isin([part.span.phase.name for part in parts]))
    good = rows.filter(GOOD)
    seconds = sum(part.span.end_s - part.span.start_s for part in parts)
    requests = sum(part.requests for part in parts)
    counts = outcomes(rows)
    latencies = column(good, field("latency_ms"))
    send_error_ms = _ascending(rows, SEND_ERROR_MS)
    scheduled = [part.scheduled for part in parts if part.scheduled is not None]
    in_time = sum(part.count(field("sent_s") <= part.span.end_s) for part in parts)
    goodput_rps = None
    if objective_ms is not None:
        goodput_rps = sum(part.answered(objective_ms) for part in parts) / seconds
    where = "phase {}: " if len(parts) > 1 else ""
    return PhaseReport(
        name=name,
        warmup=all(part.span.phase.warmup for part in parts),
        requested_rps=sum(scheduled) / seconds if len(scheduled) == len(parts) else None,
        offered_rps=in_time / seconds,
        throughput_rps=sum(part.answered() for part in parts) / seconds,
        goodput_rps=goodput_rps,
        start_s=parts[0].span.start_s,
        end_s=parts[-1].span.end_s,
        requests=requests,
        delivered=sum(part.sent for part in parts),
        ok=counts[OK],
        errors={kind: count for kind, count in counts.most_common() if kind != OK},
        error_rate_pct=100 * (requests - counts[OK]) / requests if requests else 0.0,
        latency=latency(latencies),
        mean_ms=float(latencies.mean()) if latencies.size else None,
        max_ms=float(latencies.max()) if latencies.size else None,
        service_p50_ms=_at(_ascending(good, field("service_ms")), 0.50),
        send_error_p50_ms=_at(send_error_ms, 0.50) or 0.0,
        send_error_p99_ms=_at(send_error_ms, 0.99) or 0.0,
        overloaded=any(part.fell_behind for part in parts),
        invalid=tuple(
            where.format(part.span.phase.name) + reason
            for part in parts
            for reason in part.reasons_invalid()
        ),
    )


def _known(values: Expression) -> Expression:
    return ~values.is_null(nan_is_null=True)


def _ascending(rows: Dataset, values: Expression) -> Floats:
    return np.sort(column(rows, values))


def _at(ascending: Floats, share: float) -> float | None:
    return percentile(ascending, share) if ascending.size else None


def seconds(table: Dataset) -> pd.DataFrame:
    """One row a second, as `helpers.load.records` describes."""
    good = table.filter(GOOD)
    counts = {
        "due": _count_per_second(table, "intended_s"),
        "released": _count_per_second(table, "released_s"),
        "ok": _count_per_second(good, "done_s"),
        "errors": _count_per_second(table.filter(~GOOD), "intended_s"),
    }
    rows = pd.DataFrame(counts).fillna(0).astype(int).sort_index()
    due = column(good, field("intended_s")).astype(np.int32)
    latencies = pd.Series(column(good, field("latency_ms"))).groupby(due)
    for name in ("p50", "p95", "p99"):
        values = latencies.quantile(PERCENTILES[name], interpolation="higher")
        rows[f"{name}_ms"] = values.round(3)
    return rows.rename_axis("second").reset_index()


def _count_per_second(table: Dataset, time: str) -> "pd.Series[int]":
    counts: Counter[int] = Counter()  # second → number of requests
    second = field(time).cast(pa.int32(), safe=False)
    for batch in table.to_batches(columns={"second": second}, filter=_known(field(time))):
        values, per_value = np.unique(batch["second"].to_numpy(), return_counts=True)
        counts.update(dict(zip(values.tolist(), per_value.tolist(), strict=True)))
    return pd.Series(counts).astype(int)


def table_path(folder: Path, scenario: str) -> Path:
    """The parquet file of a scenario's requests."""
    return folder / "tables" / f"requests-{scenario}.parquet"


def seconds_path(folder: Path, scenario: str) -> Path:
    """The CSV file of a scenario's seconds."""
    return folder / "tables" / f"seconds-{scenario}.csv"


def open_requests(folder: Path, scenario: str) -> Dataset:
    """A scenario's requests as a dataset that is read as needed."""
    # pre-buffering would keep the columns of the whole file in memory
    options = dataset.ParquetFragmentScanOptions(pre_buffer=False)
    wanted = dataset.ParquetFileFormat(default_fragment_scan_options=options)
    return dataset.dataset(table_path(folder, scenario), format=wanted)


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
    write_atomically(seconds_path(folder, scenario.name), seconds(table).to_csv(index=False))
    return table


def _batches(parts: Path) -> Iterator[pd.DataFrame]:
    """The rows of all parts in large batches; an empty frame if there is no part."""
    # by time, not by worker: the parts of one time come together
    paths = sorted(parts.glob("*.parquet"), key=lambda path: path.stem.partition("-")[::-1])
    held: list[pd.DataFrame] = []
    for number, path in enumerate(paths, 1):
        part = pq.read_table(path)
        names = np.array(json.loads(part.schema.metadata[OUTCOMES]), dtype=object)
        rows = part.to_pandas()
        held.append(rows.assign(outcome=names[rows["outcome"].to_numpy()]))
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
    names = pd.Index([phase.name for phase in scenario.phases])
    rows["phase"] = pd.Categorical.from_codes(number, names)
    rows["warmup"] = np.array([phase.warmup for phase in scenario.phases])[number]
    # times are whole microseconds, so three digits only drop the noise of the subtraction
    rows["latency_ms"] = ((rows["done_s"] - rows["intended_s"]) * 1000).round(3)
    rows["service_ms"] = ((rows["done_s"] - rows["sent_s"]) * 1000).round(3)
    rows["outcome"] = rows["outcome"].astype(str).astype("category")
    rows["bytes"] = rows["bytes"].astype(int)
    return rows[COLUMNS]
