"""ECR's own rules, as the emulator keeps them: tags that cannot move, scans that end.

Docker is a script: it keeps what it is asked, and puts the image into the emulated registry as a
push would. What Docker itself does with these arguments is not shown here.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from helpers.cloud.account import Account
from helpers.cloud.stack import Stack
from helpers.cluster.waits import Pace
from helpers.errors import Problem
from helpers.rehearsal import emulator
from helpers.rehearsal.emulator import Emulator
from helpers.run import Run
from helpers.serving import builders, dockerfile, image
from helpers.serving.builders import Builder
from helpers.serving.image_report import Published

NAME = "gpu-e2e/triton"
STATUSES = (
    botocore.session.get_session().get_service_model("ecr").shape_for("ScanStatus").enum
)  # fmt: skip
DOCKER = """#!{python}
import hashlib, json, pathlib, sys
import boto3

folder, arguments = pathlib.Path({folder!r}), sys.argv[1:]
given = sys.stdin.read() if "--password-stdin" in arguments else ""
with (folder / "asked").open("a") as file:
    file.write(json.dumps([arguments, given]) + "\\n")
if arguments[0] == "push":
    config = {{"mediaType": "application/vnd.docker.container.image.v1+json", "size": 2,
               "digest": "sha256:" + hashlib.sha256(arguments[1].encode()).hexdigest()}}
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = json.dumps({{"schemaVersion": 2, "mediaType": kind, "config": config, "layers": []}})
    ecr = boto3.client("ecr", endpoint_url={endpoint!r}, region_name="us-east-1",
                       aws_access_key_id="emulated", aws_secret_access_key="emulated")
    try:
        if (folder / "denied").exists():
            raise SystemExit("denied: Your authorization token has expired.")
        made = ecr.put_image(repositoryName={name!r}, imageManifest=manifest,
                             imageTag=arguments[1].rpartition(":")[2])["image"]
    except ecr.exceptions.ImageTagAlreadyExistsException as error:
        raise SystemExit("tag invalid: " + error.response["Error"]["Message"])
    except ecr.exceptions.ImageAlreadyExistsException as error:
        raise SystemExit("tag invalid: " + error.response["Error"]["Message"])
    print("tag: digest:", made["imageId"]["imageDigest"], "size: 528")
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with emulator.serving(tmp_path_factory.mktemp("aws")) as aws:
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
            python=sys.executable, folder=str(tmp_path), endpoint=account.endpoint, name=NAME
        )
    )
    program.chmod(0o755)
    monkeypatch.setattr(builders, "working", lambda: Builder("docker", program))
    return tmp_path


@pytest.fixture
def on_aws(run: Run, account: Account, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run on AWS whose stack has that registry."""
    found = account.client("ecr").describe_repositories(repositoryNames=[NAME])["repositories"][0]
    stack = Stack.model_construct(
        ecr_repository_name=NAME, ecr_repository_url=found["repositoryUri"]
    )
    monkeypatch.setattr(Run, "load", lambda self, kind: stack)
    return Run(run.folder, run.profile.model_copy(update={"target": "aws"}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small model repository."""
    version = tmp_path / "repository/m/1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(b"weights")
    return tmp_path / "repository"


def publish(run: Run, account: Account, folder: Path) -> Published:
    def no_registry(_: Run) -> str:
        raise AssertionError("a run on AWS needs no registry of its own")

    return image.publish(run, account, folder, no_registry)


def asked(docker: Path) -> list[tuple[list[str], str]]:
    lines = (docker / "asked").read_text().splitlines() if (docker / "asked").exists() else []
    return [tuple(json.loads(line)) for line in lines]


def test_an_image_is_pushed_under_its_contents_tag_scanned_and_named_by_digest(
    served: Emulator, on_aws: Run, account: Account, docker: Path, folder: Path
) -> None:
    served.change({"scan_findings": {"HIGH": 2}})
    found = publish(on_aws, account, folder)
    assert found.agrees and found.builder == "docker"
    (there,) = account.client("ecr").describe_images(repositoryName=NAME)["imageDetails"]
    assert there["imageTags"] == [found.tag]
    assert found.reference.endswith(f"{NAME}@{there['imageDigest']}")
    assert found.findings["HIGH"] == 2 and "2 high" in found.scan_note
    build, login, push, logout = (arguments for arguments, _ in asked(docker))
    registry = found.reference.partition("/")[0]
    assert (build[0], build[-1]) == ("build", str(on_aws.folder / "image"))
    assert build[build.index("--platform") + 1] == builders.PLATFORM
    assert build[build.index("--file") + 1] == str(dockerfile.DOCKERFILE)
    assert login == ["login", "--username", "AWS", "--password-stdin", registry]
    assert push == ["push", f"{registry}/{NAME}:{found.tag}"] and logout == ["logout", registry]
    given = [words for arguments, words in asked(docker) if arguments[0] == "login"]
    assert given != [""] and given[0] not in json.dumps([one for one, _ in asked(docker)])


def test_equal_models_are_pushed_once(
    on_aws: Run, account: Account, docker: Path, folder: Path
) -> None:
    first = publish(on_aws, account, folder)
    calls = len(asked(docker))
    again = publish(on_aws, account, folder)
    assert again.reference == first.reference and again.agrees
    assert "earlier run" in again.builder and len(asked(docker)) == calls


def test_who_was_quicker_has_pushed_the_same(
    on_aws: Run, account: Account, docker: Path, folder: Path
) -> None:
    """Between our look and our push the tag has come, and it cannot be moved."""
    tag = image.tag_of(folder, dockerfile.base_of())
    with (docker / "docker").open("a") as script:
        script.write(f'if arguments[0] == "build":\n    {_put(account, tag)}\n')
    found = publish(on_aws, account, folder)
    assert found.agrees and "earlier run" in found.builder
    assert [arguments[0] for arguments, _ in asked(docker)] == ["build", "login", "push", "logout"]


def _put(account: Account, tag: str) -> str:
    """A line of the script: somebody else's push of the same tag."""
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "layers": [],
                           "config": {"digest": "sha256:" + "1" * 64}})  # fmt: skip
    client = (
        f"boto3.client('ecr', endpoint_url={account.endpoint!r}, region_name='us-east-1', "
        "aws_access_key_id='emulated', aws_secret_access_key='emulated')"
    )
    return (
        f"{client}.put_image(repositoryName={NAME!r}, imageManifest={manifest!r}, imageTag={tag!r})"
    )


def test_a_push_that_fails_is_told_and_the_login_forgotten(
    on_aws: Run, account: Account, docker: Path, folder: Path
) -> None:
    (docker / "denied").touch()
    with pytest.raises(Problem, match="authorization token has expired"):
        publish(on_aws, account, folder)
    assert [arguments[0] for arguments, _ in asked(docker)] == ["build", "login", "push", "logout"]


@pytest.mark.parametrize("status", STATUSES)
def test_every_word_of_ecr_about_a_scan_ends_the_wait_or_goes_on(status: str) -> None:
    class Ecr:
        def describe_image_scan_findings(self, **_: Any) -> dict[str, Any]:
            return {"imageScanStatus": {"status": status}, "imageScanFindings": {}}

    said, _ = image.scan(Ecr(), "r", "d", Pace(0.0, 0.01, lambda line: None))
    late = "not after" in said
    assert late == (status in ("PENDING", "IN_PROGRESS"))
    assert said.startswith("scanned") == (status in ("COMPLETE", "ACTIVE"))
    assert late or said.startswith("scanned") or f"cannot scan this image: {status}" in said


@pytest.mark.parametrize("name", builders.NAMES)
def test_each_builder_is_asked_in_its_own_words(tmp_path: Path, name: str) -> None:
    digest = f"sha256:{'d' * 64}"
    script = (
        '#!/bin/sh\nprintf "%s " "$@" >> {0}/asked; echo >> {0}/asked\n'
        'while [ $# -gt 0 ]; do [ "$1" = --digestfile ] && printf %s {1} > "$2"; shift; done\n'
        '[ {2} = docker ] && echo "t: digest: {1} size: 1"; true\n'
    )
    program = tmp_path / name
    program.write_text(script.format(tmp_path, digest, name))
    program.chmod(0o755)
    builder = Builder(name, program)
    builder.build(tmp_path, tmp_path / "Dockerfile", "r/n:t", {"BASE": "scratch"})
    assert builder.push("r/n:t", plain=True) == digest
    build, push = (tmp_path / "asked").read_text().splitlines()
    assert "--build-arg BASE=scratch" in build and f"--platform {builders.PLATFORM}" in build
    assert ("--tls-verify=false" in push) == (name != "docker")
    assert ("bud --isolation chroot" in build) == (name == "buildah")
    assert all(("--storage-driver vfs" in one) == (name == "buildah") for one in (build, push))
