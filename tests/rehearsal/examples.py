"""One life of each service in which every operation of the double is called at least once."""

from datetime import UTC, datetime, timedelta
from typing import Any

from helpers.cloud.account import Account
from helpers.rehearsal.moto_extension import ACCOUNT_ID

ROLE = f"arn:aws:iam::{ACCOUNT_ID}:role/gpu-e2e"
GROUP = "gpu-e2e-gpu"
QUOTA = {"ServiceCode": "ec2", "QuotaCode": "L-3819A6DF"}
AMI = "/aws/service/eks/optimized-ami/1.35/amazon-linux-2023/x86_64/nvidia/recommended"
TAGS = [{"Key": "project", "Value": "gpu-e2e"}]


def subnets(account: Account) -> list[str]:
    """Two subnets in two zones of a new VPC."""
    ec2 = account.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.42.0.0/16")["Vpc"]["VpcId"]
    return [
        ec2.create_subnet(
            VpcId=vpc, CidrBlock=f"10.42.{number}.0/24", AvailabilityZone=f"{account.region}{zone}"
        )["Subnet"]["SubnetId"]
        for number, zone in enumerate("ab")
    ]


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
        VPCZoneIdentifier=",".join(subnets(account)),
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


def of_autoscaling(account: Account) -> None:
    scaling = account.client("autoscaling")
    spot_group(account)
    scaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=2)
    scaling.update_auto_scaling_group(AutoScalingGroupName=GROUP, MaxSize=3)
    scaling.describe_auto_scaling_groups()
    scaling.describe_scaling_activities(AutoScalingGroupName=GROUP)


def of_budgets(account: Account) -> None:
    budgets, named = account.client("budgets"), {"AccountId": ACCOUNT_ID}
    notification = {
        "NotificationType": "ACTUAL", "ComparisonOperator": "GREATER_THAN", "Threshold": 80,
    }  # fmt: skip
    subscribers = [{"SubscriptionType": "EMAIL", "Address": "nobody@example.com"}]
    budgets.create_budget(
        **named,
        Budget={
            "BudgetName": "gpu-e2e", "BudgetLimit": {"Amount": "5", "Unit": "USD"},
            "TimeUnit": "MONTHLY", "BudgetType": "COST",
            "TimePeriod": {"Start": datetime(2026, 11, 1, tzinfo=UTC)},
        },
        NotificationsWithSubscribers=[{"Notification": notification, "Subscribers": subscribers}],
        ResourceTags=TAGS,
    )  # fmt: skip
    budgets.describe_subscribers_for_notification(
        **named, BudgetName="gpu-e2e", Notification=notification
    )
    budgets.list_tags_for_resource(ResourceARN=f"arn:aws:budgets::{ACCOUNT_ID}:budget/gpu-e2e")


def of_ec2(account: Account) -> None:
    account.client("ec2").describe_spot_price_history(
        InstanceTypes=["g4dn.xlarge"], StartTime=datetime.now(UTC) - timedelta(days=7)
    )


def of_eks(account: Account) -> None:
    eks, within = account.client("eks"), subnets(account)
    eks.create_cluster(
        name="gpu-e2e", version="1.35", roleArn=ROLE, tags={"project": "gpu-e2e"},
        resourcesVpcConfig={"subnetIds": within, "publicAccessCidrs": ["203.0.113.7/32"]},
        accessConfig={"authenticationMode": "API"}, upgradePolicy={"supportType": "STANDARD"},
    )  # fmt: skip
    eks.describe_cluster_versions()
    update = eks.update_cluster_config(
        name="gpu-e2e", resourcesVpcConfig={"publicAccessCidrs": ["203.0.113.8/32"]}
    )["update"]["id"]
    eks.describe_update(name="gpu-e2e", updateId=update)
    entry = {"clusterName": "gpu-e2e", "principalArn": f"{ROLE}/path/reader"}
    for ask in (eks.create_access_entry, eks.describe_access_entry, eks.delete_access_entry):
        ask(**entry)
    group = {"clusterName": "gpu-e2e", "nodegroupName": "system"}
    scale = {"minSize": 1, "desiredSize": 2, "maxSize": 3}
    eks.create_nodegroup(
        **group, nodeRole=ROLE, subnets=within, instanceTypes=["t3.large"], scalingConfig=scale
    )
    eks.delete_nodegroup(**group)
    eks.delete_cluster(name="gpu-e2e")


def of_iam(account: Account) -> None:
    iam = account.client("iam")
    iam.list_roles()
    iam.get_role(RoleName="AWSServiceRoleForEC2Spot")
    iam.create_instance_profile(InstanceProfileName=GROUP, Tags=TAGS)
    iam.list_instance_profile_tags(InstanceProfileName=GROUP)


def of_quotas(account: Account) -> None:
    quotas = account.client("service-quotas")
    quotas.get_service_quota(**QUOTA)
    quotas.list_requested_service_quota_change_history_by_quota(**QUOTA)


def of_ssm(account: Account) -> None:
    account.client("ssm").get_parameter(Name=AMI)


def of_sts(account: Account) -> None:
    account.client("sts").get_caller_identity()


EXAMPLES: dict[str, Any] = {
    name.removeprefix("of_"): example
    for name, example in list(globals().items())
    if name.startswith("of_")
}
