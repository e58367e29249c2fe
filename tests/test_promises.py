"""A promise is ticked only with evidence, and the target limits the status."""

import pytest

from helpers import promises
from helpers.errors import Problem
from helpers.promises import PROMISES, STAGES, Status, Tick
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
    assert _status(run, "00.kpis") is Status.REHEARSED
    promises.claim(run, "00.kpis", holds=False, evidence="records/00/x.json", note="broken")
    assert _status(run, "00.kpis") is Status.FAILED
    assert promises.overall_status(promises.ticks(run).values()) is Status.FAILED


@pytest.mark.parametrize(
    ("promise_id", "status", "evidence", "note"),
    [
        ("00.nonsense", Status.FAILED, "", "x"),
        ("00.kpis", Status.REHEARSED, "", "no evidence"),
        ("00.kpis", Status.REHEARSED, "records/none.json", "missing evidence"),
        ("00.kpis", Status.NOT_REHEARSED, "", ""),
        ("00.kpis", Status.VERIFIED, "manifest.json", "a rehearsal cannot verify"),
    ],
)
def test_a_claim_without_ground_is_refused(
    run: Run, promise_id: str, status: Status, evidence: str, note: str
) -> None:
    with pytest.raises(ValueError, match=promise_id):
        promises.tick(run, promise_id, status, evidence=evidence, note=note)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], Status.NOT_REHEARSED),
        ([Status.NOT_REHEARSED], Status.NOT_REHEARSED),
        ([Status.NOT_REHEARSED, Status.STATIC], Status.STATIC),
        ([Status.REHEARSED, Status.STATIC], Status.REHEARSED),
        ([Status.REHEARSED, Status.VERIFIED], Status.REHEARSED),
        ([Status.VERIFIED, Status.NOT_REHEARSED], Status.VERIFIED),
        ([Status.VERIFIED, Status.FAILED], Status.FAILED),
    ],
)
def test_the_overall_status_claims_no_more_than_was_seen(
    statuses: list[Status], expected: Status
) -> None:
    assert promises.overall_status(Tick(status) for status in statuses) is expected


def _status(run: Run, promise_id: str) -> Status:
    return next(t.status for p, t in promises.ticks(run).items() if p.id == promise_id)
