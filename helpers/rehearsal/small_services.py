"""Small services (budgets, roles, buckets, quotas, …): what moto lacks or has otherwise."""

import functools
import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Any

from moto.budgets.responses import BudgetsResponse
from moto.cloudwatch.responses import CloudWatchResponse
from moto.iam.access_control import PermissionResult
from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.models import AWSManagedPolicy, IAMBackend
from moto.iam.responses import IamResponse as IAMResponse
from moto.s3.models import FakeBucket
from moto.s3.responses import S3Response
from moto.servicequotas.responses import ServiceQuotasResponse
from moto.ssm.responses import SimpleSystemManagerResponse
from moto.sts.responses import TokenResponse

from helpers.rehearsal.moto_extension import ACCOUNT_ID, Call, Refusal, correction, operation
from helpers.rehearsal.world import LINKED_ROLES, QUOTAS, VERSIONS, WORLD

GLOBAL = "aws"
PAYER = (
    '<RequestPaymentConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<Payer>BucketOwner</Payer></RequestPaymentConfiguration>"
)
# docs.aws.amazon.com/eks/latest/userguide/retrieve-ami-id.html
_IMAGE = re.compile(
    r"^/aws/service/eks/optimized-ami/(?P<version>[\d.]+)/amazon-linux-2023"
    r"/(?P<architecture>x86_64|arm64)/(?P<variant>standard|nvidia|neuron)/recommended/image_id$"
)
RELEASE_DAY = "20261101"


@operation(BudgetsResponse)
def create_budget(call: Call) -> dict[str, Any]:
    """Moto makes the budget and forgets its tags."""
    given, budget = call.params, dict(call.params["Budget"])
    if period := budget.get("TimePeriod"):  # moto keeps numbers
        times = {name: at.replace(tzinfo=UTC).timestamp() for name, at in period.items()}
        budget["TimePeriod"] = times
    notifications = given.get("NotificationsWithSubscribers", [])
    call.backend("budgets", GLOBAL).create_budget(given["AccountId"], budget, notifications)
    created = _budget(call, budget["BudgetName"])
    created.tags = given.get("ResourceTags", [])
    return {}


@operation(BudgetsResponse)
def describe_subscribers_for_notification(call: Call) -> dict[str, Any]:
    """Who is notified when a notification's threshold is passed."""

    def identity(notification: Any) -> tuple[Any, ...]:
        kind = notification.get("ThresholdType", "PERCENTAGE")
        names = ("NotificationType", "ComparisonOperator")
        return kind, float(notification["Threshold"]), *(notification[name] for name in names)

    for notification in _budget(call, call.params["BudgetName"]).notifications:
        if identity(notification.details) == identity(call.params["Notification"]):
            return {"Subscribers": notification.subscribers}
    raise Refusal("NotFoundException", "The notification does not exist.")


@operation(BudgetsResponse)
def list_tags_for_resource(call: Call) -> dict[str, Any]:
    """The tags of a budget."""
    name = call.params["ResourceARN"].partition(":budget/")[2]
    return {"ResourceTags": _budget(call, name).tags}


def _budget(call: Call, name: str) -> Any:
    for of_account in call.backend("budgets", GLOBAL).budgets.values():
        if name in of_account:
            return of_account[name]
    raise Refusal("NotFoundException", f"Unable to get budget: {name} - the budget doesn't exist.")


@functools.cache
def _aws_policies() -> dict[str, Any]:
    policies: dict[str, Any] = json.loads(aws_managed_policies_data)
    return {name: policies[name] for name in policies if name.startswith("Amazon")}


@correction(IAMBackend)
def _init_aws_policies(_own: Any, backend: Any) -> list[AWSManagedPolicy]:
    """Moto reads all policies of AWS again for each partition and each account: seconds."""
    if backend.region_name != GLOBAL:
        return []
    return [
        AWSManagedPolicy.from_data(name, backend.account_id, GLOBAL, policy)
        for name, policy in _aws_policies().items()
    ]


@operation(IAMResponse, "get_role", "list_roles")
def with_linked_roles(call: Call) -> None:
    """Make the world's roles, once in the life of moto's memory: they may be deleted later."""
    backend = call.backend("iam", GLOBAL)
    missing = [] if hasattr(backend, "has_linked_roles") else WORLD.service_linked_roles
    backend.has_linked_roles = True
    for service in missing:
        host = f"{service}.amazonaws.com"
        trust = {"Effect": "Allow", "Principal": {"Service": host}, "Action": "sts:AssumeRole"}
        backend.create_role(
            LINKED_ROLES[service],
            json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
            f"/aws-service-role/{host}/",
            permissions_boundary=None,
            description="",
            tags=[],
            max_session_duration="3600",
            linked_service=host,
        )


@operation(IAMResponse)
def list_instance_profile_tags(call: Call) -> dict[str, Any]:
    """Moto keeps these tags, and has no operation that lists them."""
    name = call.params["InstanceProfileName"]
    profile = call.backend("iam", GLOBAL).get_instance_profile(name)
    return {"Tags": profile.tags, "IsTruncated": False}


@operation(TokenResponse)
def get_caller_identity(call: Call) -> dict[str, Any]:
    """The world's caller."""
    return {"UserId": "AIDAEXAMPLEUSERID0000", "Account": ACCOUNT_ID, "Arn": WORLD.caller}


@correction(S3Response)
def _bucket_response_get(own: Any, response: Any, bucket_name: str, querystring: Any) -> Any:
    """Moto answers GetBucketRequestPayment with a listing; the bucket's owner pays."""
    if "requestPayment" in querystring:
        response.backend.get_bucket(bucket_name)  # refuses a bucket that does not exist
        return PAYER
    return own(response, bucket_name, querystring)


@correction(FakeBucket)
def get_permission(own: Any, bucket: Any, action: str, resource: str) -> Any:
    """Skip a policy that demands TLS: moto ignores its condition, so its Deny would always hold."""
    if b"aws:SecureTransport" in (bucket.policy or b""):
        return PermissionResult.NEUTRAL
    return own(bucket, action, resource)


@operation(ServiceQuotasResponse)
def get_service_quota(call: Call) -> dict[str, Any]:
    """What this account has; a limit that was never changed may not be found here."""
    quota, (_, usual, _) = _quota(call)
    value = WORLD.quotas.get(quota["QuotaCode"], usual)
    if value is None:
        raise Refusal("NoSuchResourceException", "The quota has no applied value.")
    return {"Quota": quota | {"Value": value}}


@operation(ServiceQuotasResponse)
def get_aws_default_service_quota(call: Call) -> dict[str, Any]:
    """What every account has at first."""
    quota, (_, _, default) = _quota(call)
    return {"Quota": quota | {"Value": default}}


@operation(ServiceQuotasResponse)
def list_requested_service_quota_change_history_by_quota(call: Call) -> dict[str, Any]:
    """The requests there are for one limit; people decide them, so they stay pending."""
    quota, _ = _quota(call)
    wanted = WORLD.quota_requests.get(quota["QuotaCode"])
    request = quota | {"DesiredValue": wanted, "Status": "PENDING"}
    return {"RequestedQuotas": [request] if wanted else []}


def _quota(call: Call) -> tuple[dict[str, Any], tuple[str, float, float]]:
    service, code = call.params["ServiceCode"], call.params["QuotaCode"]
    if (facts := QUOTAS.get(f"{service}/{code}")) is None:
        raise Refusal("NoSuchResourceException", "The request failed because the quota is unknown.")
    return {"ServiceCode": service, "QuotaCode": code, "QuotaName": facts[0]}, facts


@operation(CloudWatchResponse)
def list_metrics(call: Call) -> dict[str, Any] | None:
    """The account's charges, which AWS publishes itself; every other metric is moto's."""
    if call.params.get("Namespace") != "AWS/Billing":
        return None
    charges = {"Namespace": "AWS/Billing", "MetricName": "EstimatedCharges",
               "Dimensions": [{"Name": "Currency", "Value": "USD"}]}  # fmt: skip
    here = WORLD.billing_alerts and call.region == "us-east-1"
    return {"Metrics": [charges] if here else []}


@operation(SimpleSystemManagerResponse)
def get_parameter(call: Call) -> dict[str, Any] | None:
    """A public parameter that names an image of EKS nodes; every other is moto's."""
    match = _IMAGE.match(call.params["Name"])
    if match is None or match["version"] not in VERSIONS:
        return None
    return {
        "Parameter": {
            "Name": call.params["Name"],
            "Type": "String",
            "Value": image(call.region, **match.groupdict()),
            "Version": 1,
            "LastModifiedDate": datetime(2026, 11, 1, tzinfo=UTC),
            "ARN": f"arn:aws:ssm:{call.region}::parameter{call.params['Name']}",
            "DataType": "text",
        }
    }


def image(region: str, version: str, architecture: str, variant: str) -> str:
    """The image of such a node: the same at each request."""
    text = "/".join((region, version, architecture, variant))
    return f"ami-0{hashlib.sha256(text.encode()).hexdigest()[:16]}"
