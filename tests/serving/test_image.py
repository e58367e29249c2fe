"""The image: built from the real Dockerfile, pushed to a real registry, read back."""

from pathlib import Path

import pytest
import requests

from helpers.cloud.account import Account
from helpers.errors import Problem, Unavailable
from helpers.rehearsal import registry
from helpers.run import Run
from helpers.serving import builders, image
from helpers.serving.builders import Builder
from helpers.serving.image import Published

ACCOUNT = Account("us-east-1", "http://127.0.0.1:1")
DIGEST = f"sha256:{'d' * 64}"
# records its arguments and its input, and reports a digest as each program does
SCRIPT = """#!/bin/sh
printf "%s " "$@" >> {0}/asked; echo >> {0}/asked
case "$*" in *--password-stdin*) cat > {0}/input;; esac
while [ $# -gt 0 ]; do [ "$1" = --digestfile ] && printf %s {1} > "$2"; shift; done
[ {2} = docker ] && echo "t: digest: {1} size: 1"; true
"""


@pytest.mark.usefixtures("needs_registry")
def test_the_real_dockerfile_is_built_pushed_and_read_back(run: Run, repository: Path) -> None:
    builder = builders.find_builder(image.LOCAL_BUILDERS)
    if builder is None or builder.name != "buildah":
        pytest.skip("no buildah works here: it needs root, or user namespaces")
    published = image.publish(run, ACCOUNT, repository, registry.serve)
    assert (published.builder, published.files, published.agrees) == ("buildah", 2, True)
    assert published.reference.endswith(f"gpu-e2e/triton@{published.digest}")
    assert run.load(Published) == published
    assert run.manifest()["images"] == {"triton": published.digest}

    url = registry.serve(run)
    by_tag = image.read_back(url, image.REPOSITORY, published.tag)
    assert by_tag == (published.digest, {"models/m/1/model.onnx", "models/m/config.pbtxt"})
    with pytest.raises(Problem, match="404"):
        image.read_back(url, image.REPOSITORY, "no-such-tag")
    for blob in (run.folder / "registry").rglob("blobs/sha256/*/*/data"):
        if blob.parent.name != published.digest.removeprefix("sha256:"):
            blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    with pytest.raises(Problem):
        image.read_back(url, image.REPOSITORY, published.tag)
    assert requests.get(f"{url}/v2/", timeout=2).ok


@pytest.mark.parametrize("missing", ["registry", "builder"])
def test_without_registry_or_builder_the_record_says_why_there_is_no_image(
    run: Run, repository: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    def no_registry(_: Run) -> str:
        raise Unavailable("There is no docker-registry on this machine.")

    builder = Builder("podman", repository) if missing == "registry" else None
    monkeypatch.setattr(builders, "find_builder", lambda _: builder)
    published = image.publish(run, ACCOUNT, repository, no_registry)
    assert not published.agrees and not published.reference
    reason = {"registry": "no docker-registry", "builder": "none of buildah, podman and docker"}
    assert reason[missing] in published.absent == published.summary
    assert run.load(Published) == published


def test_a_full_disk_of_the_builder_is_not_taken_for_a_nodes(tmp_path: Path) -> None:
    (program := tmp_path / "docker").write_text("#!/bin/sh\necho no space left on device; exit 1\n")
    program.chmod(0o755)
    with pytest.raises(Problem, match="the disk that docker uses on this machine is full"):
        Builder("docker", program).build(tmp_path, tmp_path / "Dockerfile", "r/n:t")


def test_docker_that_cannot_reach_this_registry_is_not_fatal(
    run: Run, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "docker"
    program.write_text('#!/bin/sh\n[ "$1" != push ] || { echo "connection refused"; exit 1; }\n')
    program.chmod(0o755)
    monkeypatch.setattr(builders, "find_builder", lambda _: Builder("docker", program))
    published = image.publish(run, ACCOUNT, repository, lambda _: "http://127.0.0.1:9")
    assert "docker cannot push" in published.absent and not published.agrees


def test_equal_models_have_an_equal_tag_and_others_another(repository: Path) -> None:
    first = image.content_tag(repository, "base")
    assert image.content_tag(repository, "base") == first != image.content_tag(repository, "other")
    (repository / "m/config.pbtxt").write_text("name: 'n'\n")
    assert image.content_tag(repository, "base") != first


def test_the_base_image_must_be_named_by_digest(tmp_path: Path) -> None:
    assert "@sha256:" in builders.base_image()
    by_tag = tmp_path / "Dockerfile"
    by_tag.write_text("ARG BASE=nvcr.io/nvidia/tritonserver:25.06-py3\nFROM ${BASE}\n")
    with pytest.raises(Problem, match="no base image by digest"):
        builders.base_image(by_tag)


@pytest.mark.parametrize("name", image.LOCAL_BUILDERS)
def test_each_builder_gets_its_own_arguments(tmp_path: Path, name: str) -> None:
    program = tmp_path / name
    program.write_text(SCRIPT.format(tmp_path, DIGEST, name))
    program.chmod(0o755)
    builder = Builder(name, program)
    builder.build(tmp_path, tmp_path / "Dockerfile", "r/n:t", "scratch")
    with builder.logged_in("r", "AWS", "secret-word"):
        assert builder.push("r/n:t") == DIGEST
    asked = (tmp_path / "asked").read_text()
    build, login, push, logout = asked.splitlines()
    assert "--build-arg BASE=scratch" in build and f"--platform {builders.PLATFORM}" in build
    assert ("--tls-verify=false" in push) == (name != "docker")
    assert ("bud --isolation chroot" in build) == (name == "buildah")
    assert all(
        ("--storage-driver vfs" in line) == (name == "buildah")
        for line in (build, login, push, logout)
    )
    assert (tmp_path / "input").read_text() == "secret-word" and "secret-word" not in asked
