"""The emulator's server keeps its head when many ask at once, and when one asks again."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import pytest
from moto.iam.models import IAMBackend
from werkzeug.test import Client, TestResponse

from helpers.rehearsal.server import Application

CREDENTIAL = "AWS4-HMAC-SHA256 Credential=a/20261125/us-east-1/iam/aws4_request, Signature=0"
TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})


@pytest.fixture
def iam() -> Iterator[Client]:
    """An account of its own: what others have made in this process is forgotten."""
    client = Client(Application())
    client.post("/moto-api/reset")
    yield client
    client.post("/moto-api/reset")


def ask(client: Client, action: str, invocation: str, **more: str) -> TestResponse:
    return client.post(
        "/",
        data=urlencode({"Action": action, "Version": "2010-05-08", **more}),
        content_type="application/x-www-form-urlencoded",
        headers={"Authorization": CREDENTIAL, "amz-sdk-invocation-id": invocation},
    )


def create(client: Client, name: str, invocation: str) -> TestResponse:
    return ask(client, "CreateRole", invocation, RoleName=name, AssumeRolePolicyDocument=TRUST)


def test_a_repeated_request_gets_the_same_answer_and_is_not_done_twice(iam: Client) -> None:
    first = create(iam, "one", "the-first")
    lost = create(iam, "one", "the-first")
    assert first.status_code == 200
    assert (lost.status_code, lost.data) == (200, first.data)
    assert lost.headers["x-amzn-RequestId"] == first.headers["x-amzn-RequestId"]
    assert create(iam, "one", "another").status_code == 409


def test_what_was_refused_is_tried_again(iam: Client) -> None:
    assert ask(iam, "GetRole", "patient", RoleName="late").status_code == 404
    create(iam, "late", "meanwhile")
    assert ask(iam, "GetRole", "patient", RoleName="late").status_code == 200


def test_of_many_who_ask_at_once_one_is_in_motos_memory(
    iam: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside: list[str] = []
    most: list[int] = []
    make = IAMBackend.create_role

    def slowly(backend: IAMBackend, name: str, *arguments: Any) -> Any:
        inside.append(name)
        time.sleep(0.01)
        most.append(len(inside))
        inside.remove(name)
        return make(backend, name, *arguments)

    monkeypatch.setattr(IAMBackend, "create_role", slowly)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(create, iam, f"role-{n}", f"make-{n}") for n in range(24)]
        statuses = {answer.result().status_code for answer in asked}
    assert statuses == {200} and max(most) == 1
