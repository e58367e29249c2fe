"""An image goes to ECR once: built, pushed with a login that is forgotten again, read back."""

import base64
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from helpers.cloud.account import Account
from helpers.cloud.stack import Stack
from helpers.errors import Problem
from helpers.serving import builders, ecr

DIGEST = "sha256:" + "a" * 64
DOCKER = """#!/bin/sh
echo "$@" >> {folder}/asked
case "$1" in push) touch {folder}/pushed; echo "t: digest: {told} size: 1";; esac
"""


class Registry:
    """ECR, which has the image once docker has pushed it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def client(self, _: str) -> "Registry":
        return self

    def describe_images(self, **_: Any) -> dict[str, Any]:
        if not (self.folder / "pushed").exists():
            error = {"Error": {"Code": "ImageNotFoundException", "Message": ""}}
            raise ClientError(error, "DescribeImages")
        return {"imageDetails": [{"imageDigest": DIGEST}]}

    def get_authorization_token(self) -> dict[str, Any]:
        token = base64.b64encode(b"AWS:secret-word").decode()
        return {"authorizationData": [{"authorizationToken": token}]}


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    program = tmp_path / "docker"
    program.write_text(DOCKER.format(folder=tmp_path, told=DIGEST))
    program.chmod(0o755)
    monkeypatch.setattr(builders, "working", lambda: builders.Builder("docker", program))
    return Registry(tmp_path)


def push(registry: Registry) -> ecr.Pushed:
    stack = Stack.model_construct(ecr_repository_name="n/t", ecr_repository_url="r.example/n/t")
    account = cast(Account, registry)
    return ecr.push(stack, account, "tag", Path("Dockerfile"), lambda: registry.folder)


def test_what_is_not_there_is_built_pushed_and_read_back(registry: Registry) -> None:
    found = push(registry)
    assert (found.reference, found.by) == (f"r.example/n/t@{DIGEST}", "docker")
    assert found.agrees
    asked = (registry.folder / "asked").read_text().splitlines()
    assert [line.split()[0] for line in asked] == ["build", "login", "push", "logout"]
    assert "secret-word" not in "".join(asked)


def test_what_is_there_is_left_alone(registry: Registry) -> None:
    (registry.folder / "pushed").touch()
    found = push(registry)
    assert found.agrees and not found.by and not (registry.folder / "asked").exists()


def test_another_digest_than_the_pushed_one_is_not_agreed(registry: Registry) -> None:
    text = DOCKER.format(folder=registry.folder, told="sha256:" + "b" * 64)
    (registry.folder / "docker").write_text(text)
    assert not push(registry).agrees


def test_without_a_builder_the_way_is_told(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builders, "working", lambda: None)
    with pytest.raises(Problem, match="Start Docker, or install podman or buildah"):
        push(registry)
