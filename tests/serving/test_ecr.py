"""ECR's own rules, as moto keeps them: tags that cannot move, scans that end.

Docker is a script: it records its arguments, puts the image into the emulated registry, and starts
the scan that ECR starts on push. What Docker itself does with these arguments is not shown here.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError

from helpers.cloud.account import Account
from helpers.cloud.stack import Stack
from helpers.cluster.waits import Pace
from helpers.errors import Problem
from helpers.run import Run
from helpers.serving import builders, ecr, image
from helpers.serving.builders import Builder
from helpers.serving.image import Published
from tests import emulated
from tests.emulated import Emulator

NAME = "gpu-e2e/triton"
STATUSES = (
    botocore.session.get_session().get_service_model("ecr").shape_for("ScanStatus").enum
)  # fmt: skip
EVERY_VERB = ["build", "login", "push", "logout"]
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER = """#!{python}
import hashlib, json, pathlib, sys
import boto3

folder, arguments = pathlib.Path({folder!r}), sys.argv[1:]
given = sys.stdin.read() if "--password-stdin" in arguments else ""
with (folder / "asked").open("a") as file:
    file.write(json.dumps([arguments, given]) + "\\n")
ecr = boto3.client("ecr", endpoint_url={endpoint!r}, region_name="us-east-1",
                   aws_access_key_id="emulated", aws_secret_access_key="emulated")

def put(tag, name):
    digest = "sha256:" + hashlib.sha256(name.encode()).hexdigest()
    config = {{"mediaType": "application/vnd.docker.container.image.v1+json", "size": 2,
               "digest": digest}}
    manifest = json.dumps({{"schemaVersion": 2, "mediaType": {kind!r}, "config": config,
                            "layers": []}})
    made = ecr.put_image(repositoryName={name!r}, imageManifest=manifest, imageTag=tag)
    ecr.start_image_scan(repositoryName={name!r}, imageId=made["image"]["imageId"])
    return made["image"]["imageId"]["imageDigest"]

if arguments[0] == "build" and (folder / "quicker").exists():
    put((folder / "quicker").read_text(), "somebody else's")
if arguments[0] == "push":
    if (folder / "denied").exists():
        raise SystemExit("denied: Your authorization token has expired.")
    try:
        digest = put(arguments[1].rpartition(":")[2], arguments[1])
    except ecr.exceptions.ClientError as error:
        raise SystemExit("tag invalid: " + error.response["Error"]["Message"])
    if (folder / "wrong").exists():
        digest = "sha256:" + "b" * 64
    print("tag: digest:", digest, "size: 528")
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with emulated.serving(tmp_path_factory.mktemp("aws")) as aws:
        yield aws


@pytest.fixture
def account(served: Emulator) -> Account:
    """An account with the stack's registry as infra/registry.tf makes it."""
    served.reset()
    served.account.client("ecr").create_repository(
        repositoryName=NAME, imageTagMutability="IMMUTABLE",
        imageScanningConfiguration={"scanOnPush": True},
    )  # fmt: skip
    return served.account


@pytest.fixture
def docker(tmp_path: Path, account: Account, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the script that stands for Docker."""
    program = tmp_path / "docker"
    program.write_text(
        DOCKER.format(
            python=sys.executable, folder=str(tmp_path), endpoint=account.endpoint, name=NAME,
            kind=MANIFEST_TYPE,
        )
    )  # fmt: skip
    program.chmod(0o755)
    monkeypatch.setattr(builders, "find_builder", lambda: Builder("docker", program))
    return tmp_path


@pytest.fixture
def on_aws(run: Run, account: Account, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run on AWS whose stack has that registry."""
    (described,) = account.client("ecr").describe_repositories()["repositories"]
    stack = Stack.model_construct(
        ecr_repository_name=NAME, ecr_repository_url=described["repositoryUri"]
    )
    monkeypatch.setattr(Run, "load", lambda self, kind: stack)
    cluster = run.profile.cluster.model_copy(update={"scan_s": 1.0, "poll_s": 0.1})
    return Run(run.folder, run.profile.model_copy(update={"target": "aws", "cluster": cluster}))


def publish(run: Run, account: Account, folder: Path) -> Published:
    def no_registry(_: Run) -> str:
        raise AssertionError("a run on AWS needs no registry of its own")

    return image.publish(run, account, folder, no_registry)


def asked(docker: Path) -> list[tuple[list[str], str]]:
    """The script's calls: arguments and standard input."""
    lines = (docker / "asked").read_text().splitlines() if (docker / "asked").exists() else []
    return [tuple(json.loads(line)) for line in lines]


def verbs(docker: Path) -> list[str]:
    return [arguments[0] for arguments, _ in asked(docker)]


def test_an_image_is_pushed_under_its_content_tag_scanned_and_named_by_digest(
    on_aws: Run, account: Account, docker: Path, repository: Path
) -> None:
    published = publish(on_aws, account, repository)
    assert published.agrees and published.builder == "docker"
    (stored,) = account.client("ecr").describe_images(repositoryName=NAME)["imageDetails"]
    assert stored["imageTags"] == [published.tag]
    assert published.reference.endswith(f"{NAME}@{stored['imageDigest']}")
    assert published.findings == {"HIGH": 1} and "1 high" in published.scan_note
    build, login, push, logout = (arguments for arguments, _ in asked(docker))
    registry = published.reference.partition("/")[0]
    assert (build[0], build[-1]) == ("build", str(on_aws.folder / "image"))
    assert build[build.index("--file") + 1] == str(builders.DOCKERFILE)
    assert "--build-arg" not in build
    assert login == ["login", "--username", "AWS", "--password-stdin", registry]
    assert push == ["push", f"{registry}/{NAME}:{published.tag}"]
    assert logout == ["logout", registry]
    (password,) = (given for arguments, given in asked(docker) if arguments[0] == "login")
    assert password and password not in json.dumps([arguments for arguments, _ in asked(docker)])


def test_equal_models_are_pushed_once(
    on_aws: Run, account: Account, docker: Path, repository: Path
) -> None:
    first = publish(on_aws, account, repository)
    again = publish(on_aws, account, repository)
    assert again.reference == first.reference and again.agrees
    assert "earlier run" in again.builder and verbs(docker) == EVERY_VERB


def test_another_run_that_pushed_the_same_tag_first_is_accepted(
    on_aws: Run, account: Account, docker: Path, repository: Path
) -> None:
    tag = image.content_tag(repository, builders.base_image())
    (docker / "quicker").write_text(tag)
    published = publish(on_aws, account, repository)
    assert published.agrees and "earlier run" in published.builder
    assert verbs(docker) == EVERY_VERB


def test_another_digest_than_the_pushed_one_does_not_agree(
    on_aws: Run, account: Account, docker: Path, repository: Path
) -> None:
    (docker / "wrong").touch()
    assert not publish(on_aws, account, repository).agrees


def test_a_failed_push_is_reported_and_the_login_removed(
    on_aws: Run, account: Account, docker: Path, repository: Path
) -> None:
    (docker / "denied").touch()
    with pytest.raises(Problem, match="authorization token has expired"):
        publish(on_aws, account, repository)
    assert verbs(docker) == EVERY_VERB


def test_without_a_builder_the_next_step_is_named(
    on_aws: Run, account: Account, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builders, "find_builder", lambda: None)
    with pytest.raises(Problem, match="Start Docker, or install podman or buildah"):
        publish(on_aws, account, repository)


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


def test_a_scan_that_is_late_or_impossible_is_not_called_clean() -> None:
    late, counts = scan(0, "ScanNotFoundException")
    assert late.startswith("NOT CHECKED") and not counts
    unsupported = {"imageScanStatus": {"status": "FAILED", "description": "UnsupportedImageError"}}
    note, _ = scan(0, unsupported)
    assert note == "NOT CHECKED: ECR cannot scan this image: UnsupportedImageError"


@pytest.mark.parametrize("status", STATUSES)
def test_every_scan_status_of_ecr_is_final_or_waited_for(status: str) -> None:
    note, _ = scan(0, {"imageScanStatus": {"status": status}, "imageScanFindings": {}})
    late = "not after" in note
    assert late == (status in ("PENDING", "IN_PROGRESS"))
    assert note.startswith("scanned") == (status in ("COMPLETE", "ACTIVE"))
    assert late or note.startswith("scanned") or f"cannot scan this image: {status}" in note
