"""A plan becomes resources, costs and JSON without secrets."""

import json
import re
from typing import Any

import pytest

from helpers.cloud import plan, plan_cost, prices
from helpers.cloud.prices import PriceTable
from helpers.cloud.reports import CostLine, PlanCost, PlanFacts
from helpers.cloud.spot import SpotHistory, SpotPoint
from helpers.paths import ROOT

TABLE = prices.load("us-east-1")
MARKET = SpotHistory(
    region="us-east-1", asked="2026-11-24T12:00:00Z", days=7, emulated=True,
    points=(SpotPoint(at="2026-11-24T00:00:00Z", zone="a", instance_type="g4dn.xlarge", usd=0.2),),
)  # fmt: skip
SYSTEM = {
    "node_group_name": "x-system", "instance_types": ["t3.large", "t3a.large"],
    "capacity_type": "ON_DEMAND",
    "scaling_config": [{"desired_size": 2, "max_size": 3, "min_size": 1}],
}  # fmt: skip
MANAGED = SYSTEM | {
    "node_group_name": "x-gpu", "instance_types": ["g4dn.xlarge"], "capacity_type": "SPOT",
    "scaling_config": [{"desired_size": 1, "max_size": 2, "min_size": 0}],
}  # fmt: skip


def capped(cap: str) -> dict[str, Any]:
    distribution = {"on_demand_percentage_above_base_capacity": 0, "spot_max_price": cap}
    override = [{"instance_type": "g4dn.xlarge"}]
    policy = {
        "instances_distribution": [distribution],
        "launch_template": [{"override": override}],
    }
    return {
        "name": "x-gpu", "desired_capacity": 1, "max_size": 2, "mixed_instances_policy": [policy],
    }  # fmt: skip


def template(name: str, size: int) -> dict[str, Any]:
    return {"name": name, "block_device_mappings": [{"ebs": [{"volume_size": size}]}]}


def planned(*resources: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    made = [
        {"address": f"{kind}.r{n}", "type": kind, "mode": "managed", "values": values}
        for n, (kind, values) in enumerate(resources)
    ]
    return {"planned_values": {"root_module": {"resources": made}}}


def reckoned(*resources: tuple[str, dict[str, Any]], hours: float = 4) -> PlanCost:
    found = planned(*resources)
    return plan_cost.reckon(found, TABLE, MARKET, session_hours=hours, budget_usd=5)


def line(cost: PlanCost, what: str) -> CostLine:
    (found,) = (one for one in cost.lines if what in one.what)
    return found


def test_a_capped_spot_node_costs_the_market_and_at_most_the_cap() -> None:
    found = line(reckoned(("aws_autoscaling_group", capped("0.30"))), "Node g4dn.xlarge (spot)")
    assert [found.hourly, found.hourly_most] == pytest.approx([0.2, 0.6])
    assert found.source.startswith("emulated spot price history")


def test_a_market_above_the_cap_costs_the_cap() -> None:
    found = line(reckoned(("aws_autoscaling_group", capped("0.15"))), "(spot)")
    assert found.usd_per_hour == found.most_usd_per_hour == 0.15


def test_a_managed_spot_group_costs_at_most_on_demand() -> None:
    found = line(reckoned(("aws_eks_node_group", MANAGED)), "(spot)")
    assert found.hourly_most == pytest.approx(2 * TABLE.instance("g4dn.xlarge").usd)


def test_on_demand_nodes_cost_the_dearest_of_their_types_at_most() -> None:
    found = line(reckoned(("aws_eks_node_group", SYSTEM)), "(on demand)")
    assert found.hourly == pytest.approx(2 * TABLE.instance("t3.large").usd)
    assert found.hourly_most == pytest.approx(3 * TABLE.instance("t3.large").usd)


def test_each_group_has_the_disk_of_its_own_template() -> None:
    cost = reckoned(
        ("aws_eks_node_group", SYSTEM),
        ("aws_autoscaling_group", capped("0.30")),
        ("aws_launch_template", template("x-system", 30)),
        ("aws_launch_template", template("x-gpu", 100)),
    )
    sizes = [one.what for one in cost.lines if "Disk" in one.what]
    assert ["30 GiB" in sizes[0], "100 GiB" in sizes[1]] == [True, True]


def test_a_cluster_brings_the_load_balancer_that_is_not_in_the_plan() -> None:
    standard = {"upgrade_policy": [{"support_type": "STANDARD"}]}
    cost = reckoned(
        ("aws_eks_cluster", standard),
        ("aws_subnet", {"tags": {"kubernetes.io/role/elb": "1"}}),
        ("aws_subnet", {"tags": {"kubernetes.io/role/internal-elb": "1"}}),
    )
    assert line(cost, "control plane").usd_per_hour == 0.10
    assert "stage 03" in next(one for one in cost.lines if one.what == "Load balancer").note
    assert line(cost, "address of the load balancer").count == 1


def test_extended_support_is_priced_where_the_plan_allows_it() -> None:
    assert line(reckoned(("aws_eks_cluster", {})), "control plane").usd_per_hour == 0.60


def test_a_session_is_the_hourly_price_times_whole_hours() -> None:
    cost = reckoned(("aws_nat_gateway", {}), hours=2.5)
    assert cost.session_usd == pytest.approx(3 * cost.hourly)
    assert sum(one.hourly for one in cost.lines) == cost.hourly


def test_a_type_whose_price_is_not_known_is_named_not_forgotten() -> None:
    cost = reckoned(("aws_db_instance", {}), ("aws_vpc", {}))
    assert cost.unpriced == ("aws_db_instance",)


def test_an_interface_endpoint_is_not_free() -> None:
    assert reckoned(("aws_vpc_endpoint", {"vpc_endpoint_type": "Interface"})).unpriced
    assert not reckoned(("aws_vpc_endpoint", {"vpc_endpoint_type": "Gateway"})).unpriced


def test_the_table_ends_with_both_totals_and_carries_the_label() -> None:
    cost = reckoned(("aws_nat_gateway", {}))
    facts = PlanFacts(emulated=True, planned="", sha256="", resources=(), cost=cost)
    table = plan.frame(facts)
    assert list(table["resource"][-2:]) == ["Total per hour", "Total per session of 4 h"]
    assert set(table["label"]) == {"EMULATED"} and table["source"][0].startswith("list price of")


def test_actions_are_told_and_reads_are_none() -> None:
    actions = {"a": ["create"], "b": ["delete", "create"], "c": ["no-op"], "d": ["read"]}
    changes = [
        {"address": name, "type": "t", "mode": "managed", "change": {"actions": one}}
        for name, one in actions.items()
    ]
    found = plan.resources({"resource_changes": changes})
    assert [(one.address, one.action) for one in found] == [
        ("a", "create"), ("b", "replace"), ("c", "none"),
    ]  # fmt: skip


def test_secrets_account_and_prior_state_do_not_leave_with_the_plan() -> None:
    change = {
        "actions": ["create"],
        "after": {"private_key": "KEY", "name": "x", "list": [{"secret": "S"}, {"open": "o"}]},
        "after_sensitive": {"private_key": True, "list": [{"secret": True}]},
    }
    values = {"values": {"password": "P", "arn": "arn:aws:iam::" + "210987654321:role/x"},
              "sensitive_values": {"password": True}}  # fmt: skip
    whole = {
        "prior_state": {"values": "OLD"},
        "resource_changes": [{"change": change}],
        "planned_values": {"root_module": {"resources": [values]}},
        "outputs": {"token": {"sensitive": True, "value": "T"}},
    }
    text = plan.masked(whole, {"210987654321": "<account>", "": "never"})
    for secret in ('"KEY"', '"S"', '"P"', '"T"', "OLD", "210987654321"):
        assert secret not in text
    kept = json.loads(text)["resource_changes"][0]["change"]["after"]
    assert kept["name"] == "x" and kept["list"][1] == {"open": "o"}


def test_the_real_stacks_types_are_all_priced_or_free() -> None:
    text = "".join(path.read_text() for path in (ROOT / "infra").glob("*.tf"))
    types = set(re.findall(r'^resource "(\w+)"', text, re.MULTILINE)) - {"aws_vpc_endpoint"}
    empty: list[tuple[str, dict[str, Any]]] = [
        (one, {}) for one in types - {*plan_cost.ELSEWHERE, "aws_launch_template"}
    ]
    assert reckoned(*empty).unpriced == ()


def test_a_table_without_a_needed_price_refuses() -> None:
    bare: PriceTable = TABLE.model_copy(update={"prices": {}})
    with pytest.raises(Exception, match=r"no price 'nat\.hour'"):
        plan_cost.reckon(
            planned(("aws_nat_gateway", {})), bare, MARKET, session_hours=1, budget_usd=1
        )
