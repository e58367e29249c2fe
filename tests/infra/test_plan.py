"""The plan of the whole stack: tags on all that can carry them, and what its roles may do."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
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
    return [{"values": {}, **one} for one in made]  # without values where none is known yet


def documents(planned: dict[str, Any], name: str) -> dict[str, Any]:
    """A policy document that is known at plan, parsed."""
    known = planned["prior_state"]["values"]["root_module"]["resources"]
    values = next(one["values"] for one in known if one["name"] == name)
    parsed: dict[str, Any] = json.loads(values["json"])
    return parsed


def combinations(document: dict[str, Any]) -> list[str]:
    """Every action with each of its resources and all of its conditions, one line each."""
    return sorted(
        f"{one['Effect']} {action} {on} {json.dumps(_sorted(one.get('Condition', {})))}"
        for one in document["Statement"]
        for action in many(one["Action"])
        for on in many(one["Resource"])
    )


def _sorted(condition: dict[str, dict[str, Any]]) -> dict[str, dict[str, list[str]]]:
    return {
        operator: {key: sorted(many(values)) for key, values in sorted(pairs.items())}
        for operator, pairs in sorted(condition.items())
    }


def untagged(planned: dict[str, Any]) -> Iterator[str]:
    """Resources that could carry tags and lack one of ours."""
    for one in resources(planned):
        carried = one["values"].get("tags_all")
        if "tags_all" in one["values"] and not TAGS.items() <= (carried or {}).items():
            yield one["address"]


def test_every_resource_that_can_carry_tags_carries_ours(planned: dict[str, Any]) -> None:
    assert list(untagged(planned)) == []
    tagged = Counter(one["type"] for one in resources(planned) if "tags_all" in one["values"])
    assert tagged["aws_iam_role"] == 7 and tagged["aws_subnet"] == 4 and len(tagged) > 15


def test_a_resource_without_tags_would_be_seen(planned: dict[str, Any]) -> None:
    broken = json.loads(json.dumps(planned))
    made = broken["planned_values"]["root_module"]["resources"]
    victim = next(one for one in made if one["type"] == "aws_vpc")
    victim["values"]["tags_all"] = {"project": "gpu-e2e"}
    assert list(untagged(broken)) == ["aws_vpc.this"]


def test_groups_and_what_launches_create_are_tagged_too(planned: dict[str, Any]) -> None:
    by_address = {one["address"]: one["values"] for one in resources(planned)}
    group = {one["key"]: one["value"] for one in by_address["aws_autoscaling_group.gpu[0]"]["tag"]}
    assert TAGS.items() <= group.items()
    for template in ("gpu", "system"):
        specified = by_address[f"aws_launch_template.{template}"]["tag_specifications"]
        kinds = {one["resource_type"]: one["tags"] for one in specified}
        assert {"instance", "volume", "network-interface"} <= kinds.keys()
        assert all(TAGS.items() <= tags.items() for tags in kinds.values())


def test_names_begin_with_the_stacks_name(planned: dict[str, Any]) -> None:
    for one in resources(planned):
        name = one["values"].get("name") or one["values"].get("bucket_prefix") or ""
        if one["type"] != "aws_iam_role_policy":
            assert name.startswith("gpu-e2e") or not name, one["address"]


def test_nobody_but_the_caller_reaches_the_api(planned: dict[str, Any]) -> None:
    cluster = next(one for one in resources(planned) if one["type"] == "aws_eks_cluster")
    assert cluster["values"]["vpc_config"][0]["public_access_cidrs"] == ["203.0.113.7/32"]


def test_the_load_balancer_controller_may_do_what_upstream_asks_for(
    planned: dict[str, Any],
) -> None:
    policy = documents(planned, "alb_controller")
    lines = combinations(policy)
    assert len(lines) == UPSTREAM_LINES
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == UPSTREAM_SHA256
    assert len(json.dumps(policy, separators=(",", ":"))) <= 10_240  # of an inline policy


def test_the_autoscaler_acts_on_groups_of_this_cluster_only(planned: dict[str, Any]) -> None:
    policies = Policies({"autoscaler": documents(planned, "cluster_autoscaler")})
    own = {"aws:ResourceTag/k8s.io/cluster-autoscaler/gpu-e2e": "owned"}
    arn = "arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:1:autoScalingGroupName/x"
    assert policies.allow("autoscaling:SetDesiredCapacity", arn, own)
    assert not policies.allow("autoscaling:SetDesiredCapacity", arn)
    assert policies.allow("autoscaling:DescribeAutoScalingGroups")
    assert not policies.allow("autoscaling:UpdateAutoScalingGroup", arn, own)


def test_the_dead_mans_role_may_touch_its_group_and_nothing_else(planned: dict[str, Any]) -> None:
    policies = Policies({"dead man": documents(planned, "dead_man")})
    groups = "arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:1:autoScalingGroupName"
    assert policies.actions() == {"autoscaling:UpdateAutoScalingGroup"}
    assert policies.allow("autoscaling:UpdateAutoScalingGroup", f"{groups}/gpu-e2e-gpu")
    assert not policies.allow("autoscaling:UpdateAutoScalingGroup", f"{groups}/gpu-e2e-gpu-2")
