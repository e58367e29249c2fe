"""Figures from a stored table are those that pandas computes, in little memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from helpers.load import statistics
from helpers.load.arrivals import PhaseSpan, Shard, schedule, spans
from helpers.load.records import PhaseReport
from helpers.load.request import Recorder, Request, parts_folder

from .conftest import scenario

OBJECTIVE_MS = 12.0
WARM = {"name": "warm-up", "arrivals": "constant", "rate": 100, "duration_s": 5, "warmup": True}
EVEN = {"name": "even", "arrivals": "poisson", "rate": 80, "duration_s": 70}
RISING = {"name": "rising", "arrivals": "ramp", "rate": 50, "to_rate": 200, "duration_s": 20}
LATE = {"name": "late", "arrivals": "constant", "rate": 100, "duration_s": 10}
PLAYED = scenario(WARM, EVEN, RISING, LATE, workers=3)
FAILURES = ("timeout", "http-503", "refused", "disconnected")


def answered(phase: int, intended: float, generator: np.random.Generator) -> tuple[Request, str]:
    """A request with an outcome; the last phase waits ever longer, and its client is late."""
    late = phase == 3
    request = Request(phase, intended, 0, intended + generator.exponential(0.02 if late else 5e-5))
    request.sent = request.released + generator.exponential(1e-4)
    queue = (intended - 95) / 2 if late else 0.0
    request.done = request.sent + generator.gamma(2, 0.005) + queue
    outcome = str(generator.choice(["ok", *FAILURES], p=[0.96, *[0.01] * len(FAILURES)]))
    if outcome == "refused":
        request.sent = np.nan
    if outcome in ("refused", "timeout"):
        request.done = np.nan
    return request, outcome


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The recorded shares of three workers, in parts, assembled to several row groups."""
    made = tmp_path_factory.mktemp("load")
    generator = np.random.default_rng(5)
    for number in range(PLAYED.workers):
        plan = schedule(PLAYED, Shard(number, PLAYED.workers))
        store = Recorder(parts_folder(made, PLAYED.name), number)
        rows = zip(plan.phases.tolist(), plan.times_s.tolist(), strict=True)
        for count, (phase, intended) in enumerate(rows, 1):
            request, outcome = answered(phase, intended, generator)
            store.add(request, outcome, 4000)
            if count % 400 == 0:
                store.write(store.take())
        store.write(store.take())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "ROWS_AT_ONCE", 1500)
        statistics.assemble(made, PLAYED)
    yield made


@pytest.fixture(scope="module")
def rows(folder: Path) -> pd.DataFrame:
    """The whole table, as pandas reads it."""
    return pd.read_parquet(statistics.table_path(folder, PLAYED.name))


def nearest_rank(values: "pd.Series[float]", share: float) -> float:
    return float(np.percentile(values.dropna(), 100 * share, method="inverted_cdf"))


def counted(rows: pd.DataFrame, places: list[PhaseSpan]) -> dict[str, Any]:
    """The figures of some phases, each from the whole table by the shortest way there is."""
    names = [place.phase.name for place in places]
    numbers = [[phase.name for phase in PLAYED.phases].index(name) for name in names]
    rows = rows[rows["phase"].isin(names)]
    end_s = rows["phase"].astype(str).map({place.phase.name: place.end_s for place in places})
    good = rows[rows["outcome"] == "ok"]
    in_time = rows["outcome"].eq("ok") & (rows["done_s"] <= end_s)
    length_s = sum(place.end_s - place.start_s for place in places)
    scheduled = int(np.isin(schedule(PLAYED).phases, numbers).sum())
    late_ms = (rows["released_s"] - rows["intended_s"]) * 1000
    return {
        "requested_rps": scheduled / length_s,
        "offered_rps": (rows["sent_s"] <= end_s).sum() / length_s,
        "throughput_rps": in_time.sum() / length_s,
        "goodput_rps": (in_time & (rows["latency_ms"] <= OBJECTIVE_MS)).sum() / length_s,
        "start_s": places[0].start_s,
        "end_s": places[-1].end_s,
        "requests": scheduled,
        "delivered": rows["sent_s"].count(),
        "ok": len(good),
        "error_rate_pct": 100 * (1 - len(good) / scheduled),
        "mean_ms": good["latency_ms"].mean(),
        "max_ms": good["latency_ms"].max(),
        "service_p50_ms": nearest_rank(good["service_ms"], 0.5),
        "send_error_p50_ms": nearest_rank(late_ms, 0.5),
        "send_error_p99_ms": nearest_rank(late_ms, 0.99),
        "errors": rows["outcome"].astype(str).value_counts().drop("ok").to_dict(),
        "latency": {
            name: nearest_rank(good["latency_ms"], share)
            for name, share in statistics.PERCENTILES.items()
            if len(good) >= statistics.FLOORS[name]
        },
    }


def agree(report: PhaseReport, expected: dict[str, Any]) -> None:
    figures = report.model_dump(exclude={"name", "warmup", "overloaded", "invalid"})
    latency = {name: value["ms"] for name, value in figures.pop("latency").items()}
    assert latency == expected.pop("latency")
    assert figures.pop("errors") == expected.pop("errors")
    assert figures == pytest.approx(expected, rel=1e-12)


def test_figures_are_as_pandas_counts_them(folder: Path, rows: pd.DataFrame) -> None:
    assert pq.ParquetFile(statistics.table_path(folder, PLAYED.name)).num_row_groups >= 5
    assert len(rows) == len(schedule(PLAYED).times_s)
    assert not rows["intended_s"].is_monotonic_increasing  # in order only within a row group
    table = statistics.open_requests(folder, PLAYED.name)
    assert statistics.outcomes(table) == rows["outcome"].astype(str).value_counts().to_dict()
    phases, measured = statistics.reports(table, PLAYED, OBJECTIVE_MS)
    for report, place in zip(phases, spans(PLAYED), strict=True):
        assert (report.name, report.warmup) == (place.phase.name, place.phase.warmup)
        agree(report, counted(rows, [place]))
    agree(measured, counted(rows, [place for place in spans(PLAYED) if not place.phase.warmup]))
    assert (measured.name, measured.warmup) == ("measured", False)
    # what is doubtful is said of its phase alone
    assert [phase.overloaded for phase in phases] == [False, False, False, True]
    assert [bool(phase.invalid) for phase in phases] == [False, False, False, True]
    assert measured.overloaded
    assert measured.invalid == tuple(f"phase late: {reason}" for reason in phases[-1].invalid)


def test_every_second_is_as_pandas_groups_it(folder: Path, rows: pd.DataFrame) -> None:
    found = statistics.seconds(statistics.open_requests(folder, PLAYED.name))
    good = rows[rows["outcome"] == "ok"]
    due = rows["intended_s"].astype(int)
    latency = good.groupby(due)["latency_ms"]
    expected = pd.DataFrame(
        {
            "due": rows.groupby(due).size(),
            "released": rows.groupby(rows["released_s"].astype(int)).size(),
            "ok": good.groupby(good["done_s"].astype(int)).size(),
            "errors": rows[rows["outcome"] != "ok"].groupby(due).size(),
        }
    )
    expected = expected.fillna(0).astype(int)
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        expected[f"{name}_ms"] = latency.quantile(share, interpolation="higher").round(3)
    pd.testing.assert_frame_equal(found, expected.rename_axis("second").reset_index())
    assert found.equals(pd.read_csv(statistics.seconds_path(folder, PLAYED.name)))
