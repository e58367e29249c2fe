"""What is said of a stack is what the account answers."""

import pytest

from helpers.cloud import stack
from helpers.cloud.stack import ANYWHERE, Stack
from helpers.run import Run
from tests import emulated

OURS = "203.0.113.7/32"


@pytest.mark.parametrize(
    ("cidrs", "holds"), [([OURS], True), ([OURS, ANYWHERE], False), ([ANYWHERE], False)]
)
def test_a_cluster_that_every_address_reaches_does_not_hold(
    run: Run, monkeypatch: pytest.MonkeyPatch, cidrs: list[str], holds: bool
) -> None:
    with emulated.installed() as aws:
        ec2, iam = aws.account.client("ec2"), aws.account.client("iam")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
        role = iam.create_role(RoleName="alb", AssumeRolePolicyDocument='{"Statement": []}')
        aws.account.client("eks").create_cluster(
            name="c", roleArn=role["Role"]["Arn"], upgradePolicy={"supportType": "STANDARD"},
            resourcesVpcConfig={"subnetIds": [subnet], "publicAccessCidrs": cidrs},
        )  # fmt: skip
        arns = {"alb_controller": role["Role"]["Arn"]}
        made = Stack.model_construct(vpc_id=vpc, cluster_name="c", role_arns=arns)
        monkeypatch.setattr(Run, "load", lambda self, kind: made)
        assert stack.describe(run, aws.account).cluster_holds is holds
