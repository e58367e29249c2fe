"""What nothing answers is refused by name, and an error of moto stays that error."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.emulated import Emulated, Emulator

UNKNOWN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a service that moto lacks": ("pricing", "get_products", {"ServiceCode": "AmazonEC2"}),
    "an operation that moto lacks": ("eks", "describe_addon_versions", {}),
    "an operation of the query protocol": ("ec2", "describe_placement_groups", {}),
    "an operation of SNS": ("sns", "get_data_protection_policy", {"ResourceArn": "arn:aws:sns"}),
    "an operation of IAM": ("iam", "list_mfa_device_tags", {"SerialNumber": "arn:aws:iam::0:mfa"}),
}


@pytest.fixture(params=["in this process", "behind a server"])
def account(request: pytest.FixtureRequest) -> Iterator[Any]:
    fixture = "aws" if request.param == "in this process" else "server"
    yield request.getfixturevalue(fixture).account


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_is_not_known_is_refused_by_name(account: Any, case: str) -> None:
    service, operation, arguments = UNKNOWN[case]
    with pytest.raises(ClientError) as refused:
        getattr(account.client(service), operation)(**arguments)
    error = refused.value.response["Error"]
    assert error["Code"] == "NotEmulated"
    assert "does not answer" in error["Message"]


def test_a_request_of_no_known_operation_is_refused_too(server: Emulator) -> None:
    """As a program would send it that knows a newer AWS than botocore does."""
    for service, query in (("moonbase", "Action=Launch"), ("eks", "")):
        url = f"{server.account.endpoint}/new/things?{query}"
        request = AWSRequest("GET", url)
        SigV4Auth(Credentials("emulated", "emulated"), service, "us-east-1").add_auth(request)
        answer = requests.get(url, headers=dict(request.headers), timeout=10)
        assert (answer.status_code, answer.json()["__type"]) == (501, "NotEmulated")


def test_the_payer_of_a_missing_bucket_is_an_error(aws: Emulated) -> None:
    with pytest.raises(ClientError, match="NoSuchBucket"):
        aws.account.client("s3").get_bucket_request_payment(Bucket="nobody-has-this")


def test_an_error_of_moto_reaches_the_caller_as_that_error(account: Any) -> None:
    logs, group = account.client("logs"), {"logGroupName": "gpu-e2e"}
    logs.create_log_group(**group)
    with pytest.raises(ClientError, match="ResourceAlreadyExists"):
        logs.create_log_group(**group)
