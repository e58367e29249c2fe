"""A promise is ticked only with evidence, and the target limits the status."""

import json

import pytest

from helpers import promises
from helpers.errors import Problem
from helpers.promises import PROMISES, STAGES, Status
from helpers.run import Run


def test_ids_are_unique_and_belong_to_a_stage() -> None:
    ids = [promise.id for promise in PROMISES]
    assert len(set(ids)) == len(ids)
    assert {promise.stage for promise in PROMISES} == {stage.number for stage in STAGES}
    assert [stage.number for stage in STAGES] == [f"{n:02d}" for n in range(8)]
    with pytest.raises(Problem, match="Stage '99' does not exist"):
        promises.stage("99")


def test_a_tick_is_kept_and_replaced(run: Run) -> None:
    run.write("records/00/x.json", "{}")
    promises.claim(run, "00.kpis", holds=True, evidence="records/00/x.json", note="seen")
    assert _status(run, "00.kpis") is Status.RAN
    promises.claim(run, "00.kpis", holds=False, evidence="records/00/x.json", note="broken")
    assert _status(run, "00.kpis") is Status.FAILED
    assert "1 FAILED" in promises.summary(run)


@pytest.mark.parametrize(
    ("promise_id", "status", "evidence", "note"),
    [
        ("00.nonsense", Status.FAILED, "", "x"),
        ("00.kpis", Status.RAN, "", "no evidence"),
        ("00.kpis", Status.RAN, "records/none.json", "missing evidence"),
        ("00.kpis", Status.NOT_RUN, "", ""),
        ("00.kpis", Status.VERIFIED, "manifest.json", "a rehearsal cannot verify"),
    ],
)
def test_a_claim_without_ground_is_refused(
    run: Run, promise_id: str, status: Status, evidence: str, note: str
) -> None:
    with pytest.raises(ValueError, match=promise_id):
        promises.tick(run, promise_id, status, evidence=evidence, note=note)


def test_a_run_is_partial_until_every_stage_has_shown_something(run: Run) -> None:
    for promise in PROMISES[: -len(promises.promises("07"))]:
        absent = "no GPU" if promise.id == "05.gpu" else ""
        promises.claim(
            run, promise.id, holds=True, evidence="manifest.json", note="seen", absent=absent
        )
    assert promises.summary(run) == "15 ran · 16 emulated · 4 checked · 1 wait for AWS"
    stored = json.loads((run.folder / "checklist.json").read_text())
    kept = {name: tick for name, tick in stored.items() if not name.startswith("04")}
    run.write("checklist.json", json.dumps(kept))
    assert promises.summary(run).startswith("PARTIAL, incomplete stages 04: 11 ran")


def test_the_words_of_older_runs_are_understood(run: Run) -> None:
    old = {"00.quota": "REHEARSED", "05.gpu": "NOT REHEARSED", "03.helm": "STATIC",
           "03.onnx": "REHEARSED", "03.smoke": "FAILED"}  # fmt: skip
    run.write("checklist.json", json.dumps({name: {"status": s} for name, s in old.items()}))
    new = {name: str(_status(run, name)) for name in old}
    assert new == {"00.quota": "EMULATED", "05.gpu": "NOT RUN", "03.helm": "CHECKED",
                   "03.onnx": "RAN", "03.smoke": "FAILED"}  # fmt: skip


def _status(run: Run, promise_id: str) -> Status:
    return next(t.status for p, t in promises.ticks(run).items() if p.id == promise_id)
