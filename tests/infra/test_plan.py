"""The plan of the whole stack: tags on all that can carry them, and what its roles may do."""

import hashlib
import json
from typing import Any

from tests.infra.iam import Policies, many
from tests.infra.terraform import EXAMPLE

TAGS = {"project": "gpu-e2e", "owner": "Nancy", "run": EXAMPLE["run_id"]}
# Actions, resources and conditions of docs/install/iam_policy.json at controller 3.5.0, one line
# for each combination, sorted: their number, and their SHA-256.
UPSTREAM_LINES = 98
UPSTREAM_SHA256 = "571e5035e064cfc5a2c1b6b0eb3f51d33cbe35830b9e2da22ae4064e38ac1153"


def resources(planned: dict[str, Any]) -> list[dict[str, Any]]:
    """What the plan makes."""
    made = planned["planned_values"]["root_module"]["resources"]
    return [{"values": {}, **item} for item in made]  # without values where none is known yet


def policy_document(planned: dict[str, Any], name: str) -> dict[str, Any]:
    """A policy document that is known at plan, parsed."""
    known = planned["prior_state"]["values"]["root_module"]["resources"]
    text = next(item["values"]["json"] for item in known if item["name"] == name)
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def combinations(document: dict[str, Any]) -> list[str]:
    """Every action with each of its resources and all of its conditions, one line each."""
    return sorted(
        f"{statement['Effect']} {action} {on} {json.dumps(conditions, sort_keys=True)}"
        for statement in document["Statement"]
        for conditions in [
            {
                operator: {key: sorted(many(values)) for key, values in pairs.items()}
                for operator, pairs in statement.get("Condition", {}).items()
            }
        ]
        for action in many(statement["Action"])
        for on in many(statement["Resource"])
    )


def test_every_resource_that_can_carry_tags_carries_ours(planned: dict[str, Any]) -> None:
    carried = {
        resource["address"]: resource["values"]["tags_all"] or {}
        for resource in resources(planned)
        if "tags_all" in resource["values"]
    }
    assert [address for address, tags in carried.items() if not TAGS.items() <= tags.items()] == []
    assert len({address.partition(".")[0] for address in carried}) > 15


def test_names_begin_with_the_stacks_name(planned: dict[str, Any]) -> None:
    for resource in resources(planned):
        name = resource["values"].get("name") or resource["values"].get("bucket_prefix") or ""
        if resource["type"] != "aws_iam_role_policy":
            assert name.startswith("gpu-e2e") or not name, resource["address"]


def test_the_load_balancer_controller_may_do_what_upstream_asks_for(
    planned: dict[str, Any],
) -> None:
    policy = policy_document(planned, "alb_controller")
    lines = combinations(policy)
    assert len(lines) == UPSTREAM_LINES
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == UPSTREAM_SHA256
    assert len(json.dumps(policy, separators=(",", ":"))) <= 10_240  # of an inline policy


def test_the_autoscaler_acts_on_groups_of_this_cluster_only(planned: dict[str, Any]) -> None:
    policies = Policies((policy_document(planned, "cluster_autoscaler"),))
    own = {"aws:ResourceTag/k8s.io/cluster-autoscaler/gpu-e2e": "owned"}
    arn = "arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:1:autoScalingGroupName/x"
    assert policies.allow("autoscaling:SetDesiredCapacity", arn, own)
    assert not policies.allow("autoscaling:SetDesiredCapacity", arn)
    assert policies.allow("autoscaling:DescribeAutoScalingGroups")
    assert not policies.allow("autoscaling:UpdateAutoScalingGroup", arn, own)
