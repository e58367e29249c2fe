"""The cost model: estimate, meter and bill of the same hours are equal; events and prices in."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.cloud import costs, meter
from helpers.cloud.costs import CostModel, Period, Usage, bill, estimate, usage_until
from helpers.cloud.meter import CostReport
from helpers.cloud.plan import Estimate, EstimateLine, Plan, PlanFacts, read_plan
from helpers.cloud.prices import SpotHistory, SpotPoint, load_table
from helpers.paths import ROOT
from helpers.run import Run

from .plans import CAPPED, MANAGED, SYSTEM, capped, cluster, document

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
EKS = costs.EKS
TABLE = load_table("us-east-1")
CLUSTER = "aws_eks_cluster"


def market(*points: tuple[float, float], emulated: bool = True) -> SpotHistory:
    """Prices of g4dn.xlarge: (hours after noon, US$)."""
    return SpotHistory(
        region="us-east-1", asked=(NOON + timedelta(hours=6)).isoformat(), days=7,
        emulated=emulated,
        points=tuple(
            SpotPoint(at=NOON + timedelta(hours=hours), zone="us-east-1a",
                      instance_type="g4dn.xlarge", usd=usd)
            for hours, usd in points
        ),
    )  # fmt: skip


FLAT = market((-24, 0.2))


def estimated(*resources: tuple[str, dict[str, Any]], hours: float = 4) -> Estimate:
    return estimate(Plan(document(*resources)), TABLE, FLAT, session_hours=hours, budget_usd=5)


def line(cost: Estimate, what: str) -> EstimateLine:
    return next(line for line in cost.lines if what in line.what)


def hourly(cost: Estimate) -> float:
    return sum(line.hourly for line in cost.lines)


# ── properties: whatever is planned, and however long it exists ───────────────────────────────


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    count = st.integers(0, 3)
    resources: list[tuple[str, dict[str, Any]]] = []
    for kind in sorted({facts["of"] for facts in costs.plan_costs()["rates"]} - {CLUSTER}):
        resources += [(kind, {})] * draw(count)
    if draw(st.booleans()):
        resources.append((CLUSTER, cluster(draw(st.sampled_from(("STANDARD", ""))))))
    if draw(st.booleans()):
        resources.append(("aws_eks_node_group", SYSTEM))
    desired = draw(count)
    gpu = draw(st.sampled_from(("capped", "managed", "none")))
    if gpu == "capped":
        cap = draw(st.floats(0.01, 2).map(lambda usd: f"{usd:.2f}"))
        resources.append(("aws_autoscaling_group", capped(cap, desired, desired + 1)))
    elif gpu == "managed":
        sizes = {"desired_size": desired, "max_size": desired + 1, "min_size": 0}
        resources.append(("aws_eks_node_group", MANAGED | {"scaling_config": [sizes]}))
    return Plan(document(*resources))


def everything(plan: Plan, hours: float) -> Usage:
    """Everything that was planned exists for so many hours."""
    end = NOON + timedelta(hours=hours)
    nodes = sum(group.desired_nodes for group in plan.node_groups if group.spot)
    whole, gpu = (Period(NOON, end),), (Period(NOON, end, nodes),) if nodes else ()
    return Usage({"stack": whole, "gpu-nodes": gpu, "load-balancers": whole}, end, exists=True)


@given(plans(), st.integers(1, 24), st.floats(0.01, 3))
def test_the_estimate_is_the_bill_of_the_same_hours(plan: Plan, hours: int, spot: float) -> None:
    prices = market((-24, spot))
    cost = estimate(plan, TABLE, prices, session_hours=hours, budget_usd=5)
    items = [*bill(CostModel(plan, TABLE, prices), everything(plan, hours))]
    assert sum(item.usd for item in items) == pytest.approx(cost.session_usd)
    assert sum(item.usd_per_hour for item in items) == pytest.approx(hourly(cost))


@given(plans(), st.floats(0, 30), st.floats(0.01, 3), st.floats(0.01, 3))
def test_nothing_is_negative_and_the_highest_estimate_is_never_exceeded(
    plan: Plan, hours: float, before: float, after: float
) -> None:
    prices = market((-24, before), (1, after))
    cost = estimate(plan, TABLE, prices, session_hours=hours, budget_usd=5)
    items = [*bill(CostModel(plan, TABLE, prices), everything(plan, hours))]
    assert all(min(item.usd, item.usd_per_hour, item.quantity) >= 0 for item in items)
    assert all(line.hourly <= line.hourly_most + 1e-12 for line in cost.lines)
    assert sum(item.usd for item in items) <= cost.session_most_usd + 1e-9


@given(plans(), st.floats(0, 20), st.floats(0, 20))
def test_a_longer_life_never_costs_less(plan: Plan, first: float, more: float) -> None:
    model = CostModel(plan, TABLE, FLAT)
    early, late = (bill(model, everything(plan, hours)) for hours in (first, first + more))
    assert sum(item.usd for item in early) <= sum(item.usd for item in late) + 1e-9


# ── the estimate ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "values", "what", "hourly", "most"),
    [
        ("aws_autoscaling_group", capped("0.30"), "(spot)", 0.2, 0.6),
        ("aws_autoscaling_group", capped("0.15"), "(spot)", 0.15, 0.3),
        ("aws_eks_node_group", MANAGED, "(spot)", 0.2, 2 * 0.526),
        ("aws_eks_node_group", SYSTEM, "CPU nodes, t3.large", 2 * 0.0832, 3 * 0.0832),
        ("aws_eks_cluster", cluster(), "control plane", 0.10, 0.10),
        ("aws_eks_cluster", {}, "control plane, possibly extended", 0.60, 0.60),
    ],
)
def test_each_kind_costs_its_price(
    kind: str, values: dict[str, Any], what: str, hourly: float, most: float
) -> None:
    cost = estimated((kind, values))
    row = line(cost, what)
    assert [row.hourly, row.hourly_most] == pytest.approx([hourly, most])


def test_a_cluster_brings_the_load_balancer_that_is_not_in_the_plan() -> None:
    cost = estimated(
        ("aws_eks_cluster", cluster()),
        ("aws_subnet", {"tags": {"kubernetes.io/role/elb": "1"}}),
        ("aws_subnet", {"tags": {"kubernetes.io/role/internal-elb": "1"}}),
    )
    assert "stage 03" in line(cost, "Load balancer").note
    assert line(cost, "addresses of the load balancer").count == 1


def test_a_session_is_counted_in_whole_hours_and_a_type_without_a_price_is_named() -> None:
    cost = estimated(("aws_nat_gateway", {}), ("aws_db_instance", {}), ("aws_vpc", {}), hours=2.5)
    assert cost.session_usd == pytest.approx(3 * hourly(cost))
    assert cost.unpriced == ("aws_db_instance",)
    assert estimated(("aws_vpc_endpoint", {"vpc_endpoint_type": "Interface"})).unpriced
    assert not estimated(("aws_vpc_endpoint", {"vpc_endpoint_type": "Gateway"})).unpriced


def test_every_type_of_the_real_stack_is_priced_or_free() -> None:
    text = "".join(path.read_text() for path in (ROOT / "infra").glob("*.tf"))
    types = set(re.findall(r'^resource "(\w+)"', text, re.MULTILINE))
    need_values = {"aws_vpc_endpoint", "aws_launch_template", "aws_eks_node_group",
                   "aws_autoscaling_group"}  # fmt: skip
    assert estimated(*[(kind, {}) for kind in types - need_values]).unpriced == ()


# ── the bill: events of a run in, hand-made figures out ───────────────────────────────────────


def happens(run: Run, hours: float, kind: str, **facts: object) -> None:
    """An event, so many hours after noon; events are kept in order."""
    line = {"at": (NOON + timedelta(hours=hours)).isoformat(), "kind": kind, "stage": "", **facts}
    path = run.folder / "events.jsonl"
    lines = [*(path.read_text().splitlines() if path.is_file() else ()), json.dumps(line)]
    path.write_text("\n".join(sorted(lines)) + "\n")


def planned(run: Run, *, emulated: bool = False) -> None:
    """A cluster, a NAT gateway and a spot group; g4dn.xlarge at 0.20, from 13:00 on at 0.40."""
    plan = document(("aws_eks_cluster", cluster()), ("aws_nat_gateway", {}),
                    ("aws_autoscaling_group", CAPPED))  # fmt: skip
    run.write("terraform/plan.json", json.dumps(plan))
    cost = Estimate(lines=(), session_hours=4, session_usd=0, session_most_usd=0, budget_usd=5)
    run.save(PlanFacts(emulated=emulated, planned="", sha256="", resources=(), cost=cost))
    run.save(market((-24, 0.20), (1, 0.40), emulated=emulated))


def lived(run: Run, *, emulated: bool = False) -> None:
    """Two and a half hours of a stack, with one GPU node from 12:30 to 14:30, at last two."""
    planned(run, emulated=emulated)
    happens(run, 0, "stack-apply-start")
    happens(run, 0.5, "gpu-nodes", count=1)
    happens(run, 1.5, "gpu-nodes", count=2)
    happens(run, 2.0, "stack-destroy-start")
    happens(run, 2.5, "stack-destroy-stop", outcome="finished")


def test_a_stack_that_was_created_twice_is_counted_twice(run: Run) -> None:
    lived(run)
    happens(run, 5, "stack-apply-start")
    happens(run, 5.5, "stack-apply-stop", outcome="failed")  # what it created costs
    happens(run, 5.8, "stack-destroy-stop", outcome="failed")  # nothing has ended
    for hours, expected in ((4, (2.5, 1 * 1.0 + 2 * 1.0, False)), (6, (3.5, 3.0, True))):
        used = usage_until(run, NOON + timedelta(hours=hours))
        assert (used.hours, used.gpu_hours, used.exists) == expected


def test_the_report_is_the_bill_by_hand(run: Run) -> None:
    """12:30-13:00 at 0.20; 13:00-13:30 at the cap of 0.30 (market 0.40); then two nodes."""
    lived(run)
    happens(run, 0.6, "load-balancers", count=1)
    happens(run, 2.0, "load-balancers", count=0)
    made = meter.report(run, inferences=2000)
    assert made.spot_usd == pytest.approx(0.5 * 0.20 + 0.5 * 0.30 + 2 * 1.0 * 0.30)
    assert made.on_demand_usd == pytest.approx(3 * 0.526)
    assert made.savings_usd == pytest.approx(3 * 0.526 - 0.85)
    items = {item.what: item for item in made.items}
    assert items["NAT gateway"].usd == pytest.approx(3 * 0.045)  # started hours
    assert items["EKS control plane"].usd == pytest.approx(3 * 0.10)
    assert items["NAT gateway"].quantity == 2.5
    assert items["Load balancer"].usd == pytest.approx(2 * 0.0225)  # from when it was seen
    assert items["Load balancer"].quantity == pytest.approx(1.4)
    assert made.total_usd == pytest.approx(sum(item.usd for item in made.items))
    assert made.per_1000_usd == pytest.approx(made.total_usd / 2)
    assert "list price of 20" in made.sources and "spot price history" in made.sources
    assert run.load(CostReport) == made


def test_a_run_that_created_nothing_costs_nothing(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    made = meter.report(run)
    assert made.total_usd == 0 and made.savings_pct is None
    meter.show(run, "06")
    assert "has created nothing" in capsys.readouterr().out


def test_the_meter_shows_spent_current_and_projected(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    planned(run)
    happens(run, 0, "stack-apply-start")
    happens(run, 0.5, "gpu-nodes", count=1)
    reading = meter.read(run, NOON + timedelta(hours=1))
    assert reading["standing"]
    # control plane and NAT: a started hour each; half an hour of spot; assumed traffic
    traffic = 0.045 * 1 + 0.09 * 0.3
    disk = 20 * 0.08 / 730
    assert reading["usd"] == pytest.approx(0.10 + 0.045 + 0.5 * 0.20 + 0.5 * disk + traffic)
    assert reading["usd_per_hour"] == pytest.approx(0.10 + 0.045 + 0.30 + disk + traffic)
    assert reading["teardown"] == "2026-11-20T16:00:00Z"  # ttl_hours after the apply
    assert reading["usd_at_teardown"] > reading["usd"]
    happens(run, 0.9, "dead-man-renewed", expires="2026-11-20T20:00:00Z")
    renewed = meter.read(run, NOON + timedelta(hours=1))
    assert renewed["teardown"] == "2026-11-20T20:00:00Z"
    meter.show(run, "03")
    text = capsys.readouterr().out
    assert text.startswith("Meter (ESTIMATED") and "list price of" in text
    assert run.events("meter")[-1]["stage"] == "03"


def test_the_meter_stops_once_everything_is_removed(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    lived(run)
    early, late = (meter.read(run, NOON + timedelta(hours=h)) for h in (3, 99))
    assert early["usd"] == late["usd"] and late["usd_per_hour"] == 0
    meter.show(run)
    assert "nothing exists any more" in capsys.readouterr().out


def test_plan_meter_and_dashboard_of_a_rehearsal_show_the_same_hour(run: Run) -> None:
    """The emulator has no load balancer controller; the hour includes the load balancer."""
    planned(run, emulated=True)
    happens(run, 0, "stack-apply-start")
    happens(run, 0.5, "gpu-nodes", count=1)
    plan = read_plan(run)
    assert plan is not None
    cost = estimate(plan, TABLE, run.load(SpotHistory), session_hours=4, budget_usd=5)
    reading = meter.read(run, NOON + timedelta(hours=6))
    assert reading["usd_per_hour"] == pytest.approx(hourly(cost))
    fixed, gpu_node = costs.hourly_rates(run)
    assert sum(fixed.values()) == pytest.approx(hourly(cost))
    assert gpu_node == pytest.approx(0.30 + 20 * 0.08 / 730)
