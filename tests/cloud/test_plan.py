"""The plan reader: resources, node groups, changes, and JSON without secrets."""

import json

import pytest

from helpers.cloud import plan
from helpers.cloud.plan import Plan
from helpers.errors import Problem
from helpers.run import Run

from .plans import CAPPED, SYSTEM, document, template


def test_resources_are_read_and_data_sources_are_not() -> None:
    root = document(("aws_vpc", {}), ("aws_subnet", {"tags": {plan.PUBLIC_SUBNET: "1"}}))
    data = {"address": "data.x", "type": "aws_vpc", "mode": "data", "values": {}}
    root["planned_values"]["root_module"]["resources"].append(data)
    read = Plan(root)
    assert [resource.type for resource in read.resources] == ["aws_vpc", "aws_subnet"]
    assert read.public_subnets == [read.resources[1]]


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
    assert (system.instance_types, system.cap_usd) == (("t3.large", "t3a.large"), None)
    assert gpu.cap_usd == 0.3
    assert (gpu.min_nodes, gpu.desired_nodes, gpu.max_nodes) == (0, 1, 2)
    assert [group.disk_gib for group in groups] == [30, 100]


def test_actions_are_translated_and_reads_are_left_out() -> None:
    actions = {"a": ["create"], "b": ["delete", "create"], "c": ["no-op"], "d": ["read"]}
    changes = [
        {"address": name, "type": "t", "mode": "managed", "change": {"actions": action}}
        for name, action in actions.items()
    ]
    read = Plan({"resource_changes": changes}).changes
    assert [(change.address, change.action) for change in read] == [
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
    with pytest.raises(Problem, match=r"no terraform/plan\.json.*Run stage 01 first"):
        plan.read_plan(run)
    run.write(plan.PLAN_JSON, "{")
    with pytest.raises(Problem, match=r"plan\.json cannot be read"):
        plan.read_plan(run)
