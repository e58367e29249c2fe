"""Errors of AWS become one sentence with the next step; a rehearsal uses nothing of the user's."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.exceptions import (
    EndpointConnectionError,
    NoCredentialsError,
    SSOTokenLoadError,
    TokenRetrievalError,
)

from helpers.cloud import account
from helpers.cloud.account import Account, asking, credentials_fault, identity, masked
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
    region = {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1"}
    assert Account("eu-west-1").surroundings(theirs) == theirs | region  # on AWS they stay


@pytest.fixture
def login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Sets the user's AWS variables; nothing of this machine's login is read."""

    def log_in(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        account.session.cache_clear()

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    log_in(CONFIG_FILE=str(tmp_path / "config"), EC2_METADATA_DISABLED="true")
    yield log_in
    account.session.cache_clear()


@pytest.mark.parametrize(
    ("ends_in_h", "fault"),
    [(None, "end at an unknown time"), (1, "end in 1.0 h"), (5, "")],
)
def test_temporary_keys_that_nothing_renews_must_last_for_the_run(
    login: Callable[..., None], ends_in_h: float | None, fault: str
) -> None:
    assert credentials_fault(4) == ""  # no credentials at all: the identity says so
    login(ACCESS_KEY_ID="id", SECRET_ACCESS_KEY="key")
    assert credentials_fault(4) == ""  # a user's keys do not end
    login(SESSION_TOKEN="token")
    if ends_in_h:
        end = datetime.now(UTC) + timedelta(hours=ends_in_h, seconds=1)
        login(CREDENTIAL_EXPIRATION=end.isoformat())
    assert fault in credentials_fault(4) and bool(fault) == bool(credentials_fault(4))


def test_an_mfa_code_is_asked_for_once_and_a_role_of_an_hour_is_too_short(
    aws: Emulated, login: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "config").write_text(
        "[profile user]\naws_access_key_id = id\naws_secret_access_key = key\n"
        "[profile deployer]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = user\n"
        "mfa_serial = arn:aws:iam::123456789012:mfa/user\nregion = us-east-1\n"
    )
    login(PROFILE="deployer", ENDPOINT_URL=aws.account.endpoint)
    asked: list[str] = []

    def prompt(text: str) -> str:
        asked.append(text)
        return "123456"

    for _ in range(2):  # two processes: a session each, and one cache
        account.session.cache_clear()
        chain = account.session()._session.get_component("credential_provider")
        chain.get_provider("assume-role")._prompter = prompt
        for service in ("ec2", "eks"):
            Account("us-east-1").client(service)
        assert Account("us-east-1").environment["AWS_SESSION_TOKEN"]
    assert len(asked) == 1
    assert "end in 1.0 h" in credentials_fault(4)
    assert credentials_fault(0.5) == ""
