"""An image in the stack's own ECR repository: built and pushed unless it is there already."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from helpers.cloud.account import Account, asking
from helpers.cloud.stack import Stack
from helpers.cluster import waits
from helpers.cluster.waits import Pace, WaitState
from helpers.errors import Problem
from helpers.run import Run
from helpers.serving import builders, codebuild

NOT_FOUND = ("ImageNotFoundException", "ScanNotFoundException")
SCANNED = ("COMPLETE", "ACTIVE")  # ACTIVE: enhanced scanning, which never ends
NOT_STARTED = "not started"
IN_PROGRESS = (NOT_STARTED, "PENDING", "IN_PROGRESS")  # every other status is final


@dataclass(frozen=True)
class Pushed:
    """An image in ECR."""

    reference: str  # `registry/repository@sha256:…`
    digest: str  # as ECR reports it
    agrees: bool  # whether ECR has the image that was pushed
    builder: str  # empty if nothing was built


def push(
    run: Run, account: Account, tag: str, dockerfile: Path, context: Callable[[], Path]
) -> Pushed:
    """Build an image and push it; an image that ECR has already is neither built nor pushed.

    The tag names the content of the image. `context` creates the build context.
    `serving.image` says whether CodeBuild or this machine builds.
    """
    client, stack = account.client("ecr"), run.load(Stack)
    repository = stack.ecr_repository_name
    digest = _digest(client, repository, tag)
    pushed_digest = built_by = ""
    if not digest:
        name = f"{stack.ecr_repository_url}:{tag}"
        try:
            if run.profile.serving.image == "codebuild":
                pushed_digest = codebuild.build(run, account, name, dockerfile, context())
                built_by = f"CodeBuild project {stack.image_project}"
            else:
                built_by, pushed_digest = _push_from_here(client, name, dockerfile, context)
        except Problem:
            # tags are immutable and name the content: another run may have pushed the same image
            if not _digest(client, repository, tag):
                raise
        digest = _digest(client, repository, tag)
    agrees = bool(digest) and pushed_digest in ("", digest)
    return Pushed(f"{stack.ecr_repository_url}@{digest}", digest, agrees, built_by)


def _push_from_here(
    client: Any, name: str, dockerfile: Path, context: Callable[[], Path]
) -> tuple[str, str]:
    """Build and push with this machine's Docker; returns its name and the digest."""
    builder = builders.need_builder()
    builder.build(context(), dockerfile, name)
    with asking("a login for ECR"):
        answer = client.get_authorization_token()["authorizationData"][0]
    user, _, password = base64.b64decode(answer["authorizationToken"]).decode().partition(":")
    with builder.logged_in(name.partition("/")[0], user, password):
        return builder.name, builder.push(name)


def scan(client: Any, repository: str, digest: str, pace: Pace) -> tuple[str, dict[str, int]]:
    """Wait for ECR's scan of an image; returns one sentence, and findings by severity.

    A late or missing scan is reported, not fatal.
    """
    answer: dict[str, Any] = {}

    def scan_status() -> WaitState:
        nonlocal answer
        ask = client.describe_image_scan_findings
        answer = _found(ask, repositoryName=repository, imageId={"imageDigest": digest})
        status = str(answer.get("imageScanStatus", {}).get("status", NOT_STARTED))
        return WaitState(status not in IN_PROGRESS, status)

    try:
        seen = waits.until("scan of the image", scan_status, lambda: "ECR still scans it.", pace)
    except Problem as late:
        return f"NOT CHECKED: {late}", {}
    if seen.text not in SCANNED:
        reason = answer.get("imageScanStatus", {}).get("description", seen.text)
        return f"NOT CHECKED: ECR cannot scan this image: {reason}", {}
    severities = answer.get("imageScanFindings", {}).get("findingSeverityCounts", {})
    counts = {str(name): int(count) for name, count in severities.items()}
    listed = ", ".join(f"{count} {name.lower()}" for name, count in counts.items())
    return f"scanned by ECR: {listed or 'no findings'}", counts


def _digest(client: Any, repository: str, tag: str) -> str:
    images = [{"imageTag": tag}]
    answer = _found(client.describe_images, repositoryName=repository, imageIds=images)
    return str(answer["imageDetails"][0]["imageDigest"]) if answer else ""


def _found(ask: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any]:
    """The answer to a question about an image; empty if there is no such image or scan."""
    with asking("the image in ECR"):
        try:
            return ask(**arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] in NOT_FOUND:
                return {}
            raise
