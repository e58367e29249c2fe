"""The deployer's policies: narrow, closed against widening, and small enough for IAM."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from moto.iam.responses import IamResponse

from helpers import promises
from helpers.cloud import guardrails, preflight
from helpers.cloud.guardrails import BLOCKS, OK, WARN, ReadinessFinding
from helpers.profile import Profile
from helpers.promises import FAILED, NOT_RUN, VERIFIED
from helpers.rehearsal import moto_extension
from helpers.rehearsal.moto_extension import Call
from helpers.run import Run
from tests import emulated
from tests.infra.iam import Policies, many

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


FOREIGN = {"aws:ResourceTag/project": "payroll", "aws:RequestTag/project": "gpu-e2e"}
TAGGED = HERE | {"aws:RequestTag/project": "gpu-e2e"}
TEMPLATE = {"ec2:LaunchTemplate": f"{EC2}:launch-template/lt-1"}
SMALL, LARGE = ({"ec2:InstanceType": name} for name in ("g4dn.xlarge", "p5.48xlarge"))
TO_EC2, TO_SCHEDULER, TO_LAMBDA = (
    {"iam:PassedToService": f"{name}.amazonaws.com"} for name in ("ec2", "scheduler", "lambda")
)
KNOWN, ADMIN = (
    {"iam:PolicyARN": f"arn:aws:iam::aws:policy/{name}"}
    for name in ("AmazonEKSWorkerNodePolicy", "AdministratorAccess")
)
OTHER_BOUNDARY = {"iam:PermissionsBoundary": ADMIN["iam:PolicyARN"]}
ITSELF, FOREIGN_ROLE = (f"{IAM}:role/{name}" for name in ("bootstrap/gpu-e2e-deployer", "admin"))
Request = tuple[str, dict[str, str]]  # a resource and the values of condition keys

# actions → what they are allowed on, and what they are refused on
REQUESTS: list[tuple[str, list[Request], list[Request]]] = [
    # roles are made inside the boundary only
    ("iam:CreateRole iam:PutRolePolicy",
     [(OWN_ROLE, BOUNDARY)], [(OWN_ROLE, {}), (OWN_ROLE, OTHER_BOUNDARY)]),
    # neither itself nor a foreign role can be changed
    ("iam:PutRolePolicy iam:UpdateAssumeRolePolicy iam:DeleteRole iam:PassRole",
     [(OWN_ROLE, BOUNDARY | TO_EC2)],
     [(ITSELF, BOUNDARY | TO_EC2), (FOREIGN_ROLE, BOUNDARY | TO_EC2)]),
    # known policies are attached, and roles handed to known services only
    ("iam:AttachRolePolicy", [(OWN_ROLE, KNOWN)], [(OWN_ROLE, ADMIN | BOUNDARY)]),
    ("iam:PassRole", [(OWN_ROLE, TO_EC2), (OWN_ROLE, TO_SCHEDULER)], [(OWN_ROLE, TO_LAMBDA)]),
    # only what carries the project's tag is changed
    *((action, [(f"{EC2}:{kind}/x", OURS)], [(f"{EC2}:{kind}/x", FOREIGN), (f"{EC2}:{kind}/x", {})])
      for action, kind in {
          "ec2:DeleteVpc ec2:CreateTags": "vpc", "ec2:TerminateInstances": "instance",
          "ec2:DeleteVolume": "volume", "ec2:ReleaseAddress": "elastic-ip",
          "ec2:DeleteSecurityGroup": "security-group",
      }.items()),
    # what the cluster leaves behind has its name only
    *((action, [(f"{EC2}:{kind}/x", {tag: "gpu-e2e"})], [(f"{EC2}:{kind}/x", {tag: "payroll"})])
      for action, kind, tag in [
          ("ec2:DeleteNetworkInterface", "network-interface",
           "aws:ResourceTag/cluster.k8s.amazonaws.com/name"),
          ("ec2:DeleteSecurityGroup", "security-group", "aws:ResourceTag/aws:eks:cluster-name"),
      ]),
    # only what gets the project's tag is made
    ("ec2:CreateVpc", [(f"{EC2}:vpc/x", TAGGED)], [(f"{EC2}:vpc/x", HERE)]),
    ("eks:CreateCluster acm:ImportCertificate", [("*", TAGGED)], [("*", HERE)]),
    # instances are launched by template, and of few types
    ("ec2:RunInstances", [(f"{EC2}:instance/*", TEMPLATE | SMALL)],
     [(f"{EC2}:instance/*", TEMPLATE | LARGE), (f"{EC2}:instance/*", SMALL)]),
    # foreign names are out of reach
    *((action, [(prefix + ours, HERE)], [(prefix + foreign, HERE)])
      for action, prefix, ours, foreign in [
          ("eks:DeleteCluster", f"{EKS}:cluster/", "gpu-e2e", "payroll"),
          ("eks:DeleteNodegroup", f"{EKS}:nodegroup/", "gpu-e2e/gpu-e2e-gpu/1", "payroll/gpu/1"),
          ("autoscaling:DeleteAutoScalingGroup", f"{GROUP}/", "eks-gpu-e2e-system-1", "payroll"),
          ("s3:DeleteBucket", "arn:aws:s3:::", "gpu-e2e-artifacts-1", "payroll"),
          ("s3:GetObject", "arn:aws:s3:::", "gpu-e2e-artifacts-1/m", "payroll/salaries.csv"),
      ]),
]  # fmt: skip


@pytest.mark.parametrize(("actions", "allowed", "refused"), REQUESTS)
def test_an_action_is_allowed_on_what_is_ours_and_refused_on_all_else(
    policies: Policies, actions: str, allowed: list[Request], refused: list[Request]
) -> None:
    for action in actions.split():
        assert all(policies.allow(action, on, context) for on, context in allowed)
        assert not any(policies.allow(action, on, context) for on, context in refused)


def test_the_boundary_lets_no_role_touch_iam_or_leave_the_region(deployer: dict[str, Any]) -> None:
    made = deployer["planned_values"]["root_module"]["resources"]
    text = next(each["values"]["policy"] for each in made if each["name"] == "boundary")
    boundary = Policies((json.loads(text),))
    for action in ("iam:PutRolePolicy", "iam:CreateRole", "iam:PassRole", "sts:AssumeRole"):
        assert not boundary.allow(action, OWN_ROLE, HERE)
    assert boundary.allow("s3:GetObject", "arn:aws:s3:::gpu-e2e-artifacts-1/models/m", HERE)
    assert not boundary.allow("ec2:RunInstances", "*", {"aws:RequestedRegion": "eu-west-1"})


def stage_00(
    policies: Policies, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[ReadinessFinding, promises.Tick]:
    """What stage 00 of a run on AWS finds and claims if its caller has these policies."""

    def simulate(call: Call) -> dict[str, Any]:
        given = call.params
        call.backend("iam", "aws").get_role_by_arn(given["PolicySourceArn"])  # or it is refused
        context = {each["ContextKeyName"]: each["ContextKeyValues"][0]
                   for each in given["ContextEntries"]}  # fmt: skip
        return {"EvaluationResults": [
            {"EvalActionName": name, "EvalDecision": "allowed"
             if policies.allow(name, given["ResourceArns"][0], context) else "implicitDeny"}
            for name in given["ActionNames"]
        ]}  # fmt: skip

    method = moto_extension._as_method(simulate, None)
    monkeypatch.setattr(IamResponse, "simulate_principal_policy", method, raising=False)
    run = Run.create(Profile.load_named("aws"), folder)
    with emulated.installed() as aws:
        role = {"RoleName": "gpu-e2e-deployer", "AssumeRolePolicyDocument": "{}"}
        aws.account.client("iam").create_role(Path="/bootstrap/", **role)
        aws.world.caller = f"arn:aws:sts::{ACCOUNT}:assumed-role/gpu-e2e-deployer/session"
        report = preflight.examine(run, aws.account, ("g4dn.xlarge",), ["privilege"])
    guardrails.tick_role(run, report)
    return report.about("privilege")[0], promises.ticks(run)[promises.BY_ID["00.iam"]]


def test_stage_00_verifies_that_the_deployer_suffices_and_may_no_more(
    policies: Policies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, tick = stage_00(policies, tmp_path, monkeypatch)
    assert (found.verdict, tick.status) == (OK, VERIFIED), found.found
    everything = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    found, tick = stage_00(Policies((everything,)), tmp_path, monkeypatch)
    assert (found.verdict, tick.status) == (WARN, NOT_RUN)
    assert "too much: iam:CreateAccessKey" in found.found


@pytest.mark.parametrize(
    "action", ["ec2:DeleteVpc", "ec2:CreateSubnet", "iam:PassRole", "s3:PutObject"]
)
def test_stage_00_names_the_permission_that_the_deployer_lacks(
    action: str, policies: Policies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = [each | {"Action": [name for name in many(each["Action"]) if name != action]}
            for each in policies.statements()]  # fmt: skip
    found, tick = stage_00(Policies(({"Statement": kept},)), tmp_path, monkeypatch)
    assert (found.verdict, tick.status) == (BLOCKS, FAILED)
    assert found.found == f"IAM denies {action}"
