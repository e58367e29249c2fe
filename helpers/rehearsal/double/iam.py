"""IAM: what an account has before anything is made in it: linked roles, AWS's own policies."""

import functools
import json
from typing import Any

from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.models import AWSManagedPolicy

from helpers.rehearsal.double.call import Call, Operations, Refusal
from helpers.rehearsal.double.world import ACCOUNT_ID

GLOBAL = "aws"
AWS_POLICIES = "arn:aws:iam::aws:policy/"
# docs.aws.amazon.com/IAM/latest/UserGuide/reference_aws-services-that-work-with-iam.html
ROLE_NAMES = {
    "spot": "AWSServiceRoleForEC2Spot",
    "autoscaling": "AWSServiceRoleForAutoScaling",
    "eks": "AWSServiceRoleForAmazonEKS",
    "eks-nodegroup": "AWSServiceRoleForAmazonEKSNodegroup",
    "elasticloadbalancing": "AWSServiceRoleForElasticLoadBalancing",
}


def create_service_linked_role(call: Call) -> dict[str, Any] | None:
    """AWS names such a role by its service; moto names some otherwise."""
    _ensure(call)
    service = call.params["AWSServiceName"].removesuffix(".amazonaws.com")
    if service not in ROLE_NAMES:
        return None
    if ROLE_NAMES[service] in _names(call):
        message = (
            f"Service role name {ROLE_NAMES[service]} has been taken in this account, "
            "please try a different suffix."
        )
        raise Refusal("InvalidInput", message)
    return {"Role": _make(call, service)}


def with_linked_roles(call: Call) -> None:
    """Moto answers, once the roles are there."""
    _ensure(call)


def list_instance_profile_tags(call: Call) -> dict[str, Any]:
    """Moto keeps these tags, and has no operation that lists them."""
    name = call.params["InstanceProfileName"]
    profile = call.backend("iam", GLOBAL).get_instance_profile(name)
    return {"Tags": profile.tags, "IsTruncated": False}


def with_aws_policy(call: Call) -> None:
    """Moto answers, once it has the policy: to load all 1,500 of AWS's takes it half a second."""
    arn, backend = call.params["PolicyArn"], call.backend("iam", GLOBAL)
    name = arn.rsplit("/", 1)[-1]
    if arn.startswith(AWS_POLICIES) and arn not in backend.managed_policies:
        if name not in _aws_policies():
            return
        policy = AWSManagedPolicy.from_data(name, ACCOUNT_ID, GLOBAL, _aws_policies()[name])
        backend.aws_managed_policies.append(policy)
        backend.managed_policies[policy.arn] = policy


def delete_policy(call: Call) -> None:
    """Moto deletes a policy also where it is attached; AWS does not."""
    policy = call.backend("iam", GLOBAL).managed_policies.get(call.params["PolicyArn"])
    if policy is not None and policy.attachment_count:
        message = "Cannot delete a policy attached to entities."
        raise Refusal("DeleteConflict", message, 409)


@functools.cache
def _aws_policies() -> dict[str, Any]:
    policies: dict[str, Any] = json.loads(aws_managed_policies_data)
    return policies


def _ensure(call: Call) -> None:
    """Make the world's roles, once in the life of moto's memory: they may be deleted later."""
    backend = call.backend("iam", GLOBAL)
    if not hasattr(backend, "has_linked_roles"):
        backend.has_linked_roles = True
        for service in call.world.service_linked_roles:
            _make(call, service)


def _names(call: Call) -> list[str]:
    return [role.name for role in call.backend("iam", GLOBAL).get_roles()]


def _make(call: Call, service: str) -> Any:
    host = f"{service}.amazonaws.com"
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": host},
        "Action": "sts:AssumeRole",
    }
    return call.backend("iam", GLOBAL).create_role(
        ROLE_NAMES[service],
        json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        f"/aws-service-role/{host}/",
        permissions_boundary=None,
        description="",
        tags=[],
        max_session_duration="3600",
        linked_service=host,
    )


OPERATIONS: Operations = {
    "AttachRolePolicy": with_aws_policy,
    "GetPolicy": with_aws_policy,
    "GetPolicyVersion": with_aws_policy,
    "CreateServiceLinkedRole": create_service_linked_role,
    "DeletePolicy": delete_policy,
    "DeleteServiceLinkedRole": with_linked_roles,
    "ListInstanceProfileTags": list_instance_profile_tags,
    "GetRole": with_linked_roles,
    "ListRoles": with_linked_roles,
}
