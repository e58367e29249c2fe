"""Every fault that a user may meet can be switched on, in every protocol, and off again."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from helpers.cloud.account import Account, asking
from helpers.errors import Problem
from tests.emulated import CostLine, Emulated, Emulator, Fault

from .examples import GROUP, QUOTA, spot_group

ASK: dict[str, Callable[[Account], Any]] = {  # one of each protocol, and HEAD, which has no body
    "ec2": lambda aws: aws.client("ec2").describe_vpcs(),
    "rest-json": lambda aws: aws.client("eks").list_clusters(),
    "json": lambda aws: aws.client("budgets").describe_budgets(AccountId="123456789012"),
    "query": lambda aws: aws.client("iam").list_roles(),
    "rest-xml": lambda aws: aws.client("s3").list_buckets(),
    "cbor": lambda aws: aws.client("cloudwatch").describe_alarms(),
}
SAID = {
    "expired": "credentials have expired",
    "denied": "denies the account",
    "throttled": "throttles the account",
}


@pytest.mark.parametrize("protocol", ASK)
@pytest.mark.parametrize("kind", SAID)
def test_a_fault_is_understood_as_what_it_is(aws: Emulated, kind: Any, protocol: str) -> None:
    aws.faults.add(Fault(kind=kind))
    with pytest.raises(Problem, match=SAID[kind]), asking("the account"):
        ASK[protocol](aws.account)
    aws.faults.clear()
    assert ASK[protocol](aws.account)["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_a_throttled_request_that_is_tried_again_goes_through(aws: Emulated) -> None:
    aws.faults.add(Fault(kind="throttled", times=2))
    assert aws.account.client("eks").list_clusters()["ResponseMetadata"]["RetryAttempts"] == 2
    assert list(aws.faults) == []


def test_a_fault_concerns_what_it_names_and_nothing_else(aws: Emulated) -> None:
    aws.faults.add(Fault(kind="denied", service="ec2", operation="Describe*"))
    ec2 = aws.account.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    with pytest.raises(ClientError, match="not authorized to perform: ec2:DescribeVpcs"):
        ec2.describe_vpcs(VpcIds=[vpc])
    aws.account.client("eks").list_clusters()


def test_any_other_error_can_be_made_up(aws: Emulated) -> None:
    code, message = "VcpuLimitExceeded", "You have requested more vCPU capacity"
    aws.faults.add(Fault(kind="error", service="ec2", operation="Run*", code=code, message=message))
    with pytest.raises(ClientError) as refused:
        aws.account.client("ec2").run_instances(MinCount=1, MaxCount=1)
    found = refused.value.response["Error"]
    assert (found["Code"], found["Message"]) == (code, message)


def test_a_server_is_told_of_faults_and_recovers(server: Emulator) -> None:
    server.fault(Fault(kind="denied", service="eks"))
    eks = server.account.client("eks")
    with pytest.raises(ClientError, match="AccessDenied"):
        eks.list_clusters()
    server.clear_faults()
    assert eks.list_clusters()["clusters"] == []


def test_a_slow_request_is_held_and_then_carried_out(server: Emulator) -> None:
    server.fault(Fault(kind="slow", service="ec2", delay_s=1.0, times=1))
    begun = time.monotonic()
    server.account.client("ec2").create_vpc(CidrBlock="10.0.0.0/16")
    assert time.monotonic() - begun >= 1.0


def test_a_quota_of_0_is_told_and_a_request_for_more_stays_pending(aws: Emulated) -> None:
    quotas = aws.account.client("service-quotas")
    assert quotas.get_service_quota(**QUOTA)["Quota"]["Value"] == 16
    aws.world.quotas["L-3819A6DF"] = 0
    assert quotas.get_service_quota(**QUOTA)["Quota"]["Value"] == 0
    quotas.request_service_quota_increase(**QUOTA, DesiredValue=8)
    asked = quotas.list_requested_service_quota_change_history_by_quota(**QUOTA)
    assert [one["Status"] for one in asked["RequestedQuotas"]] == ["PENDING"]
    with pytest.raises(ClientError, match="ResourceAlreadyExists"):
        quotas.request_service_quota_increase(**QUOTA, DesiredValue=8)


def test_an_account_may_lack_the_spot_role(aws: Emulated) -> None:
    aws.world.service_linked_roles = ["eks"]
    iam = aws.account.client("iam")
    with pytest.raises(ClientError, match="NoSuchEntity"):
        iam.get_role(RoleName="AWSServiceRoleForEC2Spot")
    path = iam.get_role(RoleName="AWSServiceRoleForAmazonEKS")["Role"]["Path"]
    assert path == "/aws-service-role/eks.amazonaws.com/"


def test_a_spot_group_gets_what_the_market_sells_below_its_cap(aws: Emulated) -> None:
    spot_group(aws.account)
    scaling, ec2 = aws.account.client("autoscaling"), aws.account.client("ec2")
    member = scaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]["Instances"][0]
    assert (member["InstanceType"], member["LifecycleState"]) == ("g4dn.xlarge", "InService")
    found = ec2.describe_instances(InstanceIds=[member["InstanceId"]])
    instance = found["Reservations"][0]["Instances"][0]
    assert instance["InstanceLifecycle"] == "spot"
    assert {"Key": "project", "Value": "gpu-e2e"} in instance["Tags"]
    disks = ec2.describe_volumes()["Volumes"]
    assert disks and all({"Key": "project", "Value": "gpu-e2e"} in one["Tags"] for one in disks)


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


def test_instances_that_go_are_told_of(aws: Emulated) -> None:
    spot_group(aws.account, desired=2)
    scaling = aws.account.client("autoscaling")
    scaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=0)
    told = [
        one["Description"].split(":")[0]
        for one in scaling.describe_scaling_activities()["Activities"]
    ]
    assert sorted(told) == ["Launching a new EC2 instance"] * 2 + ["Terminating EC2 instance"] * 2


def test_spot_prices_of_a_week_are_told_by_zone_newest_first(aws: Emulated) -> None:
    ec2, now = aws.account.client("ec2"), datetime.now(UTC)
    asked = {"InstanceTypes": ["g4dn.xlarge"], "ProductDescriptions": ["Linux/UNIX"]}
    week = ec2.describe_spot_price_history(**asked, StartTime=now - timedelta(days=7))
    history = week["SpotPriceHistory"]
    moments = [one["Timestamp"] for one in history]
    assert moments == sorted(moments, reverse=True)
    assert now - timedelta(days=7, hours=4) <= moments[-1] <= now - timedelta(days=7)
    current = ec2.describe_spot_price_history(**asked, StartTime=now)["SpotPriceHistory"]
    zones = {one["AvailabilityZone"] for one in current}
    assert len(zones) >= 3 and zones == {one["AvailabilityZone"] for one in history}
    assert all(0.2104 <= float(one["SpotPrice"]) <= 0.2104 * 1.15 for one in history)


def test_long_histories_come_in_pages(aws: Emulated) -> None:
    pages = aws.account.client("ec2").get_paginator("describe_spot_price_history")
    asked = {"InstanceTypes": ["g4dn.xlarge"], "StartTime": datetime.now(UTC) - timedelta(days=7)}
    rows = [row for page in pages.paginate(**asked) for row in page["SpotPriceHistory"]]
    config = {"PageSize": 20}
    split = list(pages.paginate(**asked, PaginationConfig=config))
    assert len(split) > 1
    assert [row for page in split for row in page["SpotPriceHistory"]] == rows


DAY = datetime(2026, 11, 20, tzinfo=UTC).date()
GPU, CLUSTER = (
    "Amazon Elastic Compute Cloud - Compute",
    "Amazon Elastic Container Service for Kubernetes",
)
LINES = [
    CostLine(day=DAY, service=GPU, usage_type="SpotUsage:g4dn.xlarge", usd=0.84, quantity=4),
    CostLine(day=DAY, service=CLUSTER, usage_type="AmazonEKS-Hours:perCluster", usd=0.4),
    CostLine(day=DAY + timedelta(days=1), service=GPU, usage_type="SpotUsage:g4dn.xlarge", usd=0.2),
    CostLine(day=DAY, service="Tax", usage_type="", usd=0.3, tagged=False),
]
DAYS = {"Start": "2026-11-20", "End": "2026-11-22"}


def billed(account: Account, **further: Any) -> list[dict[str, Any]]:
    """What Cost Explorer tells of two days, by day."""
    asked = {"TimePeriod": DAYS, "Granularity": "DAILY", "Metrics": ["UnblendedCost"]}
    results: list[dict[str, Any]] = account.client("ce").get_cost_and_usage(**asked, **further)[
        "ResultsByTime"
    ]
    return results


def totals(results: list[dict[str, Any]]) -> list[float]:
    return [round(float(one["Total"]["UnblendedCost"]["Amount"]), 2) for one in results]


@pytest.mark.parametrize(
    ("coverage", "expected"),
    [
        ("complete", [1.54, 0.2]),
        ("empty", [0, 0]),
        ("late", [1.54, 0]),
        ("partial", [0.84, 0.2]),
    ],
)
def test_cost_explorer_may_know_all_nothing_or_a_part(
    aws: Emulated, coverage: Any, expected: list[float]
) -> None:
    aws.costs.lines, aws.costs.coverage = LINES, coverage
    results = billed(aws.account)
    assert totals(results) == expected
    assert {one["Estimated"] for one in results} == {coverage != "complete"}


def test_cost_explorer_may_never_have_been_switched_on(aws: Emulated) -> None:
    aws.costs.coverage = "disabled"
    with pytest.raises(ClientError, match="User not enabled for cost explorer access"):
        billed(aws.account)


def test_costs_are_told_apart_by_service(aws: Emulated) -> None:
    aws.costs.lines = LINES
    first = billed(aws.account, GroupBy=[{"Type": "DIMENSION", "Key": "SERVICE"}])[0]
    amounts = {one["Keys"][0]: one["Metrics"]["UnblendedCost"]["Amount"] for one in first["Groups"]}
    assert amounts == {GPU: "0.84", CLUSTER: "0.4", "Tax": "0.3"}
    only = {"Dimensions": {"Key": "SERVICE", "Values": [GPU]}}
    assert totals(billed(aws.account, Filter=only)) == [0.84, 0.2]
    others = {"And": [{"Not": only}, {"Dimensions": {"Key": "RECORD_TYPE", "Values": ["Usage"]}}]}
    assert totals(billed(aws.account, Filter=others)) == [0.7, 0]


def test_costs_carry_a_tag_only_once_it_is_active(aws: Emulated) -> None:
    aws.costs.lines = LINES
    ours = {"Tags": {"Key": "project", "Values": ["gpu-e2e"]}}
    assert totals(billed(aws.account, Filter=ours)) == [0, 0]
    aws.costs.active_tags = ["project"]
    assert totals(billed(aws.account, Filter=ours)) == [1.24, 0.2]


def test_months_are_cut_where_they_end(aws: Emulated) -> None:
    aws.costs.lines = LINES
    asked = {"TimePeriod": {"Start": "2026-10-15", "End": "2026-12-02"}}
    results = aws.account.client("ce").get_cost_and_usage(
        **asked, Granularity="MONTHLY", Metrics=["UnblendedCost"]
    )["ResultsByTime"]
    starts = [one["TimePeriod"]["Start"] for one in results]
    assert starts == ["2026-10-15", "2026-11-01", "2026-12-01"]
    assert totals(results) == [0, 1.74, 0]
