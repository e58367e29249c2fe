"""The image: built from the real Dockerfile where something can build, read back, scanned."""

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from helpers.cloud.account import Account
from helpers.cluster.waits import Pace
from helpers.errors import Problem, Unavailable
from helpers.rehearsal import registry
from helpers.run import Run
from helpers.serving import builders, dockerfile, image
from helpers.serving.image_report import Published

HERE = Account("us-east-1", "http://127.0.0.1:1")
QUICK = Pace(0.0, 0.01, lambda line: None)


@pytest.mark.usefixtures("needs_registry")
def test_the_real_dockerfile_is_built_on_nothing_pushed_and_read_back(
    run: Run, repository: Path
) -> None:
    builder = builders.working()
    if builder is None or builder.name != "buildah":
        pytest.skip("no buildah works here: it needs root, or user namespaces")
    found = image.publish(run, HERE, repository, registry.serve)
    assert (found.builder, found.files, found.agrees) == ("buildah", 2, True)
    assert found.reference.endswith(f"gpu-e2e/triton@{found.digest}")
    assert run.load(Published) == found
    assert run.manifest()["images"] == {"triton": found.digest}


@pytest.mark.usefixtures("needs_registry")
def test_without_a_builder_the_layer_is_written_by_hand(
    run: Run, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builders, "working", lambda: None)
    found = image.publish(run, HERE, repository, registry.serve)
    assert found.agrees and found.files == 2 and "no builder" in found.builder


def test_without_a_registry_nothing_is_claimed(run: Run, repository: Path) -> None:
    def none(_: Run) -> str:
        raise Unavailable("There is no docker-registry on this machine.")

    found = image.publish(run, HERE, repository, none)
    assert not found.agrees and "no docker-registry" in found.absent and not found.reference


def test_equal_models_have_an_equal_tag_and_others_another(repository: Path) -> None:
    first = image.tag_of(repository, "base")
    assert image.tag_of(repository, "base") == first != image.tag_of(repository, "other")
    (repository / "m/config.pbtxt").write_text("name: 'n'\n")
    assert image.tag_of(repository, "base") != first


def test_the_base_is_named_by_digest_or_refused(tmp_path: Path) -> None:
    assert "@sha256:" in dockerfile.base_of()
    loose = tmp_path / "Dockerfile"
    loose.write_text("ARG BASE=nvcr.io/nvidia/tritonserver:25.06-py3\nFROM ${BASE}\n")
    with pytest.raises(Problem, match="no base image by digest"):
        dockerfile.base_of(loose)


class Ecr:
    """A registry's answers about a scan."""

    def __init__(self, *answers: dict[str, Any] | str) -> None:
        self.answers = list(answers)

    def describe_image_scan_findings(self, **_: Any) -> dict[str, Any]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, str):
            raise ClientError(
                {"Error": {"Code": answer, "Message": ""}}, "DescribeImageScanFindings"
            )
        return answer


def test_a_scan_is_waited_for_and_its_findings_are_counted() -> None:
    done = {"imageScanStatus": {"status": "COMPLETE"},
            "imageScanFindings": {"findingSeverityCounts": {"HIGH": 2, "LOW": 1}}}  # fmt: skip
    patient = Pace(60.0, 0.01, lambda line: None)
    ecr = Ecr("ScanNotFoundException", {"imageScanStatus": {"status": "IN_PROGRESS"}}, done)
    assert image.scan(ecr, "r", "d", patient) == (
        "scanned by ECR: 2 high, 1 low", {"HIGH": 2, "LOW": 1}
    )  # fmt: skip


def test_a_scan_that_is_late_or_impossible_is_not_called_clean() -> None:
    late, counts = image.scan(Ecr("ScanNotFoundException"), "r", "d", QUICK)
    assert late.startswith("NOT CHECKED") and not counts
    unsupported = {"imageScanStatus": {"status": "FAILED", "description": "UnsupportedImageError"}}
    said, _ = image.scan(Ecr(unsupported), "r", "d", QUICK)
    assert said == "NOT CHECKED: ECR cannot scan this image: UnsupportedImageError"


def test_a_password_never_stands_in_an_argument(tmp_path: Path) -> None:
    program = tmp_path / "docker"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\ncat > {tmp_path}/input\n')
    program.chmod(0o755)
    builders.Builder("docker", program).log_in("registry", "AWS", "secret-word")
    assert (tmp_path / "input").read_text() == "secret-word"
    assert "secret-word" not in (tmp_path / "arguments").read_text()
