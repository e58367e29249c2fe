"""The deployer's policies: narrow, closed against widening, and small enough for IAM."""

import json
import re
from typing import Any

import pytest
import yaml

from tests.infra.iam import Policies, conditions, many
from tests.infra.terraform import BOOTSTRAP

ACCOUNT = "123456789012"
IAM = f"arn:aws:iam::{ACCOUNT}"
EC2 = f"arn:aws:ec2:us-east-1:{ACCOUNT}"
OWN_ROLE = f"{IAM}:role/gpu-e2e-triton"
BOUNDARY = {"iam:PermissionsBoundary": f"{IAM}:policy/bootstrap/gpu-e2e-boundary"}
OURS = {"aws:ResourceTag/project": "gpu-e2e"}
READING = re.compile(r"\w[\w-]*:(Describe|Get|List|View|BatchGet|BatchCheck)")
# Writing actions for which IAM knows neither resource nor condition (service authorization
# reference): the registry's login reads a token, an unsubscription names no topic.
UNBOUND = {"sns:Unsubscribe"}


@pytest.fixture(scope="session")
def policies(deployer: dict[str, Any]) -> Policies:
    """What the deployer may do."""
    return Policies.parsed(deployer["planned_values"]["outputs"]["policies"]["value"])


def test_each_policy_fits_into_a_managed_policy(deployer: dict[str, Any]) -> None:
    made = [
        one["values"]["policy"]
        for one in deployer["planned_values"]["root_module"]["resources"]
        if one["type"] == "aws_iam_policy"
    ]
    assert len(made) == 7
    assert max(map(len, made)) <= 6_144  # IAM's limit, white space not counted


def test_nothing_is_granted_by_service_or_altogether(policies: Policies) -> None:
    whole = [action for action in policies.actions() if action.partition(":")[2] in ("", "*")]
    assert whole == []


def test_every_write_is_bound_to_a_name_a_tag_or_a_condition(policies: Policies) -> None:
    for one in policies.statements():
        writes = {each for each in many(one["Action"]) if not READING.match(each)} - UNBOUND
        named = "*" not in many(one["Resource"])
        assert not writes or named or one.get("Condition"), one


def test_wildcards_in_actions_only_read(policies: Policies) -> None:
    assert all(READING.match(action) for action in policies.actions() if "*" in action)


@pytest.mark.parametrize(
    "action",
    [
        "iam:CreateUser",
        "iam:CreateAccessKey",
        "iam:CreatePolicyVersion",
        "iam:SetDefaultPolicyVersion",
        "iam:DeleteRolePermissionsBoundary",
        "iam:CreateLoginProfile",
        "sts:AssumeRole",
        "lambda:CreateFunction",
        "ssm:SendCommand",
        "secretsmanager:GetSecretValue",
        "organizations:LeaveOrganization",
        "ec2:CreateKeyPair",
    ],
)
def test_what_would_open_the_account_is_not_granted(policies: Policies, action: str) -> None:
    assert not any(policies.allow(action, on, BOUNDARY | OURS) for on in ("*", OWN_ROLE))


@pytest.mark.parametrize("action", ["iam:CreateRole", "iam:PutRolePolicy"])
def test_roles_are_made_inside_the_boundary_only(policies: Policies, action: str) -> None:
    assert policies.allow(action, OWN_ROLE, BOUNDARY)
    assert not policies.allow(action, OWN_ROLE)
    other = {"iam:PermissionsBoundary": f"{IAM}:policy/AdministratorAccess"}
    assert not policies.allow(action, OWN_ROLE, other)


@pytest.mark.parametrize(
    "action", ["iam:PutRolePolicy", "iam:UpdateAssumeRolePolicy", "iam:DeleteRole", "iam:PassRole"]
)
@pytest.mark.parametrize("role", ["bootstrap/gpu-e2e-deployer", "admin"])
def test_neither_itself_nor_a_foreign_role_can_be_changed(
    policies: Policies, action: str, role: str
) -> None:
    context = BOUNDARY | {"iam:PassedToService": "ec2.amazonaws.com"}
    assert policies.allow(action, OWN_ROLE, context)
    assert not policies.allow(action, f"{IAM}:role/{role}", context)


def test_only_known_policies_are_attached(policies: Policies) -> None:
    known = {"iam:PolicyARN": "arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy"}
    admin = {"iam:PolicyARN": "arn:aws:iam::aws:policy/AdministratorAccess"}
    assert policies.allow("iam:AttachRolePolicy", OWN_ROLE, known)
    assert not policies.allow("iam:AttachRolePolicy", OWN_ROLE, admin | BOUNDARY)


def test_roles_are_handed_to_the_four_services_only(policies: Policies) -> None:
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
        tagged = {"aws:RequestTag/project": "gpu-e2e", "aws:RequestedRegion": "us-east-1"}
        assert policies.allow(action, on, tagged)
        assert not policies.allow(action, on, {"aws:RequestedRegion": "us-east-1"})


def test_instances_are_launched_by_template_and_of_few_types(policies: Policies) -> None:
    template = {"ec2:LaunchTemplate": f"{EC2}:launch-template/lt-1"}
    on = f"{EC2}:instance/*"
    assert policies.allow("ec2:RunInstances", on, template | {"ec2:InstanceType": "g4dn.xlarge"})
    assert not policies.allow(
        "ec2:RunInstances", on, template | {"ec2:InstanceType": "p5.48xlarge"}
    )
    assert not policies.allow("ec2:RunInstances", on, {"ec2:InstanceType": "g4dn.xlarge"})


def test_foreign_names_are_out_of_reach(policies: Policies) -> None:
    group = f"arn:aws:autoscaling:us-east-1:{ACCOUNT}:autoScalingGroup:1:autoScalingGroupName"
    for action, ours, foreign in (
        ("eks:DeleteCluster", "cluster/gpu-e2e", "cluster/payroll"),
        ("eks:DeleteNodegroup", "nodegroup/gpu-e2e/gpu-e2e-gpu/1", "nodegroup/payroll/gpu/1"),
    ):
        arn = f"arn:aws:eks:us-east-1:{ACCOUNT}"
        assert policies.allow(action, f"{arn}:{ours}")
        assert not policies.allow(action, f"{arn}:{foreign}")
    assert policies.allow("autoscaling:DeleteAutoScalingGroup", f"{group}/eks-gpu-e2e-system-1")
    assert not policies.allow("autoscaling:DeleteAutoScalingGroup", f"{group}/payroll")
    assert policies.allow("s3:DeleteBucket", "arn:aws:s3:::gpu-e2e-artifacts-1")
    assert not policies.allow("s3:DeleteBucket", "arn:aws:s3:::payroll")
    assert not policies.allow("s3:GetObject", "arn:aws:s3:::payroll/salaries.csv")


def test_conditions_use_operators_that_these_tests_know(policies: Policies) -> None:
    used = {operator for one in policies.statements() for operator, _, _ in conditions(one)}
    assert used == {"StringEquals", "ArnEquals", "ArnLike", "StringLikeIfExists"}


def test_the_boundary_lets_no_role_touch_iam_or_leave_the_region(deployer: dict[str, Any]) -> None:
    made = deployer["planned_values"]["root_module"]["resources"]
    text = next(one["values"]["policy"] for one in made if one["name"] == "boundary")
    boundary = Policies({"boundary": json.loads(text)})
    here = {"aws:RequestedRegion": "us-east-1"}
    for action in ("iam:PutRolePolicy", "iam:CreateRole", "iam:PassRole", "sts:AssumeRole"):
        assert not boundary.allow(action, OWN_ROLE, here)
    assert boundary.allow("s3:GetObject", "arn:aws:s3:::gpu-e2e-artifacts-1/models/m", here)
    assert not boundary.allow("ec2:RunInstances", "*", {"aws:RequestedRegion": "eu-west-1"})


def test_each_reason_is_about_something_granted(policies: Policies) -> None:
    reasons = yaml.safe_load((BOOTSTRAP / "reasons.yaml").read_text())
    granted = policies.actions() | {action.partition(":")[0] for action in policies.actions()}
    assert set(reasons) <= granted
    assert all(len(reason) > 20 for reason in reasons.values())
