"""EC2 and Auto Scaling: a spot market with a history, groups that meet it, and what they log."""

import hashlib
import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from moto.autoscaling.models import FakeAutoScalingGroup
from moto.autoscaling.responses import AutoScalingResponse
from moto.ec2.exceptions import DependencyViolationError
from moto.ec2.models.instances import Instance
from moto.ec2.models.launch_templates import LaunchTemplate
from moto.ec2.models.nat_gateways import NatGatewayBackend
from moto.ec2.models.security_groups import SecurityGroupBackend
from moto.ec2.models.subnets import SubnetBackend
from moto.ec2.models.vpcs import VPCBackend
from moto.ec2.responses import EC2Response

from helpers.rehearsal.moto_extension import Call, correction, operation
from helpers.rehearsal.world import WORLD

STEP = timedelta(hours=4)
KEPT = timedelta(days=90)  # AWS keeps so much
ZONE_SPREAD, SWING = 0.08, 0.05


@operation(EC2Response)
def describe_spot_price_history(call: Call) -> dict[str, Any]:
    """Each change of a price between two moments, and the price that held at the first.

    As on AWS the newest change comes first, and a start of now gives the current price.
    """
    given, now = call.params, datetime.now(UTC)
    start, end = (
        moment.replace(tzinfo=UTC) if (moment := given.get(name)) else default
        for name, default in (("StartTime", now - KEPT), ("EndTime", now))
    )
    offered = call.backend("ec2").describe_spot_price_history(given.get("InstanceTypes"), {})
    rows = [
        {
            "InstanceType": kind,
            "ProductDescription": product,
            "SpotPrice": f"{WORLD.spot.usd[kind] * _factor(zone, moment):.6f}",
            "AvailabilityZone": zone,
            "Timestamp": moment,
        }
        for moment in _changes(max(start, now - KEPT), min(end, now))
        for kind, zone in ((offer["InstanceType"], offer["Location"]) for offer in offered)
        if kind in WORLD.spot.usd
        for product in given.get("ProductDescriptions") or ["Linux/UNIX"]
    ]
    return {"SpotPriceHistory": rows, "NextToken": ""}


def _changes(start: datetime, end: datetime) -> Iterator[datetime]:
    """Moments of a change, newest first, down to the last one that is not after `start`."""
    seconds = end.timestamp() // STEP.total_seconds() * STEP.total_seconds()
    moment = datetime.fromtimestamp(seconds, UTC)
    while moment > start:
        yield moment
        moment -= STEP
    yield moment


def _factor(zone: str, moment: datetime) -> float:
    """How a zone's price differs from the base: never below it, the same at each request."""
    share = hashlib.sha256(zone.encode()).digest()[0] / 255
    swing = (1 + math.sin(moment.timestamp() / 86_400 + 7 * share)) / 2
    return 1 + ZONE_SPREAD * share + SWING * swing


@operation(EC2Response)
def get_spot_placement_scores(call: Call) -> dict[str, Any]:
    """The same score for each zone of the region: the only question that is asked here."""
    zones = call.backend("ec2").describe_availability_zones()
    scores = [{"Region": call.region, "AvailabilityZoneId": zone.zone_id, "Score": WORLD.spot.score}
              for zone in zones]  # fmt: skip
    return {"SpotPlacementScores": scores}


@correction(LaunchTemplate)
def create_version(own: Any, template: Any, data: dict[str, Any], description: str) -> Any:
    """Moto copies the template's own tags into its data, which Terraform sees as a change."""
    specifications = data.pop("TagSpecifications", None) or []
    kept = [tags for tags in specifications if tags.get("ResourceType") != "launch-template"]
    if kept:
        data["TagSpecifications"] = kept
    return own(template, data, description)


@correction(Instance)
def terminate(own: Any, instance: Any) -> Any:
    """The interface made with an instance is removed with it (DeleteOnTermination)."""
    state = own(instance)
    for interface in instance.nics.values():
        if interface.description == "Primary network interface":
            instance.ec2_backend.enis.pop(interface.id, None)
    return state


@correction(NatGatewayBackend)
def delete_nat_gateway(own: Any, backend: Any, nat_gateway_id: str) -> Any:
    """A NAT gateway's interface is removed with it."""
    gateway = own(backend, nat_gateway_id)
    backend.enis.pop(gateway._eni.id, None)
    return gateway


# What blocks the end of a network, as the API reference of EC2 has it; moto removes it regardless.


@correction(SubnetBackend)
def delete_subnet(own: Any, backend: Any, subnet_id: str) -> Any:
    """Refused while a network interface is in the subnet."""
    if any(interface.subnet.id == subnet_id for interface in backend.enis.values()):
        raise _held("subnet", subnet_id)
    return own(backend, subnet_id)


@correction(SecurityGroupBackend)
def _delete_security_group(own: Any, backend: Any, vpc: str | None, group_id: str) -> None:
    """Refused while a network interface uses the group, or a rule of another group names it."""
    used = {group.id for interface in backend.enis.values() for group in interface.group_set}
    named = {
        rule.source_group.get("GroupId")
        for group in backend.describe_security_groups()
        for rule in (*group.ingress_rules, *group.egress_rules)
        if group.id != group_id
    }
    if group_id in used | named:
        raise DependencyViolationError(f"resource {group_id} has a dependent object")
    own(backend, vpc, group_id)


@correction(VPCBackend)
def delete_vpc(own: Any, backend: Any, vpc_id: str) -> Any:
    """Refused while a security group other than the default one is in the VPC."""
    if any(not group.is_default for group in backend.groups[vpc_id].values()):
        raise _held("vpc", vpc_id)
    return own(backend, vpc_id)


def _held(kind: str, name: str) -> DependencyViolationError:
    return DependencyViolationError(f"The {kind} '{name}' has dependencies and cannot be deleted.")


@operation(AutoScalingResponse)
def describe_auto_scaling_groups(call: Call) -> None:
    """A group that is short of instances tries again, as AWS does all the time; moto answers.

    Schedules whose time has come have acted before: EventBridge Scheduler is never late here.
    """
    for schedules in call.backend("scheduler").schedule_groups.values():
        for schedule in schedules.schedules.values():
            _fire_once(call.backend("autoscaling").autoscaling_groups, schedule)
    for group in call.backend("autoscaling").autoscaling_groups.values():
        if len(group.active_instances()) < (group.desired_capacity or 0):
            group.set_desired_capacity(group.desired_capacity)


def _fire_once(groups: dict[str, Any], schedule: Any) -> None:
    """What a one-time schedule asks of an Auto Scaling group, if it is due and has not yet acted.

    Only the call of the dead man's switch is carried out, and no other.
    """
    moment = schedule.schedule_expression
    due = moment <= f"at({datetime.now(UTC):%Y-%m-%dT%H:%M:%S})"
    if not due or schedule.state != "ENABLED" or getattr(schedule, "fired", "") == moment:
        return
    sizes = json.loads(schedule.target.get("Input") or "{}")
    if group := groups.get(sizes.get("AutoScalingGroupName")):
        schedule.fired = moment
        group.min_size, group.max_size = sizes["MinSize"], sizes["MaxSize"]
        group.set_desired_capacity(sizes["DesiredCapacity"])


@operation(AutoScalingResponse)
def describe_scaling_activities(call: Call) -> dict[str, Any]:
    """What groups did, newest first; deleted ones on request only."""
    backend, wanted = call.backend("autoscaling"), call.params.get("AutoScalingGroupName")
    names = {wanted} if wanted else {log["AutoScalingGroupName"] for log in _activities(backend)}
    if not call.params.get("IncludeDeletedGroups"):
        names &= {*backend.autoscaling_groups}
    logs = [log for log in _activities(backend) if log["AutoScalingGroupName"] in names]
    return {"Activities": sorted(logs, key=lambda log: log["StartTime"], reverse=True)}


@correction(FakeAutoScalingGroup)
def replace_autoscaling_group_instances(own: Any, group: Any, count: int, tags: Any) -> None:
    """Launch instances of a group, unless the spot market refuses them.

    Moto gives the members of a mixed group neither a type nor a lifecycle, and never fails.
    """
    policy = group.mixed_instances_policy or {}
    shares = policy.get("InstancesDistribution") or {}
    is_spot = (
        int(shares.get("OnDemandBaseCapacity") or 0) == 0
        and str(shares.get("OnDemandPercentageAboveBaseCapacity")) == "0"
    )
    kind, reason = _choose(policy, shares.get("SpotMaxPrice")) if is_spot else ("", "")
    if reason:
        _log(group, f"Launching a new EC2 instance.  Status Reason: {reason}", "Failed", reason)
        return
    known = len(group.instance_states)
    own(group, count, tags)
    for state in group.instance_states[known:]:
        _tag(group, state.instance)
        _log(group, f"Launching a new EC2 instance: {state.instance_id}", "Successful")
        if is_spot:
            state.instance.instance_type = state.instance_type = kind
            state.instance.lifecycle = "spot"


@correction(FakeAutoScalingGroup)
def update(own: Any, group: Any, **given: Any) -> None:
    """Moto forgets a mixed group's policy when a call does not repeat it."""
    if (policy := group.mixed_instances_policy) and not given["mixed_instances_policy"]:
        # as a caller would name it: moto adds the name, and refuses both
        policy["LaunchTemplate"]["LaunchTemplateSpecification"].pop("LaunchTemplateName", None)
        given["mixed_instances_policy"] = policy
    own(group, **given)


@correction(FakeAutoScalingGroup)
def set_desired_capacity(own: Any, group: Any, capacity: int | None) -> None:
    """As moto does, and the instances that go are logged."""
    before = {state.instance_id for state in group.instance_states}
    own(group, capacity)
    for gone in sorted(before - {state.instance_id for state in group.instance_states}):
        _log(group, f"Terminating EC2 instance: {gone}", "Successful")


def _tag(group: Any, instance: Any) -> None:
    """Moto leaves out the tags that the launch template has for instance, disk and interface."""
    if group.ec2_launch_template is None:
        return
    version = group.ec2_launch_template.get_version(group.launch_template_version)
    created = {
        "instance": [instance.id],
        "volume": [disk.volume_id for disk in instance.block_device_mapping.values()],
        "network-interface": [interface.id for interface in instance.nics.values()],
    }
    for wanted in version.data.get("TagSpecifications", []):
        tags = {tag["Key"]: tag["Value"] for tag in wanted.get("Tags", [])}
        for identifier in created.get(wanted["ResourceType"], []):
            group.autoscaling_backend.ec2_backend.create_tags([identifier], tags)


def _choose(policy: dict[str, Any], cap: str | None) -> tuple[str, str]:
    """The cheapest type that the market sells below the group's cap, or why there is none."""
    overrides = policy["LaunchTemplate"].get("Overrides") or []
    types = [override["InstanceType"] for override in overrides if "InstanceType" in override]
    if not WORLD.spot.available:
        return "", (
            "Could not launch Spot Instances. InsufficientInstanceCapacity - There is no Spot "
            "capacity available that matches your request. Launching EC2 instance failed."
        )
    usd, kind = min(
        ((WORLD.spot.usd[kind], kind) for kind in types if kind in WORLD.spot.usd),
        default=(0.0, (types or [""])[0]),
    )
    if cap and usd > float(cap):
        return "", (
            f"Could not launch Spot Instances. SpotMaxPriceTooLow - Your Spot request price of "
            f"{cap} is lower than the minimum required Spot request fulfillment price of "
            f"{usd:g}. Launching EC2 instance failed."
        )
    return kind, ""


def _log(group: Any, description: str, status: str, message: str = "") -> None:
    now = datetime.now(UTC)
    activity = {
        "ActivityId": str(uuid4()),
        "AutoScalingGroupName": group.name,
        "Description": description,
        "Cause": "The difference between desired and actual capacity was acted on.",
        "StartTime": now,
        "EndTime": now,
        "StatusCode": status,
    }
    message_of = {"StatusMessage": message} if message else {}
    _activities(group.autoscaling_backend).append(activity | message_of)


def _activities(backend: Any) -> list[dict[str, Any]]:
    """The log of an account, which outlives its groups."""
    log: list[dict[str, Any]] = vars(backend).setdefault("activities", [])
    return log
