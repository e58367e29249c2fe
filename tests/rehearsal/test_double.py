"""Each operation that the double adds answers as botocore's model of it says."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from helpers.rehearsal.double import gate, table, wire
from moto.core.utils import get_service_model

from tests import emulated
from tests.emulated import Emulator

from .conformance import complaints
from .examples import EXAMPLES, POLICY

ADDED = {(service, name) for service, added in table.TABLE.items() for name in added}


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was wrong with the double's answers so far."""
    found: list[str] = []

    def serialise(asked: wire.Asked, result: Any) -> wire.Answer:
        answer = wire.serialise(asked, result)
        found.extend(complaints(asked, result, answer))
        return answer

    monkeypatch.setattr(gate, "serialise", serialise)
    return found


@pytest.mark.parametrize("service", sorted(EXAMPLES))
def test_every_answer_fits_the_model_and_every_addition_is_tried(
    service: str, aws: emulated.Emulated, wrong: list[str]
) -> None:
    EXAMPLES[service](aws.account)
    assert wrong == []
    tried = {call.action for call in aws.calls}
    assert {name for of, name in ADDED if of == service} <= tried


def test_every_service_with_additions_has_an_example() -> None:
    assert EXAMPLES.keys() == table.TABLE.keys()


@pytest.mark.parametrize(("service", "operation"), sorted(ADDED))
def test_an_addition_is_an_operation_of_the_service(service: str, operation: str) -> None:
    assert operation in get_service_model(service).operation_names


FLAWS: dict[str, tuple[dict[str, Any], str]] = {
    "a member that there is not": ({"Quota": {"Limit": 16.0}}, ".Limit is not in the model"),
    "another type": ({"Quota": {"Value": "16"}}, ".Value is '16', no double"),
    "a value that there is not": (
        {"Quota": {"QuotaAppliedAtLevel": "MOON"}},
        ".QuotaAppliedAtLevel is 'MOON', none of ACCOUNT, RESOURCE, ALL",
    ),
}


@pytest.mark.parametrize("flaw", sorted(FLAWS))
def test_the_check_of_answers_sees(
    flaw: str, aws: emulated.Emulated, wrong: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result, complaint = FLAWS[flaw]
    monkeypatch.setattr(table, "find", lambda service, operation: lambda call: result)
    quotas = aws.account.client("service-quotas")
    quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-3819A6DF")
    assert wrong == [f"service-quotas:GetServiceQuota.Quota{complaint}"]


UNKNOWN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a service that moto lacks": ("pricing", "get_products", {"ServiceCode": "AmazonEC2"}),
    "an operation that moto lacks": ("eks", "describe_addon_versions", {}),
    "an operation of the query protocol": ("ec2", "describe_placement_groups", {}),
    "an operation of S3": (
        "s3",
        "list_bucket_metrics_configurations",
        {"Bucket": "gpu-e2e-models"},
    ),
    "an operation of SNS": ("sns", "get_data_protection_policy", {"ResourceArn": "arn:aws:sns"}),
    "an operation of IAM": ("iam", "list_mfa_device_tags", {"SerialNumber": "arn:aws:iam::0:mfa"}),
}


@pytest.fixture(params=["in this process", "behind a server"])
def account(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "in this process":
        yield request.getfixturevalue("aws").account
    else:
        yield request.getfixturevalue("server").account


@pytest.mark.parametrize("case", sorted(UNKNOWN))
def test_what_is_not_known_is_refused_by_name(account: Any, case: str) -> None:
    service, operation, arguments = UNKNOWN[case]
    client = account.client(service)
    with pytest.raises(ClientError) as refused:
        getattr(client, operation)(**arguments)
    error = refused.value.response["Error"]
    assert error["Code"] == "NotEmulated"
    named = client.meta.method_to_api_mapping[operation]
    assert f"does not know {service}:{named}" in error["Message"]


def test_a_request_of_no_known_operation_is_refused_too(server: Emulator) -> None:
    """As a program would send it that knows a newer AWS than botocore does."""
    for service, query in (("moonbase", "Action=Launch"), ("ec2", "Action=Levitate"), ("eks", "")):
        url = f"{server.account.endpoint}/new/things?{query}"
        request = AWSRequest("GET", url)
        SigV4Auth(Credentials("emulated", "emulated"), service, "us-east-1").add_auth(request)
        answer = requests.get(url, headers=dict(request.headers), timeout=10)
        assert (answer.status_code, answer.json()["__type"]) == (501, "NotEmulated")


def test_who_pays_for_a_bucket_that_there_is_not_is_an_error(aws: emulated.Emulated) -> None:
    with pytest.raises(ClientError, match="NoSuchBucket"):
        aws.account.client("s3").get_bucket_request_payment(Bucket="nobody-has-this")


def test_a_policy_that_a_role_has_is_not_deleted(aws: emulated.Emulated) -> None:
    iam = aws.account.client("iam")
    iam.create_role(RoleName="gpu-e2e-node", AssumeRolePolicyDocument="{}")
    arn = iam.create_policy(PolicyName="gpu-e2e-own", PolicyDocument=POLICY)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="gpu-e2e-node", PolicyArn=arn)
    with pytest.raises(ClientError, match="DeleteConflict"):
        iam.delete_policy(PolicyArn=arn)
    iam.detach_role_policy(RoleName="gpu-e2e-node", PolicyArn=arn)
    iam.delete_policy(PolicyArn=arn)
    assert iam.list_policies(Scope="Local")["Policies"] == []


def test_an_error_of_moto_reaches_the_caller_as_that_error(account: Any) -> None:
    EXAMPLES["budgets"](account)
    with pytest.raises(ClientError, match="DuplicateRecord"):
        EXAMPLES["budgets"](account)
