"""Service Quotas: the limits that a GPU cluster meets, applied and default."""

from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

from moto.servicequotas.responses import ServiceQuotasResponse

from helpers.rehearsal.moto_extension import ACCOUNT_ID, Call, Operations, Refusal, add
from helpers.rehearsal.world import WORLD


class Quota(NamedTuple):
    """One limit.

    Attributes:
        service: Service code.
        name: As the console shows it.
        default: What AWS gives a new account.
        applied: What this account has, unless the world says otherwise.
    """

    service: str
    name: str
    default: float
    applied: float


# Codes, names and defaults: docs.aws.amazon.com/general/latest/gr/ec2-service.html and
# docs.aws.amazon.com/general/latest/gr/eks.html. The applied ones let the stack be created.
QUOTAS = {
    "L-3819A6DF": Quota("ec2", "All G and VT Spot Instance Requests", 0, 16),
    "L-DB2E81BA": Quota("ec2", "Running On-Demand G and VT instances", 0, 16),
    "L-1216C47A": Quota("ec2", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
                        5, 64),
    "L-34B43A08": Quota("ec2", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests",
                        5, 64),
    "L-0263D0A3": Quota("ec2", "EC2-VPC Elastic IPs", 5, 5),
    "L-F678F1CE": Quota("vpc", "VPCs per Region", 5, 5),
    "L-FE5A380F": Quota("vpc", "NAT gateways per Availability Zone", 5, 5),
    "L-1194D53C": Quota("eks", "Clusters", 100, 100),
    "L-53DA6B97": Quota("elasticloadbalancing", "Application Load Balancers per Region", 50, 50),
}  # fmt: skip


def get_service_quota(call: Call) -> dict[str, Any]:
    """What this account has."""
    code = _code(call)
    return {"Quota": _quota(call, code, _applied(call, code))}


def request_service_quota_increase(call: Call) -> dict[str, Any]:
    """A request, which stays pending: people decide it."""
    code = _code(call)
    wanted = call.params["DesiredValue"]
    if wanted <= _applied(call, code):
        raise Refusal("IllegalArgumentException", "The value is not above the quota there is.")
    if any(one["QuotaCode"] == code for one in _requests(call)):
        message = "Only one open service quota increase request is allowed per quota."
        raise Refusal("ResourceAlreadyExistsException", message)
    request = {
        "Id": uuid4().hex,
        "ServiceCode": QUOTAS[code].service,
        "QuotaCode": code,
        "QuotaName": QUOTAS[code].name,
        "DesiredValue": wanted,
        "Status": "PENDING",
        "Created": datetime.now(UTC),
        "LastUpdated": datetime.now(UTC),
        "Requester": f'{{"accountId":"{ACCOUNT_ID}","callerArn":"{WORLD.caller}"}}',
        "QuotaArn": _arn(call, code),
        "GlobalQuota": False,
        "Unit": "None",
    }
    _requests(call).append(request)
    return {"RequestedQuota": request}


def list_requested_changes(call: Call) -> dict[str, Any]:
    """The requests there are for one limit."""
    code = _code(call)
    return {"RequestedQuotas": [one for one in _requests(call) if one["QuotaCode"] == code]}


def _code(call: Call) -> str:
    code: str = call.params["QuotaCode"]
    if code not in QUOTAS or QUOTAS[code].service != call.params["ServiceCode"]:
        raise Refusal("NoSuchResourceException", "The request failed because the quota is unknown.")
    return code


def _applied(call: Call, code: str) -> float:
    return WORLD.quotas.get(code, QUOTAS[code].applied)


def _arn(call: Call, code: str) -> str:
    return f"arn:aws:servicequotas:{call.region}:{ACCOUNT_ID}:{QUOTAS[code].service}/{code}"


def _quota(call: Call, code: str, value: float) -> dict[str, Any]:
    return {
        "ServiceCode": QUOTAS[code].service,
        "ServiceName": QUOTAS[code].service,
        "QuotaArn": _arn(call, code),
        "QuotaCode": code,
        "QuotaName": QUOTAS[code].name,
        "Value": float(value),
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }


def _requests(call: Call) -> list[dict[str, Any]]:
    backend = call.backend("service-quotas")
    if not hasattr(backend, "requests"):
        backend.requests = []
    requests: list[dict[str, Any]] = backend.requests
    return requests


OPERATIONS: Operations = {
    "GetServiceQuota": get_service_quota,
    "RequestServiceQuotaIncrease": request_service_quota_increase,
    "ListRequestedServiceQuotaChangeHistoryByQuota": list_requested_changes,
}


def install() -> None:
    """Add the operations to moto."""
    add(ServiceQuotasResponse, OPERATIONS)
