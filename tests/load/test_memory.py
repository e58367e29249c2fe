"""Reporting a load takes so little memory for each request that ten million fit into 1 GiB."""

import sys
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks import records
from helpers.load.arrivals import schedule
from helpers.load.request import Recorder, parts_folder
from helpers.scenario import Scenario

SMALL, LARGE = 1_000_000, 3_000_000  # both are assembled in several row groups
MOST_BYTES = 80  # a request: ten million take 763 MiB, and the interpreter with its libraries 210
PART = 20_000
MIB = 2**20


def kept(code: str, values: npt.NDArray[Any]) -> "array[Any]":
    column = array(code)
    column.frombytes(values.tobytes())
    return column


def record(played: Scenario, folder: Path) -> int:
    """Write what a worker would have recorded, without firing; returns the number of requests."""
    plan = schedule(played)
    generator = np.random.default_rng(1)
    store = Recorder(parts_folder(folder, played.name))
    for first in range(0, len(plan.times_s), PART):
        due = plan.times_s[first : first + PART]
        done = due + generator.gamma(2, 0.005, len(due))
        phases, good = plan.phases[first : first + PART], np.zeros(len(due), dtype=np.int16)
        values: tuple[npt.NDArray[Any], ...] = (
            phases,
            due,
            due + 1e-4,
            due + 2e-4,
            done,
            good,
            np.full(len(due), 4000),
        )
        store.write(tuple(kept(code, part) for code, part in zip("hddddhq", values, strict=True)))
    return len(plan.times_s)


@pytest.mark.skipif(sys.platform != "linux", reason="a process's own peak is told by Linux alone")
def test_memory_grows_slowly_with_the_number_of_requests(tmp_path: Path) -> None:
    counts, peaks = [], []
    for size in (SMALL, LARGE):
        played, folder = records.of(size), tmp_path / str(size)
        counts.append(record(played, folder))
        peaks.append(records.peak_mib(records.REPORT, played, folder))
    grown = (peaks[1] - peaks[0]) * MIB / (counts[1] - counts[0])
    assert grown < MOST_BYTES, f"{grown:.0f} bytes a request, {peaks[0]:.0f} MiB before"
