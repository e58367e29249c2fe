"""The plan reader: resources, node groups, changes, and JSON without secrets."""

import json
from typing import Any

import pytest

from helpers.cloud import plan
from helpers.cloud.plan import Estimate, EstimateLine, Plan, PlanFacts
from helpers.errors import Problem
from helpers.run import Run

from .plans import CAPPED, MANAGED, SYSTEM, document, template


def test_resources_of_modules_are_read_and_data_sources_are_not() -> None:
    root = document(("aws_vpc", {}), ("aws_subnet", {"tags": {plan.PUBLIC_SUBNET: "1"}}))
    read = {"address": "data.x", "type": "aws_vpc", "mode": "data", "values": {}}
    resources = root["planned_values"]["root_module"]["resources"]
    child = {"resources": [resources.pop(), read]}
    root["planned_values"]["root_module"]["child_modules"] = [child]
    found = Plan(root)
    assert [resource.type for resource in found.resources] == ["aws_vpc", "aws_subnet"]
    assert len(found.public_subnets) == 1 and found.resources[1].address == "aws_subnet.r1"


def test_node_groups_have_types_sizes_price_cap_and_disk() -> None:
    groups = Plan(
        document(
            ("aws_eks_node_group", SYSTEM),
            ("aws_autoscaling_group", CAPPED),
            ("aws_launch_template", template("x-system", 30)),
            ("aws_launch_template", template("x-gpu", 100)),
        )
    ).node_groups
    system, gpu = groups
    assert (system.instance_types, system.spot, system.cap_usd) == (("t3.large", "t3a.large"),
                                                                    False, None)  # fmt: skip
    assert (gpu.spot, gpu.cap_usd, gpu.min_nodes, gpu.desired_nodes, gpu.max_nodes) == (
        True, 0.3, 0, 1, 2,
    )  # fmt: skip
    assert [group.disk_gib for group in groups] == [30, 100]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("aws_eks_node_group", MANAGED | {
            "labels": {"workload": "gpu"},
            "taint": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}],
        }),
        ("aws_autoscaling_group", CAPPED | {
            "tag": [
                {"key": f"{plan.NODE_TEMPLATE}label/workload", "value": "gpu"},
                {"key": f"{plan.NODE_TEMPLATE}taint/nvidia.com/gpu", "value": "present:NoSchedule"},
            ],
        }),
    ],
)  # fmt: skip
def test_labels_and_taints_are_those_that_nodes_register_with(
    kind: str, values: dict[str, Any]
) -> None:
    (group,) = Plan(document((kind, values))).node_groups
    assert group.labels["workload"] == "gpu"
    assert group.taints == ({"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"},)


def test_actions_are_translated_and_reads_are_left_out() -> None:
    actions = {"a": ["create"], "b": ["delete", "create"], "c": ["no-op"], "d": ["read"]}
    changes = [
        {"address": name, "type": "t", "mode": "managed", "change": {"actions": action}}
        for name, action in actions.items()
    ]
    found = Plan({"resource_changes": changes}).changes
    assert [(change.address, change.action) for change in found] == [
        ("a", "create"), ("b", "replace"), ("c", "none"),
    ]  # fmt: skip


def test_the_stored_plan_has_no_secrets_no_account_and_no_prior_state() -> None:
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
    text = Plan(whole).masked({"210987654321": "<account>", "": "never"})
    for secret in ('"KEY"', '"S"', '"P"', '"T"', "OLD", "210987654321"):
        assert secret not in text
    kept = json.loads(text)["resource_changes"][0]["change"]["after"]
    assert kept["name"] == "x" and kept["list"][1] == {"open": "o"}


def test_a_run_without_a_plan_and_a_torn_plan(run: Run) -> None:
    assert plan.read_plan(run) is None
    run.write(plan.PLAN_JSON, "{")
    with pytest.raises(Problem, match=r"plan\.json cannot be read"):
        plan.read_plan(run)


def test_the_table_ends_with_both_totals_and_has_the_label() -> None:
    line = EstimateLine(what="NAT gateway", resource="aws_nat_gateway", count=1, most=2,
                        usd_per_hour=0.045, most_usd_per_hour=0.045, source="a test")  # fmt: skip
    cost = Estimate(
        lines=(line,), session_hours=4, session_usd=0.18, session_most_usd=0.36, budget_usd=5
    )
    facts = PlanFacts(emulated=True, planned="", sha256="", resources=(), cost=cost)
    table = plan.frame(facts)
    assert list(table["resource"][-2:]) == ["Total per hour", "Total per session of 4 h"]
    assert list(table["at most"]) == ["0.0900", "0.09", "0.36"]
    assert set(table["label"]) == {"EMULATED"} and table["count"][0] == "1, up to 2"
