"""Makes one resource of any kind that the leftover scan knows, with the tags and name given."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from helpers.cloud.account import Account
from helpers.cloud.resource_kinds import Caller

ACCOUNT_ID = "123456789012"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "ec2.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
)
POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}],
    }
)
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": 2,
            "digest": "sha256:" + "0" * 64,
        },
        "layers": [],
    }
)


@dataclass
class Seeds:
    """Makes resources of one owner.

    Attributes:
        callers: Where, with clients that are made once.
        tags: What each resource carries.
        name: What each name begins with.
    """

    callers: Caller
    tags: dict[str, str]
    name: str
    _number: int = field(default=0)

    def make(self, kind: str) -> str:
        """Make one, and give its identifier as the scan tells it."""
        return SEEDERS[kind](self)

    def next(self, separator: str = "-") -> str:
        """A new name."""
        self._number += 1
        return f"{self.name}{separator}{self._number}"

    def client(self, service: str, region: str = "") -> Any:
        """A client; making one takes half a second, so that they are shared."""
        return self.callers.client(service, region or self.account.region)

    @property
    def account(self) -> Account:
        return self.callers.account

    @property
    def pairs(self) -> list[dict[str, str]]:
        """The tags as most services take them."""
        return [{"Key": key, "Value": value} for key, value in self.tags.items()]

    def spec(self, kind: str, *, named: bool = True) -> list[dict[str, Any]]:
        """The tags as EC2 takes them, with a name."""
        name = [{"Key": "Name", "Value": self.next()}] if named else []
        return [{"ResourceType": kind, "Tags": self.pairs + name}]

    @cached_property
    def ec2(self) -> Any:
        return self.client("ec2")

    @cached_property
    def vpc(self) -> str:
        """A network that is nobody's: what stands in it is known by its own tags or name."""
        made = self.ec2.create_vpc(CidrBlock="10.9.0.0/16")
        return str(made["Vpc"]["VpcId"])

    @cached_property
    def subnets(self) -> list[str]:
        return [
            str(
                self.ec2.create_subnet(
                    VpcId=self.vpc, CidrBlock=f"10.9.{n}.0/24", AvailabilityZone=f"us-east-1{zone}"
                )["Subnet"]["SubnetId"]
            )
            for n, zone in enumerate("ab", 100)
        ]

    @cached_property
    def image(self) -> str:
        return str(self.ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"])

    @cached_property
    def role(self) -> str:
        """A role that is nobody's."""
        name = f"nobody-{abs(hash(self.name)) % 10**6}"
        made = self.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
        return str(made["Role"]["Arn"])

    @cached_property
    def template(self) -> str:
        """A launch template that is nobody's."""
        name = f"nobody-{abs(hash(self.name)) % 10**6}"
        data = {"ImageId": self.image, "InstanceType": "t3.micro"}
        self.ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)
        return name

    @cached_property
    def cluster(self) -> str:
        """The cluster of which node groups are made."""
        return self.make("EKS cluster")


def load_balancer(s: Seeds) -> str:
    made = s.client("elbv2").create_load_balancer(
        Name=s.next(), Subnets=s.subnets, Tags=s.pairs or [{"Key": "x", "Value": "y"}]
    )
    return str(made["LoadBalancers"][0]["LoadBalancerArn"])


def classic_load_balancer(s: Seeds) -> str:
    name = s.next()
    listener = {"Protocol": "tcp", "LoadBalancerPort": 80, "InstancePort": 80}
    s.client("elb").create_load_balancer(
        LoadBalancerName=name, Listeners=[listener], Subnets=s.subnets,
        Tags=s.pairs or [{"Key": "x", "Value": "y"}],
    )  # fmt: skip
    return name


def target_group(s: Seeds) -> str:
    made = s.client("elbv2").create_target_group(
        Name=s.next(),
        Protocol="HTTP",
        Port=80,
        VpcId=s.vpc,
        TargetType="ip",
        Tags=s.pairs or [{"Key": "x", "Value": "y"}],
    )
    return str(made["TargetGroups"][0]["TargetGroupArn"])


def auto_scaling_group(s: Seeds) -> str:
    name = s.next()
    tags = [
        {"ResourceId": name, "ResourceType": "auto-scaling-group", "PropagateAtLaunch": False} | one
        for one in s.pairs
    ]
    s.client("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName=name, MinSize=0, MaxSize=1, DesiredCapacity=0,
        VPCZoneIdentifier=s.subnets[0], Tags=tags,
        LaunchTemplate={"LaunchTemplateName": s.template, "Version": "$Latest"},
    )  # fmt: skip
    return name


def eks_cluster(s: Seeds) -> str:
    name = s.next()
    s.client("eks").create_cluster(
        name=name, roleArn=s.role, resourcesVpcConfig={"subnetIds": s.subnets}, tags=s.tags
    )
    return name


def eks_node_group(s: Seeds) -> str:
    name = s.next()
    s.client("eks").create_nodegroup(
        clusterName=s.cluster, nodegroupName=name, nodeRole=s.role, subnets=s.subnets,
        scalingConfig={"minSize": 0, "maxSize": 1, "desiredSize": 0}, tags=s.tags,
    )  # fmt: skip
    return name


def spot_request(s: Seeds) -> str:
    made = s.ec2.request_spot_instances(
        SpotPrice="0.1", InstanceCount=1, Type="one-time",
        LaunchSpecification={"ImageId": s.image, "InstanceType": "t3.micro"},
        TagSpecifications=s.spec("spot-instances-request"),
    )  # fmt: skip
    return str(made["SpotInstanceRequests"][0]["SpotInstanceRequestId"])


def instance(s: Seeds) -> str:
    made = s.ec2.run_instances(
        ImageId=s.image, InstanceType="t3.micro", MinCount=1, MaxCount=1, SubnetId=s.subnets[0],
        TagSpecifications=s.spec("instance"),
    )  # fmt: skip
    return str(made["Instances"][0]["InstanceId"])


def launch_template(s: Seeds) -> str:
    made = s.ec2.create_launch_template(
        LaunchTemplateName=s.next(), LaunchTemplateData={"InstanceType": "t3.micro"},
        TagSpecifications=s.spec("launch-template"),
    )  # fmt: skip
    return str(made["LaunchTemplate"]["LaunchTemplateId"])


def nat_gateway(s: Seeds) -> str:
    address = s.ec2.allocate_address(Domain="vpc")["AllocationId"]
    made = s.ec2.create_nat_gateway(
        SubnetId=s.subnets[0], AllocationId=address, TagSpecifications=s.spec("natgateway")
    )
    return str(made["NatGateway"]["NatGatewayId"])


def vpc_endpoint(s: Seeds) -> str:
    made = s.ec2.create_vpc_endpoint(
        VpcId=s.vpc, ServiceName="com.amazonaws.us-east-1.s3", VpcEndpointType="Gateway",
        TagSpecifications=s.spec("vpc-endpoint"),
    )  # fmt: skip
    return str(made["VpcEndpoint"]["VpcEndpointId"])


def elastic_ip(s: Seeds) -> str:
    made = s.ec2.allocate_address(Domain="vpc", TagSpecifications=s.spec("elastic-ip"))
    return str(made["AllocationId"])


def network_interface(s: Seeds) -> str:
    made = s.ec2.create_network_interface(
        SubnetId=s.subnets[0], TagSpecifications=s.spec("network-interface")
    )
    return str(made["NetworkInterface"]["NetworkInterfaceId"])


def flow_log(s: Seeds) -> str:
    bucket = f"flows-{abs(hash(s.name)) % 10**9}"
    s.client("s3").create_bucket(Bucket=bucket)
    made = s.ec2.create_flow_logs(
        ResourceIds=[s.vpc], ResourceType="VPC", TrafficType="ALL", LogDestinationType="s3",
        LogDestination=f"arn:aws:s3:::{bucket}", TagSpecifications=s.spec("vpc-flow-log"),
    )  # fmt: skip
    return str(made["FlowLogIds"][0])


def internet_gateway(s: Seeds) -> str:
    made = s.ec2.create_internet_gateway(TagSpecifications=s.spec("internet-gateway"))
    identity = str(made["InternetGateway"]["InternetGatewayId"])
    s.ec2.attach_internet_gateway(InternetGatewayId=identity, VpcId=s.vpc)
    return identity


def route_table(s: Seeds) -> str:
    made = s.ec2.create_route_table(VpcId=s.vpc, TagSpecifications=s.spec("route-table"))
    identity = str(made["RouteTable"]["RouteTableId"])
    s.ec2.associate_route_table(RouteTableId=identity, SubnetId=s.subnets[0])
    return identity


def network_acl(s: Seeds) -> str:
    made = s.ec2.create_network_acl(VpcId=s.vpc, TagSpecifications=s.spec("network-acl"))
    return str(made["NetworkAcl"]["NetworkAclId"])


def subnet(s: Seeds) -> str:
    made = s.ec2.create_subnet(
        VpcId=s.vpc, CidrBlock="10.9.1.0/24", TagSpecifications=s.spec("subnet")
    )
    return str(made["Subnet"]["SubnetId"])


def security_group(s: Seeds) -> str:
    """Two groups that name each other, as those of cluster and nodes do."""
    ids = []
    for _ in range(2):
        made = s.ec2.create_security_group(
            GroupName=s.next(), Description="x", VpcId=s.vpc,
            TagSpecifications=s.spec("security-group"),
        )  # fmt: skip
        ids.append(str(made["GroupId"]))
    for one, other in (ids, reversed(ids)):
        pair = [{"GroupId": other}]
        permission = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 9, "UserIdGroupPairs": pair}
        s.ec2.authorize_security_group_ingress(GroupId=one, IpPermissions=[permission])
    return ids[0]


def vpc(s: Seeds) -> str:
    made = s.ec2.create_vpc(CidrBlock="10.8.0.0/16", TagSpecifications=s.spec("vpc"))
    return str(made["Vpc"]["VpcId"])


def volume(s: Seeds) -> str:
    made = s.ec2.create_volume(
        AvailabilityZone="us-east-1a", Size=1, TagSpecifications=s.spec("volume")
    )
    return str(made["VolumeId"])


def machine_image(s: Seeds) -> str:
    spare = s.ec2.run_instances(
        ImageId=s.image, InstanceType="t3.micro", MinCount=1, MaxCount=1, SubnetId=s.subnets[0]
    )
    made = s.ec2.create_image(
        InstanceId=spare["Instances"][0]["InstanceId"], Name=s.next(),
        TagSpecifications=s.spec("image"),
    )  # fmt: skip
    return str(made["ImageId"])


def snapshot(s: Seeds) -> str:
    spare = s.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
    made = s.ec2.create_snapshot(VolumeId=spare, TagSpecifications=s.spec("snapshot"))
    return str(made["SnapshotId"])


def key_pair(s: Seeds) -> str:
    made = s.ec2.create_key_pair(KeyName=s.next(), TagSpecifications=s.spec("key-pair"))
    return str(made["KeyPairId"])


def ecr_repository(s: Seeds) -> str:
    name = s.next("/")
    s.client("ecr").create_repository(repositoryName=name, tags=s.pairs)
    return name


def ecr_image(s: Seeds) -> str:
    made = s.client("ecr").put_image(
        repositoryName=ecr_repository(s), imageManifest=MANIFEST, imageTag="1"
    )
    return str(made["image"]["imageId"]["imageDigest"])


def s3_bucket(s: Seeds) -> str:
    client, name = s.client("s3"), f"{s.next()}-{ACCOUNT_ID}"
    client.create_bucket(Bucket=name)
    if s.tags:
        client.put_bucket_tagging(Bucket=name, Tagging={"TagSet": s.pairs})
    return name


def s3_object_version(s: Seeds) -> str:
    """An object that was deleted: its version is what is left."""
    client, bucket = s.client("s3"), s3_bucket(s)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = client.put_object(Bucket=bucket, Key="a b/$x 'y'", Body=b"1")["VersionId"]
    client.delete_object(Bucket=bucket, Key="a b/$x 'y'")
    return f"a b/$x 'y'@{version}"


def kms_key(s: Seeds) -> str:
    tags = [{"TagKey": key, "TagValue": value} for key, value in s.tags.items()]
    made = s.client("kms").create_key(Description=s.next(), Tags=tags)
    return str(made["KeyMetadata"]["KeyId"])


def log_group(s: Seeds) -> str:
    name = f"/aws/eks/{s.next()}/cluster"
    s.client("logs").create_log_group(logGroupName=name, tags=s.tags)
    return name


def alarm(s: Seeds) -> str:
    name = s.next()
    s.client("cloudwatch", "us-east-1").put_metric_alarm(
        AlarmName=name, MetricName="EstimatedCharges", Namespace="AWS/Billing", Period=21600,
        EvaluationPeriods=1, Threshold=5, ComparisonOperator="GreaterThanThreshold",
        Statistic="Maximum", Tags=s.pairs,
    )  # fmt: skip
    return name


def schedule_group(s: Seeds) -> str:
    name = s.next()
    s.client("scheduler").create_schedule_group(Name=name, Tags=s.pairs)
    return name


def schedule(s: Seeds) -> str:
    """A schedule carries no tags; those of its group count."""
    name, group = s.next(), schedule_group(s)
    s.client("scheduler").create_schedule(
        Name=name, GroupName=group, ScheduleExpression="at(2030-01-01T00:00:00)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": "arn:aws:scheduler:::aws-sdk:autoscaling:updateAutoScalingGroup",
                "RoleArn": s.role},
    )  # fmt: skip
    return name


def budget(s: Seeds) -> str:
    name = s.next()
    limit = {"Amount": "5", "Unit": "USD"}
    made = {
        "BudgetName": name,
        "BudgetLimit": limit,
        "TimeUnit": "MONTHLY",
        "BudgetType": "COST",
    }
    s.client("budgets", "us-east-1").create_budget(
        AccountId=ACCOUNT_ID, Budget=made, ResourceTags=s.pairs
    )
    return name


def topic(s: Seeds) -> str:
    return str(s.client("sns", "us-east-1").create_topic(Name=s.next(), Tags=s.pairs)["TopicArn"])


def certificate(s: Seeds) -> str:
    made = s.client("acm").request_certificate(
        DomainName="example.com", Tags=s.pairs or [{"Key": "x", "Value": "y"}]
    )
    return str(made["CertificateArn"])


def instance_profile(s: Seeds) -> str:
    name, client = s.next(), s.client("iam")
    client.create_instance_profile(InstanceProfileName=name, Tags=s.pairs)
    client.add_role_to_instance_profile(
        InstanceProfileName=name, RoleName=s.role.rpartition("/")[2]
    )
    return name


def role(s: Seeds) -> str:
    name, client = s.next(), s.client("iam")
    client.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST, Tags=s.pairs)
    client.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=POLICY)
    client.attach_role_policy(
        RoleName=name, PolicyArn="arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy"
    )
    return name


def policy(s: Seeds) -> str:
    client = s.client("iam")
    made = client.create_policy(PolicyName=s.next(), PolicyDocument=POLICY, Tags=s.pairs)
    arn = str(made["Policy"]["Arn"])
    client.create_policy_version(PolicyArn=arn, PolicyDocument=POLICY)
    return arn


def oidc_provider(s: Seeds) -> str:
    made = s.client("iam").create_open_id_connect_provider(
        Url=f"https://oidc.eks.us-east-1.amazonaws.com/id/{s.next()}",
        ClientIDList=["sts.amazonaws.com"], ThumbprintList=["0" * 40], Tags=s.pairs,
    )  # fmt: skip
    return str(made["OpenIDConnectProviderArn"])


SEEDERS: dict[str, Callable[[Seeds], str]] = {
    "load balancer": load_balancer,
    "classic load balancer": classic_load_balancer,
    "target group": target_group,
    "auto scaling group": auto_scaling_group,
    "EKS cluster": eks_cluster,
    "EKS node group": eks_node_group,
    "spot request": spot_request,
    "instance": instance,
    "launch template": launch_template,
    "NAT gateway": nat_gateway,
    "VPC endpoint": vpc_endpoint,
    "elastic IP": elastic_ip,
    "network interface": network_interface,
    "flow log": flow_log,
    "internet gateway": internet_gateway,
    "route table": route_table,
    "network ACL": network_acl,
    "subnet": subnet,
    "security group": security_group,
    "VPC": vpc,
    "volume": volume,
    "machine image": machine_image,
    "snapshot": snapshot,
    "key pair": key_pair,
    "ECR repository": ecr_repository,
    "ECR image": ecr_image,
    "S3 bucket": s3_bucket,
    "S3 object version": s3_object_version,
    "KMS key": kms_key,
    "log group": log_group,
    "alarm": alarm,
    "schedule group": schedule_group,
    "schedule": schedule,
    "budget": budget,
    "topic": topic,
    "certificate": certificate,
    "instance profile": instance_profile,
    "role": role,
    "policy": policy,
    "OIDC provider": oidc_provider,
}
