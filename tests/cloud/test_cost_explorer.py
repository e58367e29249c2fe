"""Predicted against billed, the audit, load balancers, and what a new emulator proves."""

from pathlib import Path
from typing import Any

import pytest

from helpers.cloud import cost_explorer, meter, sweep, zero
from helpers.cloud.cost_explorer import Reconciliation
from helpers.cloud.meter import CostReport
from helpers.cloud.resource_kinds import Caller
from helpers.errors import Problem
from helpers.run import Run
from tests.emulated import CostLine, Emulated

from .seeds import Seeds
from .test_costs import EKS, NOON, happens, lived, planned


def bill(aws: Emulated, **usd: float) -> None:
    lines = {"eks": EKS, "tax": "Tax", "queue": "Amazon Simple Queue Service"}
    aws.costs.lines = [
        CostLine(NOON.date(), lines[name], value, tagged=name != "tax")
        for name, value in usd.items()
    ]


def reconciled(run: Run, aws: Emulated) -> Reconciliation:
    lived(run)
    meter.report(run)
    made = cost_explorer.reconcile(run, aws.account)
    assert made is not None
    return made


def test_a_complete_bill_is_held_against_the_prediction(run: Run, aws: Emulated) -> None:
    aws.costs.tag_active = True
    bill(aws, eks=0.30, queue=0.5)
    made = reconciled(run, aws)
    rows = {row.service: row for row in made.rows}
    assert made.coverage == "complete" and made.tag_active and not made.next_step
    assert rows[EKS].billed_usd == pytest.approx(rows[EKS].predicted_usd) and not rows[EKS].why
    assert "not in the prediction" in rows["Amazon Simple Queue Service"].why
    assert not rows["EC2 - Other"].why  # nothing is known, and nothing is guessed
    assert "billed US$ 0.80 for this project" in made.summary


def test_days_that_credits_pay_for_are_billed_days_and_both_sides_are_named(
    run: Run, aws: Emulated
) -> None:
    bill(aws, eks=0.30)
    aws.costs.lines.append(CostLine(NOON.date(), EKS, -0.30, charge="Credit"))
    made = reconciled(run, aws)
    assert made.coverage == "complete" and "nothing billed yet" not in made.summary
    assert [row.billed_usd for row in made.rows if row.service == EKS] == [pytest.approx(0.30)]
    assert "billed US$ 0.30 in the whole account" in made.summary
    assert "credits of the whole account: US$ -0.30" in made.summary


def test_cost_explorer_is_asked_once_a_day(
    run: Run, aws: Emulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.costs.coverage = "disabled"
    first = reconciled(run, aws)
    aws.costs.coverage = "complete"  # a refusal is no answer to keep
    bill(aws, eks=0.30)
    aws.calls.clear()
    second, third = (cost_explorer.reconcile(run, aws.account) for _ in range(2))
    assert len(aws.calls) == 2  # usage and credits; a request costs a cent
    assert first.coverage == "disabled" and second and second == third
    monkeypatch.setattr(cost_explorer, "now", lambda: "2999-01-01T00:00:00.000Z")
    cost_explorer.reconcile(run, aws.account)
    assert len(aws.calls) == 4


@pytest.mark.parametrize(
    ("coverage", "says"),
    [
        ("empty", "takes about a day"),
        ("partial", "marks its figures as estimated"),
        ("disabled", "not enabled"),
    ],
)
def test_a_bill_that_is_not_there_yet_is_named(
    coverage: Any, says: str, run: Run, aws: Emulated
) -> None:
    bill(aws, eks=0.30, queue=0.5)
    aws.costs.coverage = coverage
    made = reconciled(run, aws)
    assert made.coverage == coverage and made.next_step
    assert says in made.summary


def test_the_last_day_may_be_missing(run: Run, aws: Emulated) -> None:
    planned(run)
    happens(run, 0, "stack-apply-start")
    happens(run, 30, "stack-destroy-stop", outcome="finished")
    meter.report(run)
    bill(aws, eks=2.4)
    made = cost_explorer.reconcile(run, aws.account)
    assert made and made.coverage == "late" and "last day" in made.summary


def test_without_an_active_tag_the_whole_account_is_counted(run: Run, aws: Emulated) -> None:
    bill(aws, eks=1.30, queue=9.0, tax=0.2)
    made = reconciled(run, aws)
    rows = {row.service: row for row in made.rows}
    assert not made.tag_active and "whole account" in made.summary
    assert "the tag project is not active" in rows[EKS].why
    assert rows["Tax"].why == "tax, which no list price includes"
    assert "Amazon Simple Queue Service" not in rows  # somebody else's


def test_a_run_without_costs_has_nothing_to_reconcile(run: Run, aws: Emulated) -> None:
    with pytest.raises(Problem, match="Run stage 06 first"):
        cost_explorer.write_audit(run)
    meter.report(run)
    assert cost_explorer.frame(cost_explorer.reconcile(run, aws.account)).empty


def test_the_audit_is_written_from_the_records(run: Run, aws: Emulated, tmp_path: Path) -> None:
    made = reconciled(run, aws)
    elsewhere = tmp_path / "docs.md"
    text = cost_explorer.write_audit(run, elsewhere).read_text()
    report = run.load(CostReport)
    for figure in (f"{report.total_usd:.4f}", f"{report.savings_usd:.4f}", run.run_id, EKS):
        assert figure in text
    assert made.next_step in text and "No zero certificate" in text
    assert cost_explorer.audit_agrees(run) and not elsewhere.exists()
    meter.report(run, inferences=5)
    assert not cost_explorer.audit_agrees(run)


def test_load_balancers_of_this_run_are_counted_and_removed(
    run: Run, aws: Emulated, own: Seeds
) -> None:
    for kind in ("load balancer", "target group"):
        own.make(kind)
    gone = sweep.remove_load_balancers(run, aws.account, rounds=3, sleep=lambda _: None)
    assert (gone.seen, gone.swept) == (1, 2)
    assert [event["count"] for event in run.events("load-balancers")] == [1, 0]
    again = sweep.remove_load_balancers(run, aws.account, sleep=lambda _: None)
    assert again.summary == "there was no load balancer"


def test_a_load_balancer_without_the_tag_is_not_touched(run: Run, aws: Emulated) -> None:
    own = Seeds(Caller.identify(aws.account), {"elbv2.k8s.aws/cluster": "gpu-e2e"}, "k8s")
    arn = own.make("load balancer")
    gone = sweep.remove_load_balancers(run, aws.account, rounds=1, sleep=lambda _: None)
    assert "NOT DONE" in gone.summary and "aws elbv2 delete-load-balancer" in gone.summary
    assert own.client("elbv2").describe_load_balancers(LoadBalancerArns=[arn])["LoadBalancers"]


def test_an_emulator_that_began_anew_proves_nothing(run: Run) -> None:
    history: list[tuple[str, dict[str, str], str]] = [
        ("service-started", {"service": "aws"}, ""),
        ("stack-apply-start", {}, ""),
        ("service-started", {"service": "triton"}, ""),
        ("service-started", {"service": "aws"}, zero.RESTARTED),
        ("stack-destroy-stop", {"outcome": "finished"}, zero.RESTARTED),
        ("stack-apply-start", {}, ""),
    ]
    for hours, (kind, facts, doubt) in enumerate(history):
        happens(run, hours, kind, **facts)
        assert zero.restart_doubt(run, "aws") == doubt
