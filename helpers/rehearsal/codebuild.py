"""CodeBuild: moto's builds do nothing and always succeed; these push to the emulated ECR."""

import hashlib
import io
import json
import time
import zipfile
from typing import Any

from moto.codebuild.responses import CodeBuildResponse

from helpers.rehearsal.moto_extension import Call, operation
from helpers.rehearsal.world import WORLD

KIND = "application/vnd.docker.distribution.manifest.v2+json"


@operation(CodeBuildResponse)
def start_build(call: Call) -> dict[str, Any]:
    """Moto forgets the source, the variables and the log's place."""
    backend, name = call.backend("codebuild"), call.params["projectName"]
    project = backend.codebuild_projects[name].project_metadata
    build = backend.start_build(name, call.params["sourceVersion"])
    build["source"] = project["source"]
    build["environment"]["environmentVariables"] = call.params["environmentVariablesOverride"]
    group = project["logsConfig"]["cloudWatchLogs"]["groupName"]
    build["logs"] = {"groupName": group, "streamName": build["id"].partition(":")[2]}
    return {"build": build}


@operation(CodeBuildResponse)
def batch_get_builds(call: Call) -> dict[str, Any]:
    """A build is in its phase BUILD when it is asked for first, and ends at the next time."""
    histories = call.backend("codebuild").build_metadata_history.values()
    builds = [build for rows in histories for build in rows if build["id"] in call.params["ids"]]
    for build in builds:
        if build["currentPhase"] == "BUILD":
            _end(call, build)
        elif build["currentPhase"] == "QUEUED":
            build["currentPhase"] = "BUILD"
    return {"builds": builds}


@operation(CodeBuildResponse)
def delete_project(call: Call) -> dict[str, Any]:
    """Terraform's provider names a project by its ARN, and moto then deletes nothing."""
    call.backend("codebuild").delete_project(call.params["name"].rpartition("/")[2])
    return {}


def _end(call: Call, build: dict[str, Any]) -> None:
    line = WORLD.build_failure or _push(call, build)
    status, message = "SUCCEEDED", ""
    if WORLD.build_failure:
        status, message = "FAILED", "Error while executing docker build. Reason: exit status 1"
    phase = {"phaseType": "BUILD", "durationInSeconds": 60, "contexts": [{"message": message}]}
    build["phases"].append(phase)
    build |= {"currentPhase": "COMPLETED", "buildStatus": status}
    group, stream = build["logs"]["groupName"], build["logs"]["streamName"]
    call.backend("logs").create_log_stream(group, stream)
    event = {"timestamp": int(time.time() * 1000), "message": f"{line}\n"}
    call.backend("logs").groups[group].put_log_events(stream, [event])


def _push(call: Call, build: dict[str, Any]) -> str:
    """What docker prints; the image's config is the digest of the build's source."""
    bucket, _, key = build["source"]["location"].partition("/")
    source = call.backend("s3", "aws").get_object(bucket, key, build["sourceVersion"]).value
    zipfile.ZipFile(io.BytesIO(source)).getinfo("Dockerfile")
    config = {"mediaType": KIND, "digest": f"sha256:{hashlib.sha256(source).hexdigest()}"}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": KIND, "config": config})
    image = build["environment"]["environmentVariables"][0]["value"]
    name, _, tag = image.partition("/")[2].partition(":")
    ecr = call.backend("ecr")
    pushed = ecr.put_image(name, manifest, tag).get_image_digest()
    ecr.start_image_scan(None, name, {"imageDigest": pushed})  # ECR scans on push; moto does not
    build["exportedEnvironmentVariables"] = [{"name": "DIGEST", "value": pushed}]
    return f"{tag}: digest: {pushed}"
