"""The emulator of a run: one account for all its stages, on this machine alone."""

from importlib import metadata
from pathlib import Path

import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from helpers import processes
from helpers.errors import Problem
from helpers.paths import ROOT
from helpers.profile import Profile
from helpers.rehearsal import emulator, moto_extension
from helpers.run import Run
from tests.emulated import Emulator

from .test_registry import listens_on


def test_a_run_has_one_account_that_ends_with_it(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # nothing of the user's settings reaches the emulator
    monkeypatch.setenv("AWS_PROFILE", "nobody-has-this-profile")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    account = emulator.account(run)
    monkeypatch.undo()
    assert account.emulated
    account.client("s3").create_bucket(Bucket="gpu-e2e-models")
    again = emulator.account(run)
    assert again == account
    (bucket,) = again.client("s3").list_buckets()["Buckets"]
    assert bucket["Name"] == "gpu-e2e-models"
    service = processes.find(run, emulator.NAME)
    assert service is not None
    assert listens_on(service) == {"127.0.0.1"}
    processes.down(run)
    assert not service.running
    assert capsys.readouterr().out == ""
    assert emulator.account(run).client("s3").list_buckets()["Buckets"] == []
    assert "a new one starts with an empty account" in capsys.readouterr().out


def test_on_aws_the_account_is_the_users_own(tmp_path: Path) -> None:
    run = Run.create(Profile.load_named("aws"), tmp_path)
    account = emulator.account(run)
    assert not account.emulated
    assert processes.recorded(run) == []


def test_another_moto_than_the_pinned_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: "5.3.0")
    says = r"moto 5\.3\.0 is installed.*internals of 5\.2\.5.*make setup"
    with pytest.raises(Problem, match=says):
        moto_extension.install.__wrapped__()
    assert f"moto=={moto_extension.MOTO}" in (ROOT / "requirements.txt").read_text().split()


def test_a_bucket_that_demands_tls_takes_objects_all_the_same(server: Emulator) -> None:
    s3 = server.account.client("s3")
    s3.create_bucket(Bucket="gpu-e2e-models")
    statement = (
        '{"Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*", '
        '"Condition": {"Bool": {"aws:SecureTransport": "false"}}}]}'
    )
    s3.put_bucket_policy(Bucket="gpu-e2e-models", Policy=statement)
    s3.put_object(Bucket="gpu-e2e-models", Key="models/a", Body=b"weights")
    assert s3.get_object(Bucket="gpu-e2e-models", Key="models/a")["Body"].read() == b"weights"
    assert s3.get_bucket_policy(Bucket="gpu-e2e-models")["Policy"] == statement


@pytest.mark.parametrize("chunked", [False, True])
def test_an_object_arrives_whole_however_it_is_sent(server: Emulator, chunked: bool) -> None:
    s3 = server.account.client("s3")
    s3.create_bucket(Bucket="gpu-e2e-models")
    parts = [b"a" * 70_000, b"b" * 70_000]
    url = f"{server.account.endpoint}/gpu-e2e-models/models/weights"
    request = AWSRequest("PUT", url, headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
    SigV4Auth(Credentials("emulated", "emulated"), "s3", "us-east-1").add_auth(request)
    body = iter(parts) if chunked else b"".join(parts)
    requests.put(url, data=body, headers=dict(request.headers), timeout=10).raise_for_status()
    stored = s3.get_object(Bucket="gpu-e2e-models", Key="models/weights")["Body"].read()
    assert stored == b"".join(parts)
