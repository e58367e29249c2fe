"""One life of each service in which every operation of the double is called at least once."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from helpers.cloud.account import Account

ACCOUNT_ID = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT_ID}:role/gpu-e2e-cluster"
NODE_ROLE = f"arn:aws:iam::{ACCOUNT_ID}:role/gpu-e2e-node"
GROUP = "gpu-e2e-gpu"
QUOTA = {"ServiceCode": "ec2", "QuotaCode": "L-3819A6DF"}
AMI = "/aws/service/eks/optimized-ami/1.35/amazon-linux-2023/x86_64/nvidia/recommended"
POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}],
    }
)
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": f"sha256:{0:064}",
            "size": 2,
        },
        "layers": [],
    }
)


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


def cluster(account: Account, name: str = "gpu-e2e") -> dict[str, Any]:
    """A cluster as our stack makes it."""
    made: dict[str, Any] = account.client("eks").create_cluster(
        name=name,
        version="1.35",
        roleArn=ROLE,
        resourcesVpcConfig={
            "subnetIds": subnets(account),
            "endpointPrivateAccess": True,
            "publicAccessCidrs": ["203.0.113.7/32"],
        },
        accessConfig={"authenticationMode": "API"},
        upgradePolicy={"supportType": "STANDARD"},
        tags={"project": "gpu-e2e"},
    )["cluster"]
    return made


def node_group(account: Account, **further: Any) -> dict[str, Any]:
    """A node group of two in the cluster."""
    eks = account.client("eks")
    within = eks.describe_cluster(name="gpu-e2e")["cluster"]["resourcesVpcConfig"]["subnetIds"]
    made: dict[str, Any] = eks.create_nodegroup(
        clusterName="gpu-e2e",
        nodegroupName="system",
        nodeRole=NODE_ROLE,
        subnets=within,
        instanceTypes=["t3.large", "t3a.large"],
        scalingConfig={"minSize": 1, "desiredSize": 2, "maxSize": 3},
        **further,
    )["nodegroup"]
    return made


def spot_group(account: Account, cap: str = "0.30", desired: int = 1) -> None:
    """A spot group with a price cap, as our stack makes it."""
    template = account.client("ec2").create_launch_template(
        LaunchTemplateName="gpu-e2e-gpu",
        LaunchTemplateData={
            "ImageId": "ami-00000000000000001",
            "TagSpecifications": [
                {"ResourceType": kind, "Tags": [{"Key": "project", "Value": "gpu-e2e"}]}
                for kind in ("instance", "volume", "network-interface")
            ],
        },
    )["LaunchTemplate"]["LaunchTemplateId"]
    specification = {"LaunchTemplateId": template, "Version": "1"}
    account.client("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName=GROUP,
        MinSize=0,
        MaxSize=2,
        DesiredCapacity=desired,
        VPCZoneIdentifier=",".join(subnets(account)),
        MixedInstancesPolicy={
            "LaunchTemplate": {
                "LaunchTemplateSpecification": specification,
                "Overrides": [{"InstanceType": "g5.xlarge"}, {"InstanceType": "g4dn.xlarge"}],
            },
            "InstancesDistribution": {
                "OnDemandBaseCapacity": 0,
                "OnDemandPercentageAboveBaseCapacity": 0,
                "SpotAllocationStrategy": "price-capacity-optimized",
                "SpotMaxPrice": cap,
            },
        },
    )


def of_autoscaling(account: Account) -> None:
    """A group is made, scaled and looked at."""
    scaling = account.client("autoscaling")
    spot_group(account)
    scaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=2)
    scaling.update_auto_scaling_group(AutoScalingGroupName=GROUP, MaxSize=3)
    scaling.describe_auto_scaling_groups()
    scaling.describe_scaling_activities(AutoScalingGroupName=GROUP)


def of_budgets(account: Account) -> None:
    """A budget with a notification and tags."""
    budgets = account.client("budgets")
    budget: dict[str, Any] = {
        "BudgetName": "gpu-e2e-account",
        "BudgetLimit": {"Amount": "5", "Unit": "USD"},
        "TimeUnit": "MONTHLY",
        "BudgetType": "COST",
        "TimePeriod": {"Start": datetime(2026, 11, 1, tzinfo=UTC)},
    }
    notification = {
        "NotificationType": "ACTUAL",
        "ComparisonOperator": "GREATER_THAN",
        "Threshold": 80,
    }
    subscribers = [{"SubscriptionType": "EMAIL", "Address": "nobody@example.com"}]
    arn = f"arn:aws:budgets::{ACCOUNT_ID}:budget/gpu-e2e-account"
    of_account = {"AccountId": ACCOUNT_ID}
    budgets.create_budget(
        **of_account,
        Budget=budget,
        NotificationsWithSubscribers=[{"Notification": notification, "Subscribers": subscribers}],
        ResourceTags=[{"Key": "project", "Value": "gpu-e2e"}],
    )
    budgets.describe_subscribers_for_notification(
        **of_account, BudgetName="gpu-e2e-account", Notification=notification
    )
    budgets.list_tags_for_resource(ResourceARN=arn)


def of_ec2(account: Account) -> None:
    """A week of spot prices."""
    account.client("ec2").describe_spot_price_history(
        InstanceTypes=["g4dn.xlarge"], StartTime=datetime.now(UTC) - timedelta(days=7)
    )


def of_eks(account: Account) -> None:
    """A cluster and a node group, from beginning to end."""
    eks, named = account.client("eks"), {"clusterName": "gpu-e2e"}
    cluster(account)
    eks.describe_cluster_versions()
    update = eks.update_cluster_config(
        name="gpu-e2e", resourcesVpcConfig={"publicAccessCidrs": ["203.0.113.8/32"]}
    )["update"]["id"]
    eks.describe_update(name="gpu-e2e", updateId=update)
    _of_access(eks, named)
    node_group(account)
    of_group = named | {"nodegroupName": "system"}
    eks.delete_nodegroup(**of_group)
    eks.delete_cluster(name="gpu-e2e")


def _of_access(eks: Any, named: dict[str, str]) -> None:
    entry = named | {"principalArn": f"arn:aws:iam::{ACCOUNT_ID}:role/path/reader"}
    eks.create_access_entry(**entry)
    eks.describe_access_entry(**entry)
    eks.delete_access_entry(**entry)


def of_iam(account: Account) -> None:
    """Service-linked roles, a role with a policy of AWS, and the tags of an instance profile."""
    iam, arn = account.client("iam"), "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"
    iam.create_role(RoleName="gpu-e2e-cluster", AssumeRolePolicyDocument="{}")
    iam.attach_role_policy(RoleName="gpu-e2e-cluster", PolicyArn=arn)
    iam.list_roles()
    iam.get_role(RoleName="AWSServiceRoleForEC2Spot")
    iam.create_instance_profile(
        InstanceProfileName="gpu-e2e-gpu", Tags=[{"Key": "project", "Value": "gpu-e2e"}]
    )
    iam.list_instance_profile_tags(InstanceProfileName="gpu-e2e-gpu")


def of_quotas(account: Account) -> None:
    """Quotas are read, and a higher one is asked for."""
    quotas = account.client("service-quotas")
    quotas.get_service_quota(**QUOTA)
    quotas.request_service_quota_increase(**QUOTA, DesiredValue=32)
    quotas.list_requested_service_quota_change_history_by_quota(**QUOTA)


def of_s3(account: Account) -> None:
    """Who pays for a bucket."""
    s3 = account.client("s3")
    s3.create_bucket(Bucket="gpu-e2e-models")
    s3.get_bucket_request_payment(Bucket="gpu-e2e-models")


def of_ssm(account: Account) -> None:
    """The image of the GPU nodes."""
    ssm = account.client("ssm")
    ssm.get_parameter(Name=f"{AMI}/image_id")
    ssm.get_parameter(Name=AMI)


def of_sts(account: Account) -> None:
    """Who am I."""
    account.client("sts").get_caller_identity()


EXAMPLES = {
    "autoscaling": of_autoscaling,
    "budgets": of_budgets,
    "ec2": of_ec2,
    "eks": of_eks,
    "iam": of_iam,
    "s3": of_s3,
    "service-quotas": of_quotas,
    "ssm": of_ssm,
    "sts": of_sts,
}
