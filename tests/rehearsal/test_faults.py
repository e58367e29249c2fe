"""Every fault that a user may meet can be switched on, in every protocol, and off again."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from helpers.cloud.account import Account, asking
from helpers.errors import Problem
from tests.emulated import Emulated, Fault

GROUP = "gpu-e2e-gpu"
TAGS = [{"Key": "project", "Value": "gpu-e2e"}]

ASK: dict[str, Callable[[Account], Any]] = {  # one of each protocol, and HEAD, which has no body
    "ec2": lambda aws: aws.client("ec2").describe_vpcs(),
    "rest-json": lambda aws: aws.client("eks").list_clusters(),
    "json": lambda aws: aws.client("budgets").describe_budgets(AccountId="123456789012"),
    "query": lambda aws: aws.client("iam").list_roles(),
    "rest-xml": lambda aws: aws.client("s3").list_buckets(),
    "cbor": lambda aws: aws.client("cloudwatch").describe_alarms(),
}
WORDS = {
    "expired": "credentials have expired",
    "denied": "denies the account",
    "throttled": "throttles the account",
}


def spot_group(account: Account, cap: str = "0.30", desired: int = 1) -> None:
    """A spot group with a price cap, as our stack makes it."""
    tagged = [
        {"ResourceType": kind, "Tags": TAGS} for kind in ("instance", "volume", "network-interface")
    ]
    template = account.client("ec2").create_launch_template(
        LaunchTemplateName=GROUP,
        LaunchTemplateData={"ImageId": "ami-00000000000000001", "TagSpecifications": tagged},
    )["LaunchTemplate"]["LaunchTemplateId"]
    account.client("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName=GROUP, MinSize=0, MaxSize=2, DesiredCapacity=desired,
        AvailabilityZones=[f"{account.region}a"],
        MixedInstancesPolicy={
            "LaunchTemplate": {
                "LaunchTemplateSpecification": {"LaunchTemplateId": template, "Version": "1"},
                "Overrides": [{"InstanceType": "g5.xlarge"}, {"InstanceType": "g4dn.xlarge"}],
            },
            "InstancesDistribution": {
                "OnDemandBaseCapacity": 0, "OnDemandPercentageAboveBaseCapacity": 0,
                "SpotAllocationStrategy": "price-capacity-optimized", "SpotMaxPrice": cap,
            },
        },
    )  # fmt: skip


@pytest.mark.parametrize("protocol", ASK)
@pytest.mark.parametrize("kind", WORDS)
def test_a_fault_is_understood_as_what_it_is(aws: Emulated, kind: Any, protocol: str) -> None:
    aws.faults.add(Fault(kind=kind))
    with pytest.raises(Problem, match=WORDS[kind]), asking("the account"):
        ASK[protocol](aws.account)
    aws.faults.clear()
    assert ASK[protocol](aws.account)["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_a_throttled_request_that_is_tried_again_goes_through(aws: Emulated) -> None:
    aws.faults.add(Fault(kind="throttled", times=2))
    assert aws.account.client("eks").list_clusters()["ResponseMetadata"]["RetryAttempts"] == 2
    assert list(aws.faults) == []


def test_a_spot_group_gets_what_the_market_sells_below_its_cap(aws: Emulated) -> None:
    spot_group(aws.account)
    scaling, ec2 = aws.account.client("autoscaling"), aws.account.client("ec2")
    member = scaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]["Instances"][0]
    assert (member["InstanceType"], member["LifecycleState"]) == ("g4dn.xlarge", "InService")
    answer = ec2.describe_instances(InstanceIds=[member["InstanceId"]])
    instance = answer["Reservations"][0]["Instances"][0]
    assert instance["InstanceLifecycle"] == "spot"
    assert {"Key": "project", "Value": "gpu-e2e"} in instance["Tags"]
    disks = ec2.describe_volumes()["Volumes"]
    assert disks and all({"Key": "project", "Value": "gpu-e2e"} in disk["Tags"] for disk in disks)


@pytest.mark.parametrize(
    ("cap", "available", "reason"),
    [("0.10", True, "SpotMaxPriceTooLow"), ("0.30", False, "InsufficientInstanceCapacity")],
)
def test_a_spot_group_without_offer_stays_empty_says_why_and_recovers(
    aws: Emulated, cap: str, available: bool, reason: str
) -> None:
    aws.world.spot.available = available
    spot_group(aws.account, cap)
    scaling = aws.account.client("autoscaling")
    assert scaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]["Instances"] == []
    last = scaling.describe_scaling_activities(AutoScalingGroupName=GROUP)["Activities"][0]
    assert last["StatusCode"] == "Failed"
    assert reason in last["StatusMessage"]
    aws.world.spot.available = True
    aws.world.spot.usd["g4dn.xlarge"] = 0.05
    assert len(scaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]["Instances"]) == 1


def test_instances_that_go_are_logged(aws: Emulated) -> None:
    spot_group(aws.account, desired=2)
    scaling = aws.account.client("autoscaling")
    scaling.update_auto_scaling_group(AutoScalingGroupName=GROUP, DesiredCapacity=0)
    activities = scaling.describe_scaling_activities()["Activities"]
    logged = [activity["Description"].split(":")[0] for activity in activities]
    assert sorted(logged) == ["Launching a new EC2 instance"] * 2 + ["Terminating EC2 instance"] * 2
    assert "MixedInstancesPolicy" in scaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]


def test_spot_prices_of_a_week_come_by_zone_newest_first(aws: Emulated) -> None:
    ec2, now = aws.account.client("ec2"), datetime.now(UTC)
    asked = {"InstanceTypes": ["g4dn.xlarge"], "ProductDescriptions": ["Linux/UNIX"]}
    week = ec2.describe_spot_price_history(**asked, StartTime=now - timedelta(days=7))
    history = week["SpotPriceHistory"]
    moments = [point["Timestamp"] for point in history]
    assert moments == sorted(moments, reverse=True)
    assert now - timedelta(days=7, hours=4) <= moments[-1] <= now - timedelta(days=7)
    current = ec2.describe_spot_price_history(**asked, StartTime=now)["SpotPriceHistory"]
    zones = {point["AvailabilityZone"] for point in current}
    assert len(zones) >= 3 and zones == {point["AvailabilityZone"] for point in history}
    assert all(0.2104 <= float(point["SpotPrice"]) <= 0.2104 * 1.15 for point in history)
