"""Meter, cost report and bill: events and prices in, hand-made figures out."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from helpers.cloud import audit, billed, costs, ending, load_balancers, meter, prices, usage
from helpers.cloud.billed import Reconciliation
from helpers.cloud.costs import CostReport
from helpers.cloud.leftovers.calls import Caller
from helpers.cloud.reports import PlanCost, PlanFacts, PlannedResource
from helpers.cloud.spot import SpotHistory, SpotPoint
from helpers.errors import Problem
from helpers.rehearsal import double
from helpers.rehearsal.double import CostLine, Double
from helpers.run import Run

from .seeds import Seeds

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
EKS = "Amazon Elastic Container Service for Kubernetes"
GPU = {
    "name": "gpu-e2e-gpu",
    "desired_capacity": 1,
    "max_size": 2,
    "mixed_instances_policy": [
        {
            "instances_distribution": [
                {"on_demand_percentage_above_base_capacity": 0, "spot_max_price": "0.30"}
            ],
            "launch_template": [{"override": [{"instance_type": "g4dn.xlarge"}]}],
        }
    ],
}


@pytest.fixture
def aws() -> Iterator[Double]:
    with double.installed() as made:
        yield made


def happens(run: Run, hours: float, kind: str, **facts: object) -> None:
    """An event, so many hours after noon."""
    line = {"at": (NOON + timedelta(hours=hours)).isoformat(), "kind": kind, "stage": "", **facts}
    with (run.folder / "events.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def planned(run: Run, *, emulated: bool = True) -> None:
    """A cluster, a NAT gateway and a spot group; g4dn.xlarge at 0.20, from 13:00 on at 0.40."""
    kinds = ("aws_eks_cluster", "aws_nat_gateway")
    facts = PlanFacts(
        emulated=emulated,
        planned="",
        sha256="",
        resources=tuple(PlannedResource(address=k, type=k, action="create") for k in kinds),
        cost=PlanCost(lines=(), session_hours=4, session_usd=0, session_most_usd=0, budget_usd=5),
    )
    run.save(facts)
    group = {"mode": "managed", "type": "aws_autoscaling_group", "values": GPU}
    root = {"root_module": {"resources": [group]}}
    run.write("terraform/plan.json", json.dumps({"planned_values": root}))
    kind = "g4dn.xlarge"
    points = ((NOON - timedelta(days=1), 0.20), (NOON + timedelta(hours=1), 0.40))
    run.save(
        SpotHistory(
            region="us-east-1", asked="2026-11-20T18:00:00Z", days=7, emulated=emulated,
            points=tuple(
                SpotPoint(at=at.isoformat(), zone="us-east-1a", instance_type=kind, usd=usd)
                for at, usd in points
            ),
        )
    )  # fmt: skip


def lived(run: Run, *, emulated: bool = True) -> None:
    """Two and a half hours of a stack, with one GPU node from 12:30 to 14:30, at last two."""
    planned(run, emulated=emulated)
    happens(run, 0, "stack-apply-start")
    happens(run, 0.5, "gpu-nodes", count=1)
    happens(run, 1.5, "gpu-nodes", count=2)
    happens(run, 2.0, "stack-destroy-start")
    happens(run, 2.5, "stack-destroy-stop", outcome="finished")


def test_hours_are_read_from_the_events(run: Run) -> None:
    lived(run)
    used = usage.of(run, NOON + timedelta(hours=9))
    assert used.hours == 2.5 and not used.standing
    assert used.gpu_hours == 1 * 1.0 + 2 * 1.0
    assert used.gpus_now == 0


def test_a_destroy_that_failed_has_ended_nothing(run: Run) -> None:
    planned(run)
    happens(run, 0, "stack-apply-start")
    happens(run, 1, "stack-apply-stop", outcome="failed")
    happens(run, 2, "stack-destroy-stop", outcome="failed")
    used = usage.of(run, NOON + timedelta(hours=3))
    assert used.standing and used.hours == 3


def test_a_stack_that_was_made_twice_is_counted_twice(run: Run) -> None:
    lived(run)
    happens(run, 5, "stack-apply-start")
    used = usage.of(run, NOON + timedelta(hours=6))
    assert used.hours == 3.5 and used.gpu_hours == 3.0 and used.standing


def test_spot_is_priced_piece_by_piece_and_never_above_the_cap(run: Run) -> None:
    """12:30-13:00 at 0.20; 13:00-13:30 at the cap of 0.30 (market 0.40); then two nodes."""
    lived(run)
    made = costs.report(run)
    assert made.spot_usd == pytest.approx(0.5 * 0.20 + 0.5 * 0.30 + 2 * 1.0 * 0.30)
    assert made.on_demand_usd == pytest.approx(3 * 0.526)
    assert made.savings_usd == pytest.approx(3 * 0.526 - 0.85)


def test_what_is_billed_by_the_hour_begun_is_rounded_up(run: Run) -> None:
    lived(run)
    by_name = {one.what: one for one in costs.report(run).items}
    assert by_name["NAT gateway"].usd == pytest.approx(3 * 0.045)
    assert by_name["EKS control plane"].usd == pytest.approx(3 * 0.10)
    assert by_name["NAT gateway"].quantity == 2.5


def test_the_report_adds_up_and_says_what_it_is_worth(run: Run) -> None:
    lived(run)
    made = costs.report(run, inferences=2000)
    assert made.total_usd == pytest.approx(sum(one.usd for one in made.items))
    assert made.per_1000_usd == pytest.approx(made.total_usd / 2)
    assert "EMULATED" in made.label and "nothing was spent" in made.summary
    assert "list price of 20" in made.sources and "spot price history" in made.sources
    assert run.load(CostReport) == made
    assert set(costs.frame(made)["Label"]) == {"EMULATED"}


def test_without_inferences_there_is_no_price_for_them(run: Run) -> None:
    lived(run)
    assert costs.report(run).per_1000_usd is None
    assert costs.report(run, inferences=0).per_1000_usd is None


def test_a_run_that_created_nothing_costs_nothing(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    made = costs.report(run)
    assert made.total_usd == 0 and made.savings_pct is None
    meter.show(run, "06")
    assert "has created nothing" in capsys.readouterr().out
    assert meter.read(run) is None


def test_the_meter_says_spent_burning_and_projected(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    planned(run)
    happens(run, 0, "stack-apply-start")
    happens(run, 0.5, "gpu-nodes", count=1)
    read = meter.read(run, NOON + timedelta(hours=1))
    assert read is not None and read.standing
    # control plane and NAT: an hour begun each; half an hour of spot; assumed traffic
    traffic = 0.045 * 1 + 0.09 * 0.3
    disk = 20 * 0.08 / 730
    assert read.usd == pytest.approx(0.10 + 0.045 + 0.5 * 0.20 + 0.5 * disk + traffic)
    assert read.usd_per_hour == pytest.approx(0.10 + 0.045 + 0.30 + disk + traffic)
    assert read.teardown == "2026-11-20T16:00:00Z"  # ttl_hours after the apply
    assert read.usd_at_teardown > read.usd
    assert "EMULATED" in read.line and "list price of" in read.line
    meter.show(run, "03")
    assert capsys.readouterr().out.startswith("Meter (EMULATED")
    assert run.events("meter")[-1]["stage"] == "03"


def test_a_renewed_switch_moves_the_projection(run: Run) -> None:
    planned(run)
    happens(run, 0, "stack-apply-start")
    happens(run, 1, "dead-man-renewed", expires="2026-11-20T20:00:00Z")
    read = meter.read(run, NOON + timedelta(hours=2))
    assert read is not None and read.teardown == "2026-11-20T20:00:00Z"


def test_the_meter_stands_still_once_all_is_gone(run: Run) -> None:
    lived(run)
    early, late = (meter.read(run, NOON + timedelta(hours=h)) for h in (3, 99))
    assert early is not None and late is not None
    assert early.usd == late.usd and late.usd_per_hour == 0
    assert "nothing stands any more" in late.line


def test_a_load_balancer_counts_from_when_it_was_seen(run: Run) -> None:
    lived(run)
    happens(run, 0.5, "load-balancers", count=1)
    happens(run, 2.0, "load-balancers", count=0)
    (run.folder / "events.jsonl").write_text(
        "\n".join(sorted((run.folder / "events.jsonl").read_text().splitlines())) + "\n"
    )
    by_name = {one.what: one for one in costs.report(run).items}
    assert by_name["Load balancer"].usd == pytest.approx(2 * 0.0225)
    assert by_name["Public IPv4 addresses of the load balancer"].quantity == 1.5 * 2


def bill(aws: Double, **usd: float) -> None:
    lines = {"eks": EKS, "tax": "Tax", "queue": "Amazon Simple Queue Service"}
    aws.world.costs.lines = [
        CostLine(
            day=NOON.date(), service=lines[name], usage_type="x", usd=value, tagged=name != "tax"
        )
        for name, value in usd.items()
    ]


def reconciled(run: Run, aws: Double) -> Reconciliation:
    lived(run, emulated=False)
    costs.report(run)
    return billed.reconcile(run, aws.account)


def test_a_complete_bill_is_held_against_the_prediction(run: Run, aws: Double) -> None:
    aws.world.costs.active_tags = ["project"]
    bill(aws, eks=0.30, queue=0.5)
    made = reconciled(run, aws)
    rows = {one.service: one for one in made.rows}
    assert made.coverage == "complete" and made.tag_active and not made.next_step
    assert rows[EKS].difference_usd == pytest.approx(0) and not rows[EKS].why
    assert "not in the prediction" in rows["Amazon Simple Queue Service"].why
    assert "less used than assumed" in rows["EC2 - Other"].why
    assert made.billed_usd == pytest.approx(0.80)
    assert len(aws.calls) == 1  # a request costs a cent


@pytest.mark.parametrize(
    ("coverage", "says"),
    [
        ("empty", "takes about a day"),
        ("late", "does not know the run's last day"),
        ("partial", "marks its figures as estimated"),
        ("disabled", "not enabled"),
    ],
)
def test_a_bill_that_is_not_there_yet_is_said(
    coverage: str, says: str, run: Run, aws: Double
) -> None:
    bill(aws, eks=0.30, queue=0.5)
    if coverage == "late":
        early = CostLine(day=NOON.date() - timedelta(days=1), service=EKS, usage_type="x", usd=1.0)
        aws.world.costs.lines = [early, *aws.world.costs.lines]
    aws.world.costs.coverage = coverage  # type: ignore[assignment]
    made = reconciled(run, aws)
    expected = "empty" if coverage == "late" else coverage  # nothing of the run's only day
    assert made.coverage == expected
    assert made.next_step
    assert (says if coverage != "late" else "takes about a day") in made.summary
    assert made.predicted_usd > 0


def test_the_last_day_may_be_missing(run: Run, aws: Double) -> None:
    planned(run, emulated=False)
    happens(run, 0, "stack-apply-start")
    happens(run, 30, "stack-destroy-stop", outcome="finished")
    costs.report(run)
    bill(aws, eks=2.4)
    made = billed.reconcile(run, aws.account)
    assert made.coverage == "late" and "last day" in made.summary


def test_without_an_active_tag_the_whole_account_is_counted(run: Run, aws: Double) -> None:
    bill(aws, eks=1.30, queue=9.0, tax=0.2)
    made = reconciled(run, aws)
    rows = {one.service: one for one in made.rows}
    assert not made.tag_active and "whole account" in made.summary
    assert "the tag project is not active" in rows[EKS].why
    assert rows["Tax"].why == "tax, which no list price holds"
    assert "Amazon Simple Queue Service" not in rows  # somebody else's


def test_a_run_without_costs_has_nothing_to_reconcile(run: Run, aws: Double) -> None:
    costs.report(run)
    with pytest.raises(Problem, match="nothing to reconcile"):
        billed.reconcile(run, aws.account)
    assert billed.frame(billed.reconcile_where_created(run, aws.account)).empty


def test_the_audit_is_written_from_the_records(run: Run, aws: Double, tmp_path: Path) -> None:
    made = reconciled(run, aws)
    elsewhere = tmp_path / "docs.md"
    text = audit.write(run, elsewhere).read_text()
    report = run.load(CostReport)
    for figure in (f"{report.total_usd:.4f}", f"{report.savings_usd:.4f}", run.run_id, EKS):
        assert figure in text
    assert made.next_step in text and "No zero certificate" in text
    assert audit.agrees(run) and not elsewhere.exists()
    audit.publish(run, elsewhere)
    assert elsewhere.read_text() == text
    costs.report(run, inferences=5)
    assert not audit.agrees(run)


def test_an_audit_needs_a_cost_report(run: Run) -> None:
    with pytest.raises(Problem, match="Run stage 06 first"):
        audit.write(run)


def test_a_load_balancer_of_this_run_is_removed_and_counted(run: Run, aws: Double) -> None:
    own = Seeds(Caller.of(aws.account), {"run": run.run_id}, "plain")
    for kind in ("load balancer", "target group"):
        own.make(kind)
    gone = load_balancers.remove(run, aws.account, rounds=3, sleep=lambda _: None)
    assert (gone.seen, gone.swept) == (1, 2)
    assert [one["count"] for one in run.events("load-balancers")] == [1, 0]
    again = load_balancers.remove(run, aws.account, sleep=lambda _: None)
    assert again.summary == "there was no load balancer"


def test_a_controller_is_given_time(run: Run, aws: Double) -> None:
    own = Seeds(Caller.of(aws.account), {"elbv2.k8s.aws/cluster": "gpu-e2e"}, "k8s")
    arn = own.make("load balancer")

    def sleep(_: float) -> None:
        own.client("elbv2").delete_load_balancer(LoadBalancerArn=arn)

    gone = load_balancers.remove(run, aws.account, controller=True, rounds=3, sleep=sleep)
    assert (gone.seen, gone.by_controller, gone.swept) == (1, 1, 0)


def test_a_load_balancer_without_the_tag_is_not_touched(run: Run, aws: Double) -> None:
    own = Seeds(Caller.of(aws.account), {"elbv2.k8s.aws/cluster": "gpu-e2e"}, "k8s")
    arn = own.make("load balancer")
    with pytest.raises(Problem, match="aws elbv2 delete-load-balancer"):
        load_balancers.remove(run, aws.account, rounds=1, sleep=lambda _: None)
    assert own.client("elbv2").describe_load_balancers(LoadBalancerArns=[arn])["LoadBalancers"]


def test_an_emulator_that_began_anew_proves_nothing(run: Run) -> None:
    happens(run, 0, "service-started", service="aws")
    assert not ending.doubt(run, "aws")
    happens(run, 1, "stack-apply-start")
    assert not ending.doubt(run, "aws")
    happens(run, 2, "service-started", service="triton")
    assert not ending.doubt(run, "aws")
    happens(run, 3, "service-started", service="aws")
    happens(run, 4, "stack-destroy-stop", outcome="finished")
    assert ending.doubt(run, "aws") == ending.RESTARTED
    happens(run, 5, "stack-apply-start")
    assert not ending.doubt(run, "aws")


def test_prices_have_a_date_and_a_source() -> None:
    table = prices.load("us-east-1")
    assert all(one.checked and one.source.startswith("https://") for one in table.prices.values())
