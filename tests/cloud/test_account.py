"""Errors of AWS become one sentence with the next step; a rehearsal uses nothing of the user's."""

import os

import pytest
from botocore.exceptions import (
    EndpointConnectionError,
    NoCredentialsError,
    SSOTokenLoadError,
    TokenRetrievalError,
)

from helpers.cloud.account import Account, asking, identity, masked
from helpers.errors import Problem, Unavailable
from tests import emulated
from tests.emulated import Emulated, Fault

# one of each protocol
EASY = {"iam": "list_users", "eks": "list_clusters", "s3": "list_buckets"}


@pytest.mark.parametrize(
    ("fault", "problem", "next_step"),
    [
        ({"kind": "expired"}, "credentials have expired", "aws sso login"),
        ({"kind": "denied"}, "AWS denies", "deployer role"),
        ({"kind": "throttled"}, "AWS throttles", "Wait a minute"),
        ({"kind": "error", "code": "VcpuLimitExceeded", "message": "You have 0 vCPUs"},
         "0 vCPUs", "00-setup"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_sentence_with_the_next_step(
    fault: dict[str, str], problem: str, next_step: str, aws: Emulated
) -> None:
    aws.faults.add(Fault.model_validate(fault))
    for service, call in EASY.items():
        with pytest.raises(Problem) as caught, asking(f"{service} things"):
            getattr(aws.account.client(service), call)()
        assert problem in caught.value.what and f"{service} things" in caught.value.what
        assert next_step in caught.value.next_step


def test_a_passing_throttle_is_sat_out_and_the_accounts_number_not_shown(aws: Emulated) -> None:
    aws.faults.add(Fault(kind="throttled", times=3))
    who = identity(aws.account)
    assert who.account_id == emulated.ACCOUNT_ID
    assert emulated.ACCOUNT_ID not in who.shown


@pytest.mark.parametrize(
    ("error", "problem", "next_step"),
    [
        (NoCredentialsError(), "no AWS credentials", "aws configure sso"),
        (SSOTokenLoadError(error_msg="gone"), "login is not valid", "aws sso login"),
        (TokenRetrievalError(provider="sso", error_msg="old"), "login is not valid", "sso login"),
        (EndpointConnectionError(endpoint_url="https://x"), "cannot be reached", "network"),
    ],
)
def test_what_happens_before_aws_is_asked_is_a_sentence_too(
    error: Exception, problem: str, next_step: str
) -> None:
    with pytest.raises(Problem) as caught, asking("the quotas"):
        raise error
    assert problem in caught.value.what and next_step in caught.value.next_step


def test_what_the_emulator_does_not_know_is_unavailable_not_wrong(aws: Emulated) -> None:
    refused = pytest.raises(Unavailable, match="emulator cannot answer for")
    with refused, asking("the account's plan"):
        aws.account.client("freetier").get_account_plan_state()


def test_an_account_id_is_masked_everywhere_once_it_is_known() -> None:
    text = "bucket-210987654321 of arn:aws:s3:::x and 210987654321" + ".dkr.ecr.us-east-1"
    assert "210987654321" in masked(text)
    assert "210987654321" not in masked(text, "210987654321")


def test_no_setting_of_the_user_leads_out_of_a_rehearsal() -> None:
    theirs = {
        "AWS_PROFILE": "production",
        "AWS_ENDPOINT_URL_S3": "https://somewhere.example",
        "AWS_SESSION_TOKEN": "token",
        "PATH": os.environ["PATH"],
    }
    surroundings = Account("eu-west-1", "http://127.0.0.1:1").surroundings(theirs)
    assert surroundings["PATH"] == os.environ["PATH"]
    assert surroundings["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert not {"production", "https://somewhere.example", "token"} & set(surroundings.values())


def test_on_aws_the_users_settings_stay() -> None:
    surroundings = Account("eu-west-1").surroundings({"AWS_PROFILE": "mine"})
    region = {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1"}
    assert surroundings == {"AWS_PROFILE": "mine", **region}
