"""An image in the stack's own registry: built and pushed, unless it is there already."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from helpers.cloud.account import Account, asking
from helpers.cloud.stack import Stack
from helpers.errors import Problem
from helpers.serving import builders
from helpers.serving.builders import Builder

UNKNOWN = ("ImageNotFoundException", "ScanNotFoundException")


@dataclass(frozen=True)
class Pushed:
    """An image in ECR.

    Attributes:
        reference: `registry/repository@sha256:…`.
        digest: As ECR has it.
        told: As the push told it; empty where nothing had to be pushed.
        by: What built it; empty where nothing had to be built.
    """

    reference: str
    digest: str
    told: str = ""
    by: str = ""

    @property
    def agrees(self) -> bool:
        """Whether ECR has what was pushed."""
        return bool(self.digest) and self.told in ("", self.digest)


def push(
    stack: Stack, account: Account, tag: str, dockerfile: Path, context: Callable[[], Path]
) -> Pushed:
    """Build an image and push it; a tag that is there already is left alone, as none is moved.

    Args:
        stack: Whose registry.
        account: Where it is.
        tag: Of the image's content.
        dockerfile: What is built.
        context: Makes the folder that it copies from; asked where something is built.

    Raises:
        Problem: Nothing here can build, or the build, the login or the push failed.
    """
    client, repository = account.client("ecr"), stack.ecr_repository_name
    told, by, found = "", "", _digest(client, repository, tag)
    if not found:
        builder = _builder()
        try:
            told = _build_and_push(client, stack, builder, tag, dockerfile, context())
            by = builder.name
        except Problem:
            # the tag names the content and cannot move: whoever was quicker has pushed the same
            if not _digest(client, repository, tag):
                raise
        found = _digest(client, repository, tag)
    return Pushed(f"{stack.ecr_repository_url}@{found}", found, told, by)


def _builder() -> Builder:
    found = builders.working()
    if found is None:
        raise Problem(
            "Nothing here can build an image: neither docker nor podman nor buildah answers.",
            "Start Docker, or install podman or buildah, and repeat the stage.",
        )
    return found


def _build_and_push(
    client: Any, stack: Stack, builder: Builder, tag: str, dockerfile: Path, context: Path
) -> str:
    name = f"{stack.ecr_repository_url}:{tag}"
    builder.build(context, dockerfile, name, {})
    with asking("a login for ECR"):
        given = client.get_authorization_token()["authorizationData"][0]
    user, _, password = base64.b64decode(given["authorizationToken"]).decode().partition(":")
    with builder.logged_in(stack.ecr_repository_url.partition("/")[0], user, password):
        return builder.push(name)


def _digest(client: Any, repository: str, tag: str) -> str:
    """The digest that ECR has under a tag; empty where it has none."""
    with asking("the image in ECR"):
        try:
            answer = client.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])
        except ClientError as error:
            if error.response["Error"]["Code"] in UNKNOWN:
                return ""
            raise
    return str(answer["imageDetails"][0]["imageDigest"])
