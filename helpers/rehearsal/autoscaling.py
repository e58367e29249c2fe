"""Auto Scaling: spot groups meet a market, and say what became of their instances."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from moto.autoscaling.models import FakeAutoScalingGroup
from moto.autoscaling.responses import AutoScalingResponse

from helpers.rehearsal.moto_extension import ACCOUNT_ID, Call, Operations, add
from helpers.rehearsal.world import WORLD, Spot


def try_again(call: Call) -> None:
    """A group that is short of instances tries again, as AWS does all the time."""
    for group in call.backend("autoscaling").autoscaling_groups.values():
        if len(group.active_instances()) < (group.desired_capacity or 0):
            group.set_desired_capacity(group.desired_capacity)


def describe_scaling_activities(call: Call) -> dict[str, Any]:
    """What groups did, newest first."""
    wanted = call.params.get("AutoScalingGroupName")
    groups = call.backend("autoscaling").autoscaling_groups.values()
    done = [
        one
        for group in groups
        if wanted in (None, group.name)
        for one in getattr(group, "activities", [])
    ]
    return {"Activities": sorted(done, key=lambda one: one["StartTime"], reverse=True)}


def launch(group: Any, count: int, tags: dict[str, str]) -> None:
    """Launch instances of a group, unless the market refuses them.

    Moto gives the members of a mixed group neither a type nor a lifecycle, and never fails.
    """
    policy = group.mixed_instances_policy or {}
    if not _all_spot(policy):
        _launch_and_log(group, count, tags)
        return
    kind, reason = _choose(policy, WORLD.spot)
    if reason:
        _log(group, f"Launching a new EC2 instance.  Status Reason: {reason}", "Failed", reason)
        return
    for state in _launch_and_log(group, count, tags):
        state.instance.instance_type = state.instance_type = kind
        state.instance.lifecycle = "spot"


_launch = FakeAutoScalingGroup.replace_autoscaling_group_instances
_set_capacity = FakeAutoScalingGroup.set_desired_capacity


def set_capacity(group: Any, capacity: int | None) -> None:
    """As moto does, and the instances that go are logged."""
    before = {state.instance_id for state in group.instance_states}
    _set_capacity(group, capacity)
    for gone in sorted(before - {state.instance_id for state in group.instance_states}):
        _log(group, f"Terminating EC2 instance: {gone}", "Successful")


def _launch_and_log(group: Any, count: int, tags: dict[str, str]) -> list[Any]:
    known = len(group.instance_states)
    _launch(group, count, tags)
    new: list[Any] = group.instance_states[known:]
    for state in new:
        _tag(group, state.instance)
        _log(group, f"Launching a new EC2 instance: {state.instance_id}", "Successful")
    return new


def _tag(group: Any, instance: Any) -> None:
    """Moto leaves out the tags that the launch template has for instance, disk and interface."""
    if group.ec2_launch_template is None:
        return
    version = group.ec2_launch_template.get_version(group.launch_template_version)
    made = {
        "instance": [instance.id],
        "volume": [one.volume_id for one in instance.block_device_mapping.values()],
        "network-interface": [one.id for one in instance.nics.values()],
    }
    for wanted in version.data.get("TagSpecifications", []):
        tags = {tag["Key"]: tag["Value"] for tag in wanted.get("Tags", [])}
        for identifier in made.get(wanted["ResourceType"], []):
            group.autoscaling_backend.ec2_backend.create_tags([identifier], tags)


def _all_spot(policy: dict[str, Any]) -> bool:
    shares = policy.get("InstancesDistribution") or {}
    base, above = (
        shares.get("OnDemandBaseCapacity"),
        shares.get("OnDemandPercentageAboveBaseCapacity"),
    )
    return int(base or 0) == 0 and above is not None and int(above) == 0


def _choose(policy: dict[str, Any], market: Spot) -> tuple[str, str]:
    """The cheapest type that the market sells below the group's cap, or why there is none."""
    overrides = policy["LaunchTemplate"].get("Overrides") or []
    types = [one["InstanceType"] for one in overrides if "InstanceType" in one]
    if not market.available:
        return "", (
            "Could not launch Spot Instances. InsufficientInstanceCapacity - There is no Spot "
            "capacity available that matches your request. Launching EC2 instance failed."
        )
    offers = sorted((market.usd[kind], kind) for kind in types if kind in market.usd)
    cap = (policy.get("InstancesDistribution") or {}).get("SpotMaxPrice")
    if offers and cap and offers[0][0] > float(cap):
        return "", (
            f"Could not launch Spot Instances. SpotMaxPriceTooLow - Your Spot request price of "
            f"{cap} is lower than the minimum required Spot request fulfillment price of "
            f"{offers[0][0]:g}. Launching EC2 instance failed."
        )
    return (offers[0][1] if offers else (types or [""])[0]), ""


def _log(group: Any, description: str, status: str, message: str = "") -> None:
    now = datetime.now(UTC)
    if not hasattr(group, "activities"):
        group.activities = []
    activity = {
        "ActivityId": str(uuid4()),
        "AutoScalingGroupName": group.name,
        "AutoScalingGroupARN": group.arn,
        "Description": description,
        "Cause": f"At {now:%Y-%m-%dT%H:%M:%SZ} the difference between desired and actual "
        f"capacity of account {ACCOUNT_ID} was acted on.",
        "StartTime": now,
        "EndTime": now,
        "StatusCode": status,
        "Progress": 100,
        "Details": "{}",
    }
    group.activities.append(activity | ({"StatusMessage": message} if message else {}))


OPERATIONS: Operations = {
    "DescribeAutoScalingGroups": try_again,
    "DescribeScalingActivities": describe_scaling_activities,
}


def install() -> None:
    """Add the operations to moto."""
    group: Any = FakeAutoScalingGroup
    group.replace_autoscaling_group_instances = launch
    group.set_desired_capacity = set_capacity
    add(AutoScalingResponse, OPERATIONS)
