"""Rows come back as they were recorded, also where only a part of them was saved."""

from math import nan

import numpy as np
import pandas as pd

from helpers import load
from helpers.load import tables
from helpers.load.request import Recorder, Request, parts_folder
from helpers.run import Run

from .conftest import MakeRun, scenario

PHASES = (
    {"name": "warm-up", "arrivals": "constant", "rate": 1, "duration_s": 2, "warmup": True},
    {"arrivals": "constant", "rate": 1, "duration_s": 9},
)


def request(phase: int, intended: float, sent: float, done: float) -> Request:
    one = Request(phase, intended, 0, intended)
    one.sent, one.done = sent, done
    return one


def assemble(run: Run) -> pd.DataFrame:
    tables.assemble(run.folder, run.profile.load.scenarios[0])
    return pd.read_parquet(tables.table_path(run.folder, "trial"))


def test_rows_come_back_in_order_with_their_latency(make_run: MakeRun) -> None:
    run = make_run(scenario(*PHASES))
    store = Recorder(parts_folder(run.folder, "trial"))
    store.add(request(1, 2.5, 2.5001, 2.5203456), "ok", 4000)
    store.add(request(0, 0.25, 0.2501, nan), "timeout", 0)
    store.write(store.take())
    store.add(request(1, 2.0, nan, nan), "refused", 0)
    store.add(request(1, 2.25, 2.2501, 2.2511), "http-503", 9)
    store.write(store.take())
    store.write(store.take())
    table = assemble(run)
    assert list(table.columns) == list(tables.COLUMNS)
    assert list(table["intended_s"]) == [0.25, 2.0, 2.25, 2.5]
    assert list(table["phase"]) == ["warm-up", "steady", "steady", "steady"]
    assert list(table["warmup"]) == [True, False, False, False]
    assert list(table["outcome"]) == ["timeout", "refused", "http-503", "ok"]
    assert list(table["bytes"]) == [0, 0, 9, 4000]
    assert np.allclose(table["latency_ms"], [nan, nan, 1.1, 20.346], equal_nan=True)
    assert np.allclose(table["service_ms"], [nan, nan, 1.0, 20.246], equal_nan=True)
    pd.testing.assert_frame_equal(table, run.load_table("requests-trial"))
    assert not parts_folder(run.folder, "trial").exists()


def test_a_torn_part_is_left_out(make_run: MakeRun) -> None:
    run = make_run(scenario(*PHASES))
    folder = parts_folder(run.folder, "trial")
    store = Recorder(folder)
    store.add(request(1, 2.5, 2.5001, 2.52), "ok", 4000)
    store.write(store.take())
    (folder / "00-000001.tmp").write_bytes((folder / "00-000000.parquet").read_bytes()[:99])
    load.recover(run)
    assert len(run.load_table("requests-trial")) == 1


def test_no_rows_are_an_empty_table(make_run: MakeRun) -> None:
    run = make_run(scenario(*PHASES))
    Recorder(parts_folder(run.folder, "trial"))
    table = assemble(run)
    assert table.empty and list(table.columns) == list(tables.COLUMNS)


def test_clear_removes_what_an_earlier_firing_left(make_run: MakeRun) -> None:
    run = make_run(scenario(*PHASES))
    store = Recorder(parts_folder(run.folder, "trial"))
    assemble(run)
    store = Recorder(parts_folder(run.folder, "trial"))
    store.add(request(1, 2.5, 2.5001, 2.52), "ok", 4000)
    store.write(store.take())
    tables.clear(run.folder, "trial")
    load.recover(run)
    assert not tables.table_path(run.folder, "trial").exists()
