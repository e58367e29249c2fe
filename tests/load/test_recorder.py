"""Rows come back as they were recorded, also where only a part of them was saved."""

from math import nan

import numpy as np
import pandas as pd

from helpers.load import recorder
from helpers.load.recorder import Recorder

from .conftest import MakeRun, scenario

PHASES = (
    {"name": "warm-up", "arrivals": "constant", "rate": 1, "duration_s": 2, "warmup": True},
    {"arrivals": "constant", "rate": 1, "duration_s": 9},
)


def test_rows_come_back_in_order_with_their_latency(make_run: MakeRun) -> None:
    run = make_run(scenario(*PHASES))
    store = Recorder(recorder.parts_folder(run, "trial"))
    store.add(1, 2.5, 2.5001, 2.5203456, "ok", 4000)
    store.add(0, 0.25, 0.2501, nan, "timeout", 0)
    store.write(store.take())
    store.add(1, 2.0, nan, nan, "refused", 0)
    store.add(1, 2.25, 2.2501, 2.2511, "http-503", 9)
    store.write(store.take())
    store.write(store.take())
    table = recorder.assemble(run, run.profile.load.scenarios[0])
    assert list(table.columns) == list(recorder.COLUMNS)
    assert list(table["intended_s"]) == [0.25, 2.0, 2.25, 2.5]
    assert list(table["phase"]) == ["warm-up", "steady", "steady", "steady"]
    assert list(table["warmup"]) == [True, False, False, False]
    assert list(table["outcome"]) == ["timeout", "refused", "http-503", "ok"]
    assert list(table["bytes"]) == [0, 0, 9, 4000]
    assert np.allclose(table["latency_ms"], [nan, nan, 1.1, 20.346], equal_nan=True)
    assert np.allclose(table["service_ms"], [nan, nan, 1.0, 20.246], equal_nan=True)
    pd.testing.assert_frame_equal(table, run.load_table("requests-trial"))
    _, csv = recorder.table_paths(run, "trial")
    pd.testing.assert_frame_equal(table, pd.read_csv(csv), check_dtype=False)
    assert not recorder.parts_folder(run, "trial").exists()


def test_a_torn_part_is_left_out(make_run: MakeRun) -> None:
    run = make_run(scenario(*PHASES))
    folder = recorder.parts_folder(run, "trial")
    store = Recorder(folder)
    store.add(1, 2.5, 2.5001, 2.52, "ok", 4000)
    store.write(store.take())
    (folder / "000001.tmp").write_bytes((folder / "000000.parquet").read_bytes()[:99])
    recorder.recover(run)
    assert len(run.load_table("requests-trial")) == 1


def test_no_rows_are_an_empty_table(make_run: MakeRun) -> None:
    run = make_run(scenario(*PHASES))
    Recorder(recorder.parts_folder(run, "trial"))
    table = recorder.assemble(run, run.profile.load.scenarios[0])
    assert table.empty and list(table.columns) == list(recorder.COLUMNS)


def test_clear_removes_what_an_earlier_firing_left(make_run: MakeRun) -> None:
    run = make_run(scenario(*PHASES))
    store = Recorder(recorder.parts_folder(run, "trial"))
    recorder.assemble(run, run.profile.load.scenarios[0])
    store = Recorder(recorder.parts_folder(run, "trial"))
    store.add(1, 2.5, 2.5001, 2.52, "ok", 4000)
    store.write(store.take())
    recorder.clear(run, "trial")
    recorder.recover(run)
    assert not any(path.exists() for path in recorder.table_paths(run, "trial"))
