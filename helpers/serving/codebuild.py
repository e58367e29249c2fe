"""An image that the stack's CodeBuild project builds and pushes: its base is pulled in the region.

`infra/codebuild.tf` says what a build does; this machine sends the build context only.
"""

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from helpers.cloud.account import Account, asking
from helpers.cloud.stack import Stack
from helpers.cluster import waits
from helpers.cluster.waits import WaitState
from helpers.errors import Problem
from helpers.run import Run

WAIT_S = 5400.0  # half an hour in the queue and an hour's build, as infra/codebuild.tf allows
SOURCE = "images/source.zip"  # where the project reads its source in the artifact bucket
LAST_LINES = 10


def build(run: Run, account: Account, image: str, dockerfile: Path, context: Path) -> str:
    """Build `registry/repository:tag` and push it; returns the digest that the push reported.

    The Dockerfile is added to `context`.

    Raises:
        Problem: The build did not start, failed (with its log's last lines), or is late.
    """
    client, what = account.client("codebuild"), f"CodeBuild's build of {image.rpartition('/')[2]}"
    stack, variable = run.load(Stack), {"name": "IMAGE", "value": image}
    shutil.copyfile(dockerfile, context / "Dockerfile")
    with asking(what), tempfile.TemporaryDirectory() as folder:
        archive = Path(shutil.make_archive(f"{folder}/source", "zip", context))
        print(f"{archive.stat().st_size / 1e6:.0f} MB are uploaded; the base is pulled in AWS.")
        with archive.open("rb") as body:
            s3, bucket = account.client("s3"), stack.artifact_bucket
            version = s3.put_object(Bucket=bucket, Key=SOURCE, Body=body)["VersionId"]
        build: dict[str, Any] = client.start_build(
            projectName=stack.image_project, sourceVersion=version,
            environmentVariablesOverride=[variable],
        )["build"]  # fmt: skip

    def progress() -> WaitState:
        nonlocal build
        with asking(what):
            (build,) = client.batch_get_builds(ids=[build["id"]])["builds"]
        return WaitState(build["buildStatus"] != "IN_PROGRESS", build["currentPhase"])

    try:
        waits.until(what, progress, lambda: _log(account, build), waits.pace(run, WAIT_S))
    except BaseException:  # nobody waits for it any more, and it costs by the minute
        with suppress(Problem), asking(what):
            client.stop_build(id=build["id"])
        raise
    # the time in the queue is free
    phases = [phase for phase in build["phases"] if phase["phaseType"] != "QUEUED"]
    run.event("image-build", "03", seconds=sum(p.get("durationInSeconds", 0) for p in phases))
    if build["buildStatus"] != "SUCCEEDED":
        what = f"{what} ended with {build['buildStatus']}. {_log(account, build)}"
        next_step = "Correct that, and repeat stage 03, or set serving.image=local."
        raise Problem(what, next_step)
    exported = {row["name"]: row["value"] for row in build.get("exportedEnvironmentVariables", ())}
    return str(exported.get("DIGEST", ""))


def _log(account: Account, build: dict[str, Any]) -> str:
    """Why a build failed, and its log's last lines; a build that never started has none."""
    contexts = [context for phase in build["phases"] for context in phase.get("contexts", ())]
    reasons, lines = [context.get("message", "") for context in contexts], ["none"]
    with suppress(Problem, KeyError), asking("the build's log"):
        group, stream = build["logs"]["groupName"], build["logs"]["streamName"]
        events = account.client("logs").get_log_events(
            logGroupName=group, logStreamName=stream, limit=LAST_LINES
        )["events"]
        lines = [event["message"].rstrip() for event in events]
    return "\n".join([*filter(None, reasons), "Its log's last lines:", *lines])
