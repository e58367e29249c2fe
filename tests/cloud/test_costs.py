"""The cost model: estimate, meter and bill of the same hours are equal; events and prices in."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.cloud import costs, meter
from helpers.cloud.costs import CostModel, Period, Usage, bill, estimate, traffic, usage_until
from helpers.cloud.guardrails import DeadMan
from helpers.cloud.meter import CostReport
from helpers.cloud.plan import PUBLIC_SUBNET, Estimate, EstimateLine, Plan, PlanFacts, read_plan
from helpers.cloud.prices import SpotHistory, SpotPoint, load_table
from helpers.cloud.stack import GpuNode, GpuNodes, Stack, record_gpu_nodes
from helpers.paths import ROOT
from helpers.profile import Profile
from helpers.rehearsal import ec2
from helpers.run import Run
from helpers.scenario import Burst, Closed, Ramp, Scenario
from tests.emulated import Emulated, Fault
from tests.rehearsal.test_faults import GROUP, spot_group

from .plans import CAPPED, SYSTEM, capped, document
from .test_dead_man import OUTPUTS

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
EKS = "Amazon Elastic Container Service for Kubernetes"
TABLE = load_table("us-east-1")
CLUSTER = "aws_eks_cluster"
PROFILE = Profile.load_named("quick")


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


def session(hours: float) -> Profile:
    chosen = PROFILE.infrastructure.model_copy(update={"ttl_hours": hours})
    return PROFILE.model_copy(update={"infrastructure": chosen})


def estimated(*resources: tuple[str, dict[str, Any]], hours: float = 4) -> Estimate:
    return estimate(session(hours), CostModel(Plan(document(*resources)), TABLE, FLAT))


def line(cost: Estimate, what: str) -> EstimateLine:
    return next(line for line in cost.lines if what in line.what)


def hourly(cost: Estimate) -> float:
    """Without traffic, which has no price by the hour."""
    return sum(line.hourly for line in cost.lines if "GB in the session" not in line.note)


# ── properties: whatever is planned, and however long it exists ───────────────────────────────


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    count = st.integers(0, 3)
    resources: list[tuple[str, dict[str, Any]]] = []
    for kind in sorted({facts["of"] for facts in costs.PLAN_COSTS["rates"]} - {CLUSTER}):
        resources += [(kind, {})] * draw(count)
    if draw(st.booleans()):
        resources.append((CLUSTER, {}))
    if draw(st.booleans()):
        resources.append(("aws_eks_node_group", SYSTEM))
    desired = draw(count)
    if draw(st.booleans()):
        cap = draw(st.floats(0.01, 2).map(lambda usd: f"{usd:.2f}"))
        resources.append(("aws_autoscaling_group", capped(cap, desired, desired + 1)))
    return Plan(document(*resources))


def everything(plan: Plan, hours: float) -> Usage:
    """Everything that was planned exists for so many hours."""
    end = NOON + timedelta(hours=hours)
    nodes = sum(group.desired_nodes for group in plan.node_groups if group.cap_usd is not None)
    whole, gpu = (Period(NOON, end),), (Period(NOON, end, nodes, "g4dn.xlarge"),)
    pulled = costs.IMAGES_GB * sum(group.desired_nodes for group in plan.node_groups)
    moved = traffic(PROFILE, PROFILE.load.placed, pulled)
    periods = {kind: (Period(NOON - timedelta(hours=1), NOON, gb),) for kind, gb in moved.items()}
    periods |= {"stack": whole, "gpu-nodes": gpu, "load-balancers": whole}
    return Usage(periods, end, exists=True)


@given(plans(), st.integers(1, 24), st.floats(0.01, 3))
def test_the_estimate_is_the_bill_of_the_same_hours(plan: Plan, hours: int, spot: float) -> None:
    model = CostModel(plan, TABLE, market((-24, spot)))
    cost, items = estimate(session(hours), model), [*bill(model, everything(plan, hours))]
    assert sum(item.usd for item in items) == pytest.approx(cost.session_usd)
    assert sum(item.usd_per_hour for item in items) == pytest.approx(hourly(cost))


@given(plans(), st.floats(0.01, 24), st.floats(0.01, 3), st.floats(0.01, 3))
def test_nothing_is_negative_and_the_highest_estimate_is_never_exceeded(
    plan: Plan, hours: float, before: float, after: float
) -> None:
    model = CostModel(plan, TABLE, market((-24, before), (1, after)))
    cost, items = estimate(session(hours), model), [*bill(model, everything(plan, hours))]
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
        ("aws_eks_node_group", SYSTEM, "CPU nodes, t3.large", 2 * 0.0832, 3 * 0.0832),
        ("aws_eks_cluster", {}, "control plane", 0.10, 0.10),
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
        ("aws_eks_cluster", {}),
        ("aws_subnet", {"tags": {"kubernetes.io/role/elb": "1"}}),
        ("aws_subnet", {"tags": {"kubernetes.io/role/internal-elb": "1"}}),
    )
    assert "stage 03" in line(cost, "Load balancer").note
    assert line(cost, "addresses of the load balancer").count == 1


def test_a_session_is_counted_in_whole_hours_and_a_type_without_a_price_is_named() -> None:
    cost = estimated(("aws_nat_gateway", {}), ("aws_db_instance", {}), ("aws_vpc", {}), hours=2.5)
    assert cost.session_usd == pytest.approx(3 * sum(line.hourly for line in cost.lines))
    assert cost.unpriced == ("aws_db_instance",)
    assert estimated(("aws_vpc_endpoint", {"vpc_endpoint_type": "Interface"})).unpriced
    assert not estimated(("aws_vpc_endpoint", {"vpc_endpoint_type": "Gateway"})).unpriced


def test_every_type_of_the_real_stack_is_priced_or_free_and_its_session_is_allowed() -> None:
    text = "".join(path.read_text() for path in (ROOT / "infra").glob("*.tf"))
    types = set(re.findall(r'^resource "(\w+)"', text, re.MULTILINE))
    need_values = {"aws_vpc_endpoint", "aws_launch_template", "aws_eks_node_group",
                   "aws_autoscaling_group"}  # fmt: skip
    made: list[tuple[str, dict[str, Any]]] = [(kind, {}) for kind in types - need_values]
    made += [("aws_subnet", {"tags": {PUBLIC_SUBNET: "1"}})] * 2
    aws = Profile.load_named("aws")
    nodes, gpu = aws.system_nodes, aws.infrastructure.gpu
    sizes = {f"{name}_size": nodes[name] for name in ("min", "desired", "max")}
    types_of = list(aws.infrastructure.cpu_instance_types)
    made.append(
        ("aws_eks_node_group", SYSTEM | {"instance_types": types_of, "scaling_config": [sizes]})
    )
    made.append(
        ("aws_autoscaling_group", capped(str(gpu.max_price_usd), gpu.desired_nodes, gpu.max_nodes))
    )
    cost = estimate(aws, CostModel(Plan(document(*made)), TABLE, None))
    assert cost.unpriced == () and 4 < cost.session_most_usd <= cost.budget_usd


# ── the bill: events of a run in, hand-made figures out ───────────────────────────────────────


def happens(run: Run, hours: float, kind: str, **facts: object) -> None:
    """An event, so many hours after noon; events are kept in order."""
    line = {"at": (NOON + timedelta(hours=hours)).isoformat(), "kind": kind, "stage": "", **facts}
    path = run.folder / "events.jsonl"
    lines = [*(path.read_text().splitlines() if path.is_file() else ()), json.dumps(line)]
    path.write_text("\n".join(sorted(lines)) + "\n")


def ran(run: Run, *starts: float) -> None:
    """GPU nodes that were launched so many hours after noon."""
    nodes = tuple(
        GpuNode(instance=f"i-{hours}", instance_type="g4dn.xlarge", zone="us-east-1a",
                start=NOON + timedelta(hours=hours))
        for hours in starts
    )  # fmt: skip
    run.save(GpuNodes(nodes=nodes))


def planned(run: Run, *, emulated: bool = False) -> None:
    """A cluster, a NAT gateway and a spot group; g4dn.xlarge at 0.20, from 13:00 on at 0.40."""
    plan = document(("aws_eks_cluster", {}), ("aws_nat_gateway", {}), ("aws_codebuild_project", {}),
                    ("aws_autoscaling_group", CAPPED))  # fmt: skip
    run.write("terraform/plan.json", json.dumps(plan))
    prices = run.save(market((-24, 0.20), (1, 0.40), emulated=emulated))
    cost = estimate(run.profile, CostModel(Plan(plan), TABLE, prices))
    run.save(PlanFacts(emulated=emulated, planned="", sha256="", resources=(), cost=cost))


def lived(run: Run, *, emulated: bool = False) -> None:
    """Two and a half hours of a stack, with one GPU node from 12:30 to 14:30, at last two."""
    planned(run, emulated=emulated)
    happens(run, 0, "stack-apply-start")
    ran(run, 0.5, 1.5)
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


def test_gpu_hours_are_those_that_auto_scaling_logged(
    run: Run, aws: Emulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(run)
    run.save(Stack.model_validate(OUTPUTS | {"gpu_asg_name": GROUP, "gpu_instance_types": ["x"]}))
    happens(run, 0, "stack-apply-start")
    happens(run, 3.5, "stack-destroy-stop", outcome="finished")
    clock, scaling = Mock(wraps=datetime), aws.account.client("autoscaling")
    monkeypatch.setattr(ec2, "datetime", clock)

    def at(hours: float) -> dict[str, str]:
        clock.now.return_value = NOON + timedelta(hours=hours)
        return {"AutoScalingGroupName": GROUP}

    at(0.2)
    aws.world.spot.available = False
    spot_group(aws.account)  # a launch that fails is no node
    aws.world.spot.available = True
    # a second node for a while, then scale to zero, then one node again
    for hours, desired in ((0.5, 1), (1.0, 2), (1.5, 1), (2.0, 0), (2.5, 1)):
        scaling.set_desired_capacity(**at(hours), DesiredCapacity=desired)
    (*_, last) = record_gpu_nodes(run, aws.account).nodes
    assert (last.instance_type, last.zone[:-1], last.end) == ("g4dn.xlarge", "us-east-1", None)
    switch = {"DesiredCapacity": 0, "MinSize": 0, "MaxSize": 0}  # as the dead man's switch
    scaling.update_auto_scaling_group(**at(3.0), **switch)
    scaling.delete_auto_scaling_group(AutoScalingGroupName=GROUP, ForceDelete=True)
    assert scaling.describe_scaling_activities(AutoScalingGroupName=GROUP)["Activities"] == []
    made = meter.report(run, aws.account)
    assert made.gpu_hours == pytest.approx(1.5 + 0.5 + 0.5)
    assert made.on_demand_usd == pytest.approx(2.5 * 0.526)
    aws.faults.add(Fault(kind="denied", service="autoscaling"))
    assert meter.report(run, aws.account).gpu_hours == made.gpu_hours


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


def test_traffic_is_what_the_scenarios_and_nodes_that_ran_have_moved(run: Run) -> None:
    phases = (
        Ramp(name="a", arrivals="ramp", rate=10, to_rate=30, duration_s=30),  # at most 900
        Burst(name="b", arrivals="burst", count=100, duration_s=1),
        Closed(name="c", arrivals="closed", concurrency=9, duration_s=9),  # not known before
    )
    scenario = Scenario(name="smoke", model="mobilenetv2", batch=2, phases=phases)
    side = run.profile.model.networks[0].image_size
    request, answer = (2 * 1000 * size / 1e9 for size in (3 * side**2, 4 * 1000))
    load = run.profile.load.model_copy(update={"scenarios": (scenario,)})
    mine = Run(run.folder, run.profile.model_copy(update={"load": load}))
    lived(mine)
    happens(mine, 1, "load-start", scenario="smoke")
    happens(mine, 2, "load-start", scenario="smoke")  # fired again
    happens(mine, 2, "images-pulled", node="cpu", gb=0.75)
    happens(mine, 2, "images-pulled", node="gpu", gb=1.5)
    happens(mine, 2, "image-build", seconds=1150)
    usd = {item.what: item.usd for item in meter.report(mine).items}
    assert usd["Load balancer's capacity units"] == pytest.approx(0.008 * 2 * (request + answer))
    assert usd["Traffic to the internet"] == pytest.approx(0.09 * 2 * answer)
    assert usd["Traffic through NAT"] == pytest.approx(0.045 * 2.25)
    assert usd["Builds of images"] == pytest.approx(20 * 0.01)  # US$ 0.01 a minute
    pods = traffic(mine.profile, [scenario.model_copy(update={"control": "cluster"})], 0)
    assert pods["crossed"] == pytest.approx(request + answer)  # of half of them, in and out
    assert not pods["balanced"] and not pods["answered"]
    floats = mine.profile.model.model_copy(update={"input": "fp32"})
    wide = traffic(mine.profile.model_copy(update={"model": floats}), [scenario], 0)
    assert wide["balanced"] == pytest.approx(4 * request + answer)


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
    ran(run, 0.5)
    reading = meter.read(run, NOON + timedelta(hours=1))
    assert reading["standing"]
    # control plane and NAT: a started hour each; half an hour of spot; a node's images
    disk, images = 20 * 0.08 / 730, costs.IMAGES_GB * 0.045
    assert reading["usd"] == pytest.approx(0.10 + 0.045 + 0.5 * 0.20 + 0.5 * disk + images)
    assert reading["usd_per_hour"] == pytest.approx(0.10 + 0.045 + 0.30 + disk)
    assert reading["teardown"] == "2026-11-20T16:00:00Z"  # ttl_hours after the apply
    assert reading["usd_at_teardown"] > reading["usd"]
    run.save(DeadMan(emulated=False, schedule="", group="", target="", enabled=True, seen="",
                     expires="2026-11-20T20:00:00Z"))  # fmt: skip
    renewed = meter.read(run, NOON + timedelta(hours=1))
    assert renewed["teardown"] == "2026-11-20T20:00:00Z"
    meter.show(run, "03")
    text = capsys.readouterr().out
    assert text.startswith("Meter (ESTIMATED") and "if torn down by " in text
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
    ran(run, 0.5)
    cost = estimate(session(4), CostModel(read_plan(run), TABLE, run.load(SpotHistory)))
    reading = meter.read(run, NOON + timedelta(hours=6))
    assert reading["usd_per_hour"] == pytest.approx(hourly(cost))
    fixed, gpu_node = costs.hourly_rates(run)
    assert sum(fixed.values()) == pytest.approx(hourly(cost))
    assert gpu_node == pytest.approx(0.30 + 20 * 0.08 / 730)
