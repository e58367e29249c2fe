"""IAM: what an account has before anything is made in it: linked roles, AWS's own policies."""

import json
from typing import Any

from moto.iam.responses import IamResponse as IAMResponse
from moto.sts.responses import TokenResponse

from helpers.rehearsal.moto_extension import ACCOUNT_ID, Call, Operations, add
from helpers.rehearsal.world import WORLD

GLOBAL = "aws"
# docs.aws.amazon.com/IAM/latest/UserGuide/reference_aws-services-that-work-with-iam.html
ROLE_NAMES = {
    "spot": "AWSServiceRoleForEC2Spot",
    "autoscaling": "AWSServiceRoleForAutoScaling",
    "eks": "AWSServiceRoleForAmazonEKS",
    "eks-nodegroup": "AWSServiceRoleForAmazonEKSNodegroup",
    "elasticloadbalancing": "AWSServiceRoleForElasticLoadBalancing",
}


def with_linked_roles(call: Call) -> None:
    """Moto answers, once the roles are there."""
    _ensure(call)


def list_instance_profile_tags(call: Call) -> dict[str, Any]:
    """Moto keeps these tags, and has no operation that lists them."""
    name = call.params["InstanceProfileName"]
    profile = call.backend("iam", GLOBAL).get_instance_profile(name)
    return {"Tags": profile.tags, "IsTruncated": False}


def _ensure(call: Call) -> None:
    """Make the world's roles, once in the life of moto's memory: they may be deleted later."""
    backend = call.backend("iam", GLOBAL)
    if not hasattr(backend, "has_linked_roles"):
        backend.has_linked_roles = True
        for service in WORLD.service_linked_roles:
            _make(call, service)


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


def get_caller_identity(call: Call) -> dict[str, Any] | None:
    """The world's caller; moto knows the keys of assumed roles."""
    if call.backend("sts", GLOBAL).get_assumed_role_from_access_key(call.key):
        return None
    return {"UserId": "AIDAEXAMPLEUSERID0000", "Account": ACCOUNT_ID, "Arn": WORLD.caller}


OPERATIONS: Operations = {
    "ListInstanceProfileTags": list_instance_profile_tags,
    "GetRole": with_linked_roles,
    "ListRoles": with_linked_roles,
}


def install() -> None:
    """Add the operations to moto."""
    add(IAMResponse, OPERATIONS)
    add(TokenResponse, {"GetCallerIdentity": get_caller_identity})
