"""Makes one resource of any kind that the leftover scan knows, with the tags and name given."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jmespath

from helpers.cloud.account import Account
from helpers.cloud.resource_kinds import Caller

ACCOUNT_ID = "123456789012"
ZERO = "0" * 64
MACHINE = {"ImageId": "ami-12c6146b", "InstanceType": "t3.micro"}  # an image that moto has


def _policy(action: str, **whom: object) -> str:
    statement = {"Effect": "Allow", "Action": action, **whom}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


TRUST = _policy("sts:AssumeRole", Principal={"Service": "ec2.amazonaws.com"})
POLICY = _policy("s3:ListBucket", Resource="*")
DOCKER = "application/vnd.docker"
IMAGE_CONFIG = {
    "mediaType": f"{DOCKER}.container.image.v1+json", "size": 2, "digest": f"sha256:{ZERO}"
}  # fmt: skip
MANIFEST = json.dumps({"schemaVersion": 2, "config": IMAGE_CONFIG, "layers": [],
                       "mediaType": f"{DOCKER}.distribution.manifest.v2+json"})  # fmt: skip


@dataclass
class Seeds:
    """Makes resources of one owner, with its tags and its beginning of names."""

    callers: Caller
    tags: dict[str, str]
    name: str
    _number: int = 0

    def make(self, kind: str) -> str:
        """Make one; returns its identifier as the scan has it."""
        return SEEDERS[kind](self)

    def next(self, separator: str = "-") -> str:
        """A new name."""
        self._number += 1
        return f"{self.name}{separator}{self._number}"

    def client(self, service: str) -> Any:
        return self.callers.client(service, self.account.region)

    def create(self, service: str, call: str, result: str, **arguments: object) -> str:
        """Make a call; returns what is at `result` (JMESPath) in its answer."""
        return str(jmespath.search(result, getattr(self.client(service), call)(**arguments)))

    def create_named(self, service: str, call: str, key: str, **arguments: object) -> str:
        """Make a call with a new name as argument `key`; returns the name."""
        name = self.next()
        self.create(service, call, "@", **{key: name}, **arguments)
        return name

    def create_ec2(self, call: str, kind: str, result: str, **arguments: object) -> str:
        """The same in EC2, where tags belong to a kind, and the name is one of them."""
        tags = [*self.pairs, {"Key": "Name", "Value": self.next()}]
        specification = [{"ResourceType": kind, "Tags": tags}]
        return self.create("ec2", call, result, TagSpecifications=specification, **arguments)

    @property
    def account(self) -> Account:
        return self.callers.account

    @property
    def pairs(self) -> list[dict[str, str]]:
        """The tags as most services take them."""
        return [{"Key": key, "Value": value} for key, value in self.tags.items()]

    @property
    def ec2(self) -> Any:
        return self.client("ec2")

    # What has no tags and no name of ours: a resource made in it is known by its own.

    @cached_property
    def vpc(self) -> str:
        return self.create("ec2", "create_vpc", "Vpc.VpcId", CidrBlock="10.9.0.0/16")

    @cached_property
    def subnets(self) -> list[str]:
        return [
            self.create("ec2", "create_subnet", "Subnet.SubnetId", VpcId=self.vpc,
                        CidrBlock=f"10.9.{n}.0/24", AvailabilityZone=f"us-east-1{zone}")
            for n, zone in enumerate("ab", 100)
        ]  # fmt: skip

    @cached_property
    def nobody(self) -> str:
        return f"nobody-{abs(hash(self.name)) % 10**9}"

    @cached_property
    def role(self) -> str:
        return self.create("iam", "create_role", "Role.Arn", RoleName=self.nobody,
                           AssumeRolePolicyDocument=TRUST)  # fmt: skip


def auto_scaling_group(s: Seeds) -> str:
    s.ec2.create_launch_template(LaunchTemplateName=s.nobody, LaunchTemplateData=MACHINE)
    name = s.next()
    about = {"ResourceId": name, "ResourceType": "auto-scaling-group", "PropagateAtLaunch": False}
    s.client("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName=name, MinSize=0, MaxSize=1, DesiredCapacity=0,
        VPCZoneIdentifier=s.subnets[0], Tags=[about | pair for pair in s.pairs],
        LaunchTemplate={"LaunchTemplateName": s.nobody, "Version": "$Latest"},
    )  # fmt: skip
    return name


def flow_log(s: Seeds) -> str:
    s.client("s3").create_bucket(Bucket=s.nobody)
    return s.create_ec2(
        "create_flow_logs", "vpc-flow-log", "FlowLogIds[0]", ResourceIds=[s.vpc],
        ResourceType="VPC", TrafficType="ALL", LogDestinationType="s3",
        LogDestination=f"arn:aws:s3:::{s.nobody}",
    )  # fmt: skip


def internet_gateway(s: Seeds) -> str:
    made = s.create_ec2(
        "create_internet_gateway", "internet-gateway", "InternetGateway.InternetGatewayId"
    )
    s.ec2.attach_internet_gateway(InternetGatewayId=made, VpcId=s.vpc)
    return made


def route_table(s: Seeds) -> str:
    made = s.create_ec2("create_route_table", "route-table", "RouteTable.RouteTableId", VpcId=s.vpc)
    s.ec2.associate_route_table(RouteTableId=made, SubnetId=s.subnets[0])
    return made


def security_group(s: Seeds) -> str:
    """Two groups that name each other, as those of cluster and nodes do."""
    first, second = (
        s.create_ec2("create_security_group", "security-group", "GroupId", GroupName=s.next(),
                     Description="x", VpcId=s.vpc)
        for _ in range(2)
    )  # fmt: skip
    for group, other in ((first, second), (second, first)):
        permission = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 9,
                      "UserIdGroupPairs": [{"GroupId": other}]}  # fmt: skip
        s.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])
    return first


def ecr_repository(s: Seeds) -> str:
    return s.create("ecr", "create_repository", "repository.repositoryName",
                    repositoryName=s.next("/"), tags=s.pairs)  # fmt: skip


def s3_bucket(s: Seeds) -> str:
    client, name = s.client("s3"), f"{s.next()}-{ACCOUNT_ID}"
    client.create_bucket(Bucket=name)
    if s.tags:
        client.put_bucket_tagging(Bucket=name, Tagging={"TagSet": s.pairs})
    return name


def s3_object_version(s: Seeds) -> str:
    """An object that was deleted: its version is what is left."""
    client, bucket, key = s.client("s3"), s3_bucket(s), "a b/$x 'y'"
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = client.put_object(Bucket=bucket, Key=key, Body=b"1")["VersionId"]
    client.delete_object(Bucket=bucket, Key=key)
    return f"{key}@{version}"


def log_group(s: Seeds) -> str:
    name = f"/aws/eks/{s.next()}/cluster"
    s.client("logs").create_log_group(logGroupName=name, tags=s.tags)
    return name


def schedule(s: Seeds) -> str:
    """A schedule carries no tags; those of its group count."""
    target = {"Arn": "arn:aws:scheduler:::aws-sdk:autoscaling:updateAutoScalingGroup",
              "RoleArn": s.role}  # fmt: skip
    return s.create_named(
        "scheduler", "create_schedule", "Name", GroupName=s.make("schedule group"), Target=target,
        ScheduleExpression="at(2030-01-01T00:00:00)", FlexibleTimeWindow={"Mode": "OFF"},
    )  # fmt: skip


def budget(s: Seeds) -> str:
    name = s.next()
    limit = {"Amount": "5", "Unit": "USD"}
    facts = {"BudgetName": name, "BudgetLimit": limit, "TimeUnit": "MONTHLY", "BudgetType": "COST"}
    s.client("budgets").create_budget(AccountId=ACCOUNT_ID, Budget=facts, ResourceTags=s.pairs)
    return name


def instance_profile(s: Seeds) -> str:
    name = s.create_named("iam", "create_instance_profile", "InstanceProfileName", Tags=s.pairs)
    s.client("iam").add_role_to_instance_profile(
        InstanceProfileName=name, RoleName=s.role.rpartition("/")[2]
    )
    return name


def role(s: Seeds) -> str:
    name = s.create_named(
        "iam", "create_role", "RoleName", AssumeRolePolicyDocument=TRUST, Tags=s.pairs
    )
    client, managed = s.client("iam"), "arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy"
    client.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=POLICY)
    client.attach_role_policy(RoleName=name, PolicyArn=managed)
    return name


def policy(s: Seeds) -> str:
    arn = s.create("iam", "create_policy", "Policy.Arn", PolicyName=s.next(),
                   PolicyDocument=POLICY, Tags=s.pairs)  # fmt: skip
    s.client("iam").create_policy_version(PolicyArn=arn, PolicyDocument=POLICY)
    return arn


# fmt: off
SEEDERS: dict[str, Callable[[Seeds], str]] = {
    "load balancer": lambda s: s.create(
        "elbv2", "create_load_balancer", "LoadBalancers[0].LoadBalancerArn",
        Name=s.next(), Subnets=s.subnets, Tags=s.pairs),
    "classic load balancer": lambda s: s.create_named(
        "elb", "create_load_balancer", "LoadBalancerName", Subnets=s.subnets, Tags=s.pairs,
        Listeners=[{"Protocol": "tcp", "LoadBalancerPort": 80, "InstancePort": 80}]),
    "target group": lambda s: s.create(
        "elbv2", "create_target_group", "TargetGroups[0].TargetGroupArn", Name=s.next(),
        Protocol="HTTP", Port=80, VpcId=s.vpc, TargetType="ip", Tags=s.pairs),
    "auto scaling group": auto_scaling_group,
    "EKS cluster": lambda s: s.create_named(
        "eks", "create_cluster", "name", roleArn=s.role, tags=s.tags,
        resourcesVpcConfig={"subnetIds": s.subnets}),
    "EKS node group": lambda s: s.create_named(
        "eks", "create_nodegroup", "nodegroupName", clusterName=s.make("EKS cluster"),
        nodeRole=s.role, subnets=s.subnets, tags=s.tags,
        scalingConfig={"minSize": 0, "maxSize": 1, "desiredSize": 0}),
    "spot request": lambda s: s.create_ec2(
        "request_spot_instances", "spot-instances-request",
        "SpotInstanceRequests[0].SpotInstanceRequestId",
        SpotPrice="0.1", InstanceCount=1, Type="one-time", LaunchSpecification=MACHINE),
    "instance": lambda s: s.create_ec2(
        "run_instances", "instance", "Instances[0].InstanceId",
        MinCount=1, MaxCount=1, SubnetId=s.subnets[0], **MACHINE),
    "launch template": lambda s: s.create_ec2(
        "create_launch_template", "launch-template", "LaunchTemplate.LaunchTemplateId",
        LaunchTemplateName=s.next(), LaunchTemplateData={"InstanceType": "t3.micro"}),
    "NAT gateway": lambda s: s.create_ec2(
        "create_nat_gateway", "natgateway", "NatGateway.NatGatewayId", SubnetId=s.subnets[0],
        AllocationId=s.create("ec2", "allocate_address", "AllocationId", Domain="vpc")),
    "VPC endpoint": lambda s: s.create_ec2(
        "create_vpc_endpoint", "vpc-endpoint", "VpcEndpoint.VpcEndpointId", VpcId=s.vpc,
        ServiceName="com.amazonaws.us-east-1.s3", VpcEndpointType="Gateway"),
    "elastic IP": lambda s: s.create_ec2(
        "allocate_address", "elastic-ip", "AllocationId", Domain="vpc"),
    "network interface": lambda s: s.create_ec2(
        "create_network_interface", "network-interface", "NetworkInterface.NetworkInterfaceId",
        SubnetId=s.subnets[0]),
    "flow log": flow_log,
    "internet gateway": internet_gateway,
    "route table": route_table,
    "network ACL": lambda s: s.create_ec2(
        "create_network_acl", "network-acl", "NetworkAcl.NetworkAclId", VpcId=s.vpc),
    "subnet": lambda s: s.create_ec2(
        "create_subnet", "subnet", "Subnet.SubnetId", VpcId=s.vpc, CidrBlock="10.9.1.0/24"),
    "security group": security_group,
    "VPC": lambda s: s.create_ec2("create_vpc", "vpc", "Vpc.VpcId", CidrBlock="10.8.0.0/16"),
    "volume": lambda s: s.create_ec2(
        "create_volume", "volume", "VolumeId", AvailabilityZone="us-east-1a", Size=1),
    "machine image": lambda s: s.create_ec2(
        "create_image", "image", "ImageId", Name=s.next(),
        InstanceId=s.create("ec2", "run_instances", "Instances[0].InstanceId",
                            MinCount=1, MaxCount=1, SubnetId=s.subnets[0], **MACHINE)),
    "snapshot": lambda s: s.create_ec2(
        "create_snapshot", "snapshot", "SnapshotId",
        VolumeId=s.create("ec2", "create_volume", "VolumeId",
                          AvailabilityZone="us-east-1a", Size=1)),
    "key pair": lambda s: s.create_ec2(
        "create_key_pair", "key-pair", "KeyPairId", KeyName=s.next()),
    "CodeBuild project": lambda s: s.create_named(
        "codebuild", "create_project", "name", serviceRole=s.role,
        source={"type": "S3", "location": "b/k"}, artifacts={"type": "NO_ARTIFACTS"},
        environment={"type": "LINUX_CONTAINER", "computeType": "BUILD_GENERAL1_SMALL",
                     "image": "i"},
        tags=[{"key": key, "value": value} for key, value in s.tags.items()]),
    "ECR repository": ecr_repository,
    "ECR image": lambda s: s.create(
        "ecr", "put_image", "image.imageId.imageDigest",
        repositoryName=ecr_repository(s), imageManifest=MANIFEST, imageTag="1"),
    "S3 bucket": s3_bucket,
    "S3 object version": s3_object_version,
    "KMS key": lambda s: s.create(
        "kms", "create_key", "KeyMetadata.KeyId", Description=s.next(),
        Tags=[{"TagKey": key, "TagValue": value} for key, value in s.tags.items()]),
    "log group": log_group,
    "alarm": lambda s: s.create_named(
        "cloudwatch", "put_metric_alarm", "AlarmName", MetricName="EstimatedCharges",
        Namespace="AWS/Billing", Period=21600, EvaluationPeriods=1, Threshold=5,
        ComparisonOperator="GreaterThanThreshold", Statistic="Maximum", Tags=s.pairs),
    "schedule group": lambda s: s.create_named(
        "scheduler", "create_schedule_group", "Name", Tags=s.pairs),
    "schedule": schedule,
    "budget": budget,
    "topic": lambda s: s.create(
        "sns", "create_topic", "TopicArn", Name=s.next(), Tags=s.pairs),
    "certificate": lambda s: s.create(
        "acm", "request_certificate", "CertificateArn", DomainName="example.com", Tags=s.pairs),
    "instance profile": instance_profile,
    "role": role,
    "policy": policy,
    "OIDC provider": lambda s: s.create(
        "iam", "create_open_id_connect_provider", "OpenIDConnectProviderArn",
        Url=f"https://oidc.eks.us-east-1.amazonaws.com/id/{s.next()}",
        ClientIDList=["sts.amazonaws.com"], ThumbprintList=["0" * 40], Tags=s.pairs),
}
# fmt: on
