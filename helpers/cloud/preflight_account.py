"""Checks of the account itself: its plan, the caller's address, roles, alerts, state."""

from collections.abc import Iterator

from botocore.exceptions import ClientError

from helpers.cloud import caller
from helpers.cloud.account import asking
from helpers.cloud.question import Question
from helpers.cloud.readiness import Finding, Verdict
from helpers.errors import Problem

FREE_TIER_REGION = "us-east-1"
# Service → its linked role, and whether the GPU nodes fail without it. The group would try to
# make the spot role itself, and fails where its own role may not: after the cluster is paid for.
LINKED_ROLES = {
    "spot.amazonaws.com": ("AWSServiceRoleForEC2Spot", True),
    "autoscaling.amazonaws.com": ("AWSServiceRoleForAutoScaling", False),
    "eks.amazonaws.com": ("AWSServiceRoleForAmazonEKS", False),
    "eks-nodegroup.amazonaws.com": ("AWSServiceRoleForAmazonEKSNodegroup", False),
    "elasticloadbalancing.amazonaws.com": ("AWSServiceRoleForElasticLoadBalancing", False),
}


def free_plan(question: Question) -> Iterator[Finding]:
    """A free-plan account may not start GPU instances."""
    with asking("the account's plan"):
        client = question.account.client("freetier", FREE_TIER_REGION)
        plan = client.get_account_plan_state()["accountPlanType"]
    free = plan == "FREE"
    yield Finding(
        name="plan",
        title="Account plan",
        found="free plan: it refuses GPU instance types" if free else "paid plan",
        verdict=Verdict.BLOCKS if free else Verdict.OK,
        command="aws freetier upgrade-account-plan --account-plan-type PAID"
        if free
        else "aws freetier get-account-plan-state",
    )


def caller_address(question: Question) -> Iterator[Finding]:
    """The address for which the cluster's API is opened."""
    chosen = question.chosen.api_cidr
    if chosen:
        found = f"the API will be open to {chosen}, as the profile says"
    else:
        address = caller.address(question.run, question.account, anew=True)
        label = f"{address} (emulated)" if question.account.emulated else caller.shown(address)
        found = f"the API will be open to {label} alone"
    yield Finding(
        name="caller",
        title="This machine's address",
        found=found,
        verdict=Verdict.OK,
        command=f"curl {caller.SERVICE}",
    )


def linked_roles(question: Question) -> Iterator[Finding]:
    """The roles that services take on their own, of which a new account has none."""
    pages = question.account.client("iam").get_paginator("list_roles")
    with asking("the service-linked roles"):
        there = {
            one["RoleName"]
            for page in pages.paginate(PathPrefix="/aws-service-role/")
            for one in page["Roles"]
        }
    for service, (role, needed) in LINKED_ROLES.items():
        exists = role in there
        absent = "missing: spot nodes would not start" if needed else "missing: made at first use"
        bad = Verdict.BLOCKS if needed else Verdict.WARN
        yield Finding(
            name=f"role-{service.partition('.')[0]}",
            title=f"Service-linked role {role}",
            found="there" if exists else absent,
            verdict=Verdict.OK if exists else bad,
            command=f"aws iam get-role --role-name {role}"
            if exists
            else f"aws iam create-service-linked-role --aws-service-name {service}",
        )


def alerts(question: Question) -> Iterator[Finding]:
    """Whether anybody is told about budget and alarm."""
    told, limit = question.chosen.alert_email, question.chosen.budget_usd
    found = f"budget and alarm at ${limit:g} a month will be made in stage 01"
    again = f"workbook run --profile {question.run.profile.name}"
    yield Finding(
        name="alerts",
        title="Budget and alarm",
        found=f"{found}; {'an e-mail address is told' if told else 'nobody is told'}",
        verdict=Verdict.OK if told else Verdict.WARN,
        command="Confirm AWS's e-mail 'Subscription Confirmation' after stage 01."
        if told
        else f"{again} -p infrastructure.alert_email=you@example.org",
    )


def state_bucket(question: Question) -> Iterator[Finding]:
    """Where Terraform's state lies, and whether that place is there."""
    bucket = question.chosen.state_bucket
    command, found, verdict = "ls outputs", "in the run's folder, on this machine", Verdict.OK
    if bucket:
        command = f"aws s3api get-bucket-versioning --bucket {bucket}"
        found = f"in the S3 bucket {bucket}, locked while it is used"
        with asking(f"the state's bucket {bucket}"):
            try:
                question.account.client("s3").head_bucket(Bucket=bucket)
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
                    raise
                raise Problem(
                    f"The state's bucket {bucket} does not exist.",
                    f"aws s3 mb s3://{bucket} --region {question.region}",
                ) from error
    yield Finding(
        name="state", title="Terraform's state", found=found, verdict=verdict, command=command
    )
