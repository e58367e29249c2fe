"""IAM: the service-linked roles that an account has before anything is made in it."""

import json
from typing import Any

from helpers.rehearsal.double.call import Call, Operations, Refusal

GLOBAL = "aws"
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
    "CreateServiceLinkedRole": create_service_linked_role,
    "DeleteServiceLinkedRole": with_linked_roles,
    "GetRole": with_linked_roles,
    "ListRoles": with_linked_roles,
}
