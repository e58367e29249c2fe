"""The deployer's policies: narrow, closed against widening, and small enough for IAM."""

import json
import re
from typing import Any

import pytest
import yaml

from tests.infra.iam import Policies, many
from tests.infra.terraform import BOOTSTRAP

ACCOUNT = "123456789012"
IAM = f"arn:aws:iam::{ACCOUNT}"
EC2 = f"arn:aws:ec2:us-east-1:{ACCOUNT}"
EKS = f"arn:aws:eks:us-east-1:{ACCOUNT}"
GROUP = f"arn:aws:autoscaling:us-east-1:{ACCOUNT}:autoScalingGroup:1:autoScalingGroupName"
OWN_ROLE = f"{IAM}:role/gpu-e2e-triton"
BOUNDARY = {"iam:PermissionsBoundary": f"{IAM}:policy/bootstrap/gpu-e2e-boundary"}
OURS = {"aws:ResourceTag/project": "gpu-e2e"}
HERE = {"aws:RequestedRegion": "us-east-1"}
READING = re.compile(r"\w[\w-]*:(Describe|Get|List|View|BatchGet|BatchCheck)")
# Writing actions for which IAM knows neither resource nor condition (service authorization
# reference): an unsubscription names no topic.
UNBOUND = {"sns:Unsubscribe"}
OPENING = (
    "iam:CreateUser", "iam:CreateAccessKey", "iam:CreatePolicyVersion", "iam:CreateLoginProfile",
    "iam:SetDefaultPolicyVersion", "iam:DeleteRolePermissionsBoundary", "sts:AssumeRole",
    "lambda:CreateFunction", "ssm:SendCommand", "secretsmanager:GetSecretValue",
    "organizations:LeaveOrganization", "ec2:CreateKeyPair",
)  # fmt: skip


@pytest.fixture(scope="session")
def policies(deployer: dict[str, Any]) -> Policies:
    """What the deployer may do."""
    texts = deployer["planned_values"]["outputs"]["policies"]["value"].values()
    return Policies(tuple(map(json.loads, texts)))


def test_each_policy_fits_into_a_managed_policy(deployer: dict[str, Any]) -> None:
    made = [
        resource["values"]["policy"]
        for resource in deployer["planned_values"]["root_module"]["resources"]
        if resource["type"] == "aws_iam_policy"
    ]
    assert len(made) == 7
    assert max(map(len, made)) <= 6_144  # IAM's limit, white space not counted


def test_wildcards_only_read_and_every_write_is_bound(policies: Policies) -> None:
    """A write is bound to a name, a tag or a condition; no service is granted as a whole."""
    assert all(READING.match(action) for action in policies.actions() if "*" in action)
    for statement in policies.statements():
        writes = {name for name in many(statement["Action"]) if not READING.match(name)} - UNBOUND
        named = "*" not in many(statement["Resource"])
        assert not writes or named or statement.get("Condition"), statement


def test_what_would_open_the_account_is_not_granted(policies: Policies) -> None:
    for action in OPENING:
        assert not any(policies.allow(action, on, BOUNDARY | OURS) for on in ("*", OWN_ROLE))


def test_roles_are_made_inside_the_boundary_only(policies: Policies) -> None:
    other = {"iam:PermissionsBoundary": f"{IAM}:policy/AdministratorAccess"}
    for action in ("iam:CreateRole", "iam:PutRolePolicy"):
        assert policies.allow(action, OWN_ROLE, BOUNDARY)
        assert not policies.allow(action, OWN_ROLE) and not policies.allow(action, OWN_ROLE, other)


def test_neither_itself_nor_a_foreign_role_can_be_changed(policies: Policies) -> None:
    context = BOUNDARY | {"iam:PassedToService": "ec2.amazonaws.com"}
    for name in ("PutRolePolicy", "UpdateAssumeRolePolicy", "DeleteRole", "PassRole"):
        assert policies.allow(f"iam:{name}", OWN_ROLE, context)
        for role in ("bootstrap/gpu-e2e-deployer", "admin"):
            assert not policies.allow(f"iam:{name}", f"{IAM}:role/{role}", context)


def test_known_policies_are_attached_and_roles_handed_to_known_services_only(
    policies: Policies,
) -> None:
    known = {"iam:PolicyARN": "arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy"}
    admin = {"iam:PolicyARN": "arn:aws:iam::aws:policy/AdministratorAccess"}
    assert policies.allow("iam:AttachRolePolicy", OWN_ROLE, known)
    assert not policies.allow("iam:AttachRolePolicy", OWN_ROLE, admin | BOUNDARY)
    for service, allowed in {"ec2": True, "scheduler": True, "lambda": False}.items():
        context = {"iam:PassedToService": f"{service}.amazonaws.com"}
        assert policies.allow("iam:PassRole", OWN_ROLE, context) is allowed


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ("ec2:DeleteVpc", "vpc"),
        ("ec2:TerminateInstances", "instance"),
        ("ec2:DeleteVolume", "volume"),
        ("ec2:ReleaseAddress", "elastic-ip"),
        ("ec2:CreateTags", "vpc"),
        ("ec2:DeleteSecurityGroup", "security-group"),
    ],
)
def test_only_what_carries_the_projects_tag_is_changed(
    policies: Policies, action: str, kind: str
) -> None:
    assert policies.allow(action, f"{EC2}:{kind}/x", OURS)
    foreign = {"aws:ResourceTag/project": "payroll", "aws:RequestTag/project": "gpu-e2e"}
    assert not policies.allow(action, f"{EC2}:{kind}/x", foreign)
    assert not policies.allow(action, f"{EC2}:{kind}/x")


def test_only_what_gets_the_projects_tag_is_made(policies: Policies) -> None:
    for action in ("ec2:CreateVpc", "eks:CreateCluster", "acm:ImportCertificate"):
        on = f"{EC2}:vpc/x" if action == "ec2:CreateVpc" else "*"
        assert policies.allow(action, on, HERE | {"aws:RequestTag/project": "gpu-e2e"})
        assert not policies.allow(action, on, HERE)


def test_instances_are_launched_by_template_and_of_few_types(policies: Policies) -> None:
    template = {"ec2:LaunchTemplate": f"{EC2}:launch-template/lt-1"}
    small, large = ({"ec2:InstanceType": name} for name in ("g4dn.xlarge", "p5.48xlarge"))
    on = f"{EC2}:instance/*"
    assert policies.allow("ec2:RunInstances", on, template | small)
    assert not policies.allow("ec2:RunInstances", on, template | large)
    assert not policies.allow("ec2:RunInstances", on, small)


@pytest.mark.parametrize(
    ("action", "ours", "foreign"),
    [
        ("eks:DeleteCluster", f"{EKS}:cluster/gpu-e2e", f"{EKS}:cluster/payroll"),
        ("eks:DeleteNodegroup", f"{EKS}:nodegroup/gpu-e2e/gpu-e2e-gpu/1",
         f"{EKS}:nodegroup/payroll/gpu/1"),
        ("autoscaling:DeleteAutoScalingGroup", f"{GROUP}/eks-gpu-e2e-system-1", f"{GROUP}/payroll"),
        ("s3:DeleteBucket", "arn:aws:s3:::gpu-e2e-artifacts-1", "arn:aws:s3:::payroll"),
        ("s3:GetObject", "arn:aws:s3:::gpu-e2e-artifacts-1/m", "arn:aws:s3:::payroll/salaries.csv"),
    ],
)  # fmt: skip
def test_foreign_names_are_out_of_reach(
    policies: Policies, action: str, ours: str, foreign: str
) -> None:
    assert policies.allow(action, ours) and not policies.allow(action, foreign)


def test_the_boundary_lets_no_role_touch_iam_or_leave_the_region(deployer: dict[str, Any]) -> None:
    made = deployer["planned_values"]["root_module"]["resources"]
    text = next(each["values"]["policy"] for each in made if each["name"] == "boundary")
    boundary = Policies((json.loads(text),))
    for action in ("iam:PutRolePolicy", "iam:CreateRole", "iam:PassRole", "sts:AssumeRole"):
        assert not boundary.allow(action, OWN_ROLE, HERE)
    assert boundary.allow("s3:GetObject", "arn:aws:s3:::gpu-e2e-artifacts-1/models/m", HERE)
    assert not boundary.allow("ec2:RunInstances", "*", {"aws:RequestedRegion": "eu-west-1"})


def test_each_reason_is_about_something_granted(policies: Policies) -> None:
    reasons = yaml.safe_load((BOOTSTRAP / "reasons.yaml").read_text())
    granted = policies.actions() | {action.partition(":")[0] for action in policies.actions()}
    assert set(reasons) <= granted
    assert all(len(reason) > 20 for reason in reasons.values())
