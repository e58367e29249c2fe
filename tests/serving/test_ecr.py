"""ECR's rules, as moto keeps them: tags that cannot move, scans that end; and builds of CodeBuild.

Docker is an object that records its arguments, puts the image into the emulated registry, and
starts the scan that ECR starts on push. What Docker does with these arguments is not shown here.
"""

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError

from helpers import load, programs
from helpers.cloud.account import Account
from helpers.cloud.stack import Stack
from helpers.cluster.waits import Pace
from helpers.errors import Problem
from helpers.paths import ROOT
from helpers.run import Run
from helpers.serving import builders, codebuild, ecr, image
from helpers.serving.builders import Builder
from helpers.serving.image import Published
from tests import emulated
from tests.emulated import Fault

NAME, PROJECT = "gpu-e2e/triton", "gpu-e2e-images"
STATUSES = botocore.session.get_session().get_service_model("ecr").shape_for("ScanStatus").enum
CANNOT_SCAN = "NOT CHECKED: ECR cannot scan this image"
EVERY_VERB = ["build", "login", "push", "logout"]


class Docker:
    """Docker's arguments and standard input, and what it does to the registry."""

    def __init__(self, account: Account) -> None:
        self.ecr = account.client("ecr")
        self.asked: list[tuple[tuple[str, ...], str]] = []
        self.quicker_tag, self.refusal, self.digest = "", "", ""

    @property
    def verbs(self) -> list[str]:
        return [arguments[0] for arguments, _ in self.asked]

    def run(self, _doing: str, *arguments: str, _in: str = "") -> str:
        self.asked.append((arguments, _in))
        if arguments[0] == "build" and self.quicker_tag:
            self.put(self.quicker_tag, "somebody else's")
        if arguments[0] != "push":
            return ""
        if self.refusal:
            raise Problem(self.refusal)
        try:
            digest = self.put(arguments[-1].rpartition(":")[2], arguments[-1])
        except ClientError as error:
            raise Problem(f"tag invalid: {error}") from error
        return f"tag: digest: {self.digest or digest} size: 528"

    def put(self, tag: str, content: str) -> str:
        digest = "sha256:" + hashlib.sha256(content.encode()).hexdigest()
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        config = {"mediaType": kind, "size": 2, "digest": digest}
        manifest = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": []}
        identity = self.ecr.put_image(
            repositoryName=NAME, imageManifest=json.dumps(manifest), imageTag=tag
        )["image"]["imageId"]
        self.ecr.start_image_scan(repositoryName=NAME, imageId=identity)
        return str(identity["imageDigest"])


@pytest.fixture
def aws() -> Iterator[emulated.Emulated]:
    """An account with the stack's registry as infra/registry.tf makes it."""
    with emulated.installed() as aws:
        aws.account.client("ecr").create_repository(
            repositoryName=NAME, imageTagMutability="IMMUTABLE",
            imageScanningConfiguration={"scanOnPush": True},
        )  # fmt: skip
        yield aws


@pytest.fixture
def account(aws: emulated.Emulated) -> Account:
    return aws.account


@pytest.fixture
def docker(account: Account, monkeypatch: pytest.MonkeyPatch) -> Docker:
    docker = Docker(account)
    monkeypatch.setattr(builders, "need_builder", lambda: Builder("docker", Path("docker")))
    monkeypatch.setattr(
        Builder, "_run", lambda _, *arguments, **more: docker.run(*arguments, **more)
    )
    return docker


@pytest.fixture
def on_aws(run: Run, account: Account, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run on AWS whose stack has that registry."""
    (described,) = account.client("ecr").describe_repositories()["repositories"]
    stack = Stack.model_construct(
        ecr_repository_name=NAME,
        ecr_repository_url=described["repositoryUri"],
        image_project=PROJECT,
        artifact_bucket="artifacts",
    )
    monkeypatch.setattr(Run, "load", lambda self, kind: stack)
    cluster = run.profile.cluster.model_copy(update={"scan_s": 1.0, "poll_s": 0.1})
    return Run(run.folder, run.profile.model_copy(update={"target": "aws", "cluster": cluster}))


def publish(run: Run, account: Account, folder: Path) -> Published:
    def no_registry(_: Run) -> str:
        raise AssertionError("a run on AWS needs no registry of its own")

    return image.publish(run, account, folder, no_registry)


def test_an_image_is_pushed_under_its_content_tag_scanned_and_named_by_digest(
    on_aws: Run, account: Account, docker: Docker, repository: Path
) -> None:
    published = publish(on_aws, account, repository)
    assert published.agrees and published.builder == "docker"
    (stored,) = account.client("ecr").describe_images(repositoryName=NAME)["imageDetails"]
    assert stored["imageTags"] == [published.tag]
    assert published.reference.endswith(f"{NAME}@{stored['imageDigest']}")
    assert published.findings == {"HIGH": 1} and "1 high" in published.scan_note
    build, login, push, logout = (arguments for arguments, _ in docker.asked)
    registry = published.reference.partition("/")[0]
    assert (build[0], build[-1]) == ("build", str(on_aws.folder / "image"))
    assert build[build.index("--file") + 1] == str(builders.DOCKERFILE)
    assert "--build-arg" not in build
    assert login == ("login", "--username", "AWS", "--password-stdin", registry)
    assert push == ("push", f"{registry}/{NAME}:{published.tag}")
    assert logout == ("logout", registry)
    (password,) = (given for arguments, given in docker.asked if arguments[0] == "login")
    assert password and password not in json.dumps([arguments for arguments, _ in docker.asked])


@pytest.mark.parametrize("quicker", ["this run", "another run"])
def test_an_image_of_an_earlier_run_or_a_quicker_one_is_accepted(
    on_aws: Run, account: Account, docker: Docker, repository: Path, quicker: str
) -> None:
    if quicker == "this run":
        first = publish(on_aws, account, repository)
    else:
        docker.quicker_tag = image.content_tag(repository, builders.base_image())
    published = publish(on_aws, account, repository)
    assert published.agrees and "earlier run" in published.builder
    assert quicker == "another run" or published.reference == first.reference
    assert docker.verbs == EVERY_VERB


def test_a_failed_push_is_reported_and_one_of_another_digest_does_not_agree(
    on_aws: Run, account: Account, docker: Docker, repository: Path
) -> None:
    docker.refusal = "denied: Your authorization token has expired."
    with pytest.raises(Problem, match="authorization token has expired"):
        publish(on_aws, account, repository)
    assert docker.verbs == EVERY_VERB  # the login is removed too
    docker.refusal, docker.digest = "", "sha256:" + "b" * 64
    assert not publish(on_aws, account, repository).agrees


@pytest.fixture
def in_region(on_aws: Run, account: Account) -> Run:
    """The run with its bucket, log group and CodeBuild project as infra/codebuild.tf makes them."""
    s3 = account.client("s3")
    s3.create_bucket(Bucket="artifacts")
    s3.put_bucket_versioning(Bucket="artifacts", VersioningConfiguration={"Status": "Enabled"})
    account.client("logs").create_log_group(logGroupName=PROJECT)
    account.client("codebuild").create_project(
        name=PROJECT, serviceRole="arn:aws:iam::123456789012:role/r",
        source={"type": "S3", "location": f"artifacts/{codebuild.SOURCE}"},
        artifacts={"type": "NO_ARTIFACTS"},
        environment={"type": "LINUX_CONTAINER", "image": "i",
                     "computeType": "BUILD_GENERAL1_MEDIUM"},
        logsConfig={"cloudWatchLogs": {"status": "ENABLED", "groupName": PROJECT}},
    )  # fmt: skip
    serving = on_aws.profile.serving.model_copy(update={"image": "codebuild"})
    return Run(on_aws.folder, on_aws.profile.model_copy(update={"serving": serving}))


@pytest.fixture
def inside(in_region: Run) -> Run:
    """The same, whose loads are fired from pods."""
    settings = in_region.profile.load.model_copy(update={"control": "cluster"})
    return Run(in_region.folder, in_region.profile.model_copy(update={"load": settings}))


def source(account: Account) -> zipfile.ZipFile:
    """What CodeBuild got."""
    body = account.client("s3").get_object(Bucket="artifacts", Key=codebuild.SOURCE)["Body"]
    return zipfile.ZipFile(io.BytesIO(body.read()))


def test_codebuild_gets_models_and_dockerfile_and_the_digest_is_read_back_from_ecr(
    in_region: Run, account: Account, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published = publish(in_region, account, repository)
    assert published.agrees and published.builder == f"CodeBuild project {PROJECT}"
    (stored,) = account.client("ecr").describe_images(repositoryName=NAME)["imageDetails"]
    assert (stored["imageDigest"], stored["imageTags"]) == (published.digest, [published.tag])
    assert source(account).read("Dockerfile") == builders.DOCKERFILE.read_bytes()
    assert "models/m/1/model.onnx" in source(account).namelist()
    assert f'"{codebuild.SOURCE}"' in (ROOT / "infra/codebuild.tf").read_text()
    shown = capsys.readouterr().out
    assert all(phase in shown for phase in ("MB are uploaded", ": BUILD", ": COMPLETED"))
    assert [event["seconds"] for event in in_region.events("image-build")] == [60]
    assert "earlier run" in publish(in_region, account, repository).builder


def test_a_failed_build_says_why_with_its_logs_last_lines_and_not_that_a_node_is_full(
    in_region: Run, account: Account, aws: emulated.Emulated, repository: Path
) -> None:
    aws.world.build_failure = "write /models/m: no space left on device"
    with pytest.raises(Problem, match=r"exit status 1\nIts log's last lines:\nwrite /m") as failed:
        publish(in_region, account, repository)
    assert "ended with FAILED" in failed.value.what and "node" not in str(failed.value)
    assert not account.client("ecr").describe_images(repositoryName=NAME)["imageDetails"]


@pytest.mark.parametrize(
    ("operation", "code", "stops"),
    [("StartBuild", "AccountLimitExceededException", 0), ("BatchGetBuilds", "Other", 1)],
)
def test_a_build_that_is_refused_is_a_problem_and_one_that_is_not_watched_is_stopped(
    in_region: Run, aws: emulated.Emulated, repository: Path, operation: str, code: str, stops: int
) -> None:
    """What AWS says where a new account's quota is 0."""
    message = "Cannot have more than 0 builds in queue for the account"
    aws.faults.add(Fault(kind="error", operation=operation, code=code, message=message))
    with pytest.raises(Problem, match=message):
        publish(in_region, aws.account, repository)
    assert sum(call.action == "StopBuild" for call in aws.calls) == stops


@pytest.mark.parametrize(
    ("info", "free_gib", "said"),
    [
        ("exit 1", 99, "Docker does not work here"),
        ("echo vfs /", 99, "copies all of an image for each layer"),
        ("echo overlay2 /", 12, "/ has 12 GiB free, and Docker needs 60"),
        ("echo overlay2 /", 99, "an hour at 20 Mbit/s"),
    ],
)
def test_stage_00_says_whether_this_machine_can_build(
    on_aws: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    info: str,
    free_gib: int,
    said: str,
) -> None:
    (program := tmp_path / "docker").write_text(f"#!/bin/sh\n{info}\n")
    program.chmod(0o755)
    found = {"docker": program}
    monkeypatch.setattr(programs, "find", found.get)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free_gib * 2**30))
    (finding,) = image.readiness(on_aws)
    assert said in finding.found and finding.verdict == ("warn" if "hour" in said else "blocks")


def test_the_image_of_a_loads_pods_is_pushed_once_and_only_where_pods_fire(
    on_aws: Run, account: Account, docker: Docker
) -> None:
    assert load.push_image(on_aws, account) == "" and docker.verbs == []
    settings = on_aws.profile.load.model_copy(update={"control": "cluster"})
    inside = Run(on_aws.folder, on_aws.profile.model_copy(update={"load": settings}))
    first, second = (load.push_image(inside, account) for _ in range(2))
    assert docker.verbs == EVERY_VERB  # the second time the tag is there
    digest = inside.manifest()["images"]["load"]
    assert first == second and first.endswith(f"{NAME}@{digest}")


def test_codebuild_gets_the_package_and_the_dockerfile_of_a_loads_pods(
    inside: Run, account: Account
) -> None:
    pushed = load.push_image(inside, account)
    (stored,) = account.client("ecr").describe_images(repositoryName=NAME)["imageDetails"]
    assert pushed.endswith(f"{NAME}@{stored['imageDigest']}")
    assert source(account).read("Dockerfile") == (ROOT / "helpers/load/Dockerfile").read_bytes()
    assert {"helpers/load/locustfile.py", "requirements.txt"} <= {*source(account).namelist()}


class Scans:
    """ECR's answers about a scan, one after the other; the last one is repeated."""

    def __init__(self, *answers: dict[str, Any] | str) -> None:
        self.answers = list(answers)

    def describe_image_scan_findings(self, **_: Any) -> dict[str, Any]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, str):
            raise ClientError(
                {"Error": {"Code": answer, "Message": ""}}, "DescribeImageScanFindings"
            )
        return answer


def scan(timeout_s: float, *answers: dict[str, Any] | str) -> tuple[str, dict[str, int]]:
    return ecr.scan(Scans(*answers), "r", "d", Pace(timeout_s, 0.01, lambda line: None))


def test_a_scan_is_waited_for_and_its_findings_are_counted() -> None:
    done = {"imageScanStatus": {"status": "COMPLETE"},
            "imageScanFindings": {"findingSeverityCounts": {"HIGH": 2, "LOW": 1}}}  # fmt: skip
    in_progress = {"imageScanStatus": {"status": "IN_PROGRESS"}}
    assert scan(60, "ScanNotFoundException", in_progress, done) == (
        "scanned by ECR: 2 high, 1 low", {"HIGH": 2, "LOW": 1}
    )  # fmt: skip
    late, counts = scan(0, "ScanNotFoundException")
    assert late.startswith("NOT CHECKED") and not counts


@pytest.mark.parametrize("status", STATUSES)
def test_every_scan_status_of_ecr_is_final_or_waited_for(status: str) -> None:
    state = {"status": status, "description": "why"}
    note, _ = scan(0, {"imageScanStatus": state, "imageScanFindings": {}})
    late = "not after" in note
    assert late == (status in ("PENDING", "IN_PROGRESS"))
    assert note.startswith("scanned") == (status in ("COMPLETE", "ACTIVE"))
    assert late or note.startswith("scanned") or note == f"{CANNOT_SCAN}: why"
