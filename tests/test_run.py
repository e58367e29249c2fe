"""A run's folder survives kills, and missing or damaged content is reported."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from helpers.errors import Problem
from helpers.profile import Profile
from helpers.run import Record, Run, append_line, read_lines


class Weather(Record, stage="00", name="weather"):
    """A record for these tests."""

    degrees: float


def test_a_new_run_knows_where_it_comes_from(run: Run) -> None:
    manifest = run.manifest()
    assert manifest["run_id"] == run.run_id
    assert manifest["profile_sha256"] == run.profile.digest()
    assert manifest["ended"] is None
    assert set(manifest["versions"]) >= {"torch", "onnx", "tritonclient"}
    assert set(manifest["git"]) == {"commit", "clean"}
    assert Run.open(run.run_id, run.folder.parent).profile == run.profile


@pytest.mark.parametrize("run_id", ["", "nope", "../outputs", "20260101T0000Z-rehearsal"])
def test_a_run_that_does_not_exist_is_refused(run: Run, run_id: str) -> None:
    with pytest.raises(Problem, match="does not exist"):
        Run.open(run_id, run.folder.parent)


def test_the_newest_open_run_of_a_profile_is_found(tmp_path: Path, profile: Profile) -> None:
    assert Run.newest_open(profile.name, tmp_path) is None
    first, second = Run.create(profile, tmp_path), Run.create(profile, tmp_path)
    assert first.run_id != second.run_id, "runs of one minute do not share a folder"
    assert Run.newest_open("rehearsal", tmp_path) is None
    for run in (second, first):
        newest = Run.newest_open(profile.name, tmp_path)
        assert newest is not None and newest.run_id == run.run_id
        run.end()


def test_records_read_back_equal_and_a_missing_one_names_its_stage(run: Run) -> None:
    run.save(Weather(degrees=2))
    path = run.folder / run.save(Weather(degrees=21.5)).path()
    assert path == run.folder / "records/00/weather.json"
    assert list(path.parent.iterdir()) == [path], "no temporary file is left"
    assert run.load(Weather) == Weather(degrees=21.5)
    path.unlink()
    assert run.find(Weather) is None
    with pytest.raises(Problem, match="Run stage 00 first"):
        run.load(Weather)


@pytest.mark.parametrize("text", ["", "{", '{"degrees": "warm"}', '{"degrees": 1, "sky": "blue"}'])
def test_a_damaged_record_or_manifest_is_one_sentence(run: Run, text: str) -> None:
    run.write(Weather.path(), text)
    with pytest.raises(Problem, match="Run stage 00 again"):
        run.load(Weather)
    run.write("manifest.json", text[:1])
    with pytest.raises(Problem, match=r"manifest\.json of run .* cannot be read"):
        run.manifest()


def test_tables_read_back_equal_and_have_a_csv(run: Run) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    run.save_table("numbers", frame)
    pd.testing.assert_frame_equal(run.load_table("numbers"), frame)
    assert (run.folder / "tables/numbers.csv").read_text().startswith("a,b\n1,x\n")
    with pytest.raises(Problem, match="no table 'letters'"):
        run.load_table("letters")


@pytest.mark.parametrize("torn", ['{"at": "2026', '{"at": 1}\n{"kind"', "\x00\x00", "7"])
def test_a_torn_last_line_is_left_out_and_mended(tmp_path: Path, torn: str) -> None:
    log = tmp_path / "events.jsonl"
    append_line(log, json.dumps({"n": 1}))
    with log.open("a") as file:
        file.write(torn)
    append_line(log, json.dumps({"n": 2}))
    assert [line["n"] for line in read_lines(log) if "n" in line] == [1, 2]


APPEND_MANY = """
import json, pathlib, sys
from helpers.run import append_line
for number in range(200):
    line = {"who": int(sys.argv[2]), "number": number, "padding": "x" * 200}
    append_line(pathlib.Path(sys.argv[1]), json.dumps(line))
"""


def test_lines_of_several_processes_do_not_mix(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    command = [sys.executable, "-c", APPEND_MANY, str(log)]
    writers = [subprocess.Popen([*command, str(who)]) for who in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    lines = read_lines(log)
    assert len(lines) == 600
    for who in range(3):
        assert [line["number"] for line in lines if line["who"] == who] == list(range(200))
