"""The image that serves the models: built, pushed, scanned, and named by its digest.

On AWS: NVIDIA's Triton with the model repository inside, pushed to ECR. In a rehearsal: the same
Dockerfile on an empty base (or the same layer without a builder), pushed to a real registry on this
machine and read back byte by byte.
"""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from botocore.exceptions import ClientError

from helpers.cloud.account import Account, asking
from helpers.cloud.stack import Stack
from helpers.cluster import waits
from helpers.cluster.waits import Pace, WaitState
from helpers.errors import Problem, Unavailable
from helpers.run import Run
from helpers.serving import builders, ecr, oci
from helpers.serving.dockerfile import DOCKERFILE, base_of
from helpers.serving.image_report import Published

EMPTY = "scratch"
FOLDER = "models"
REPOSITORY = "gpu-e2e/triton"
SCANNED = ("COMPLETE", "ACTIVE")  # ACTIVE: enhanced scanning, which never ends
NOT_BEGUN = "not begun"
UNDER_WAY = (NOT_BEGUN, "PENDING", "IN_PROGRESS")  # whatever else ECR says is its last word


def publish(run: Run, account: Account, folder: Path, local: Callable[[Run], str]) -> Published:
    """Build the image of a model repository, push it, and record its digest.

    Args:
        run: Which records it.
        account: Where ECR is; on AWS alone is it pushed there.
        folder: The model repository.
        local: Starts the run's own registry and returns its URL; asked in a rehearsal alone.

    Raises:
        Problem: The build, the login or the push failed.
    """
    if run.profile.target == "aws":
        made = _to_ecr(run, account, folder)
    else:
        made = _to_loopback(run, folder, local)
    run.save(made)
    if made.digest:
        run.note(images=run.manifest().get("images", {}) | {"triton": made.digest})
    return made


def frame(made: Published) -> pd.DataFrame:
    """What was pushed where, as people read it."""
    rows = {
        "image": made.reference or made.absent,
        "built by": made.builder,
        "base": made.base,
        "registry": made.place,
        "files of the model repository": f"{made.files}",
        "digest read back": "equal" if made.agrees else "–",
        "scan": made.scan_note,
    }
    return pd.DataFrame({"": list(rows), "value": list(rows.values())})


def context(run: Run, folder: Path) -> Path:
    """The build's context: the model repository as `models/`, and nothing else."""
    made = run.folder / "image"
    shutil.rmtree(made, ignore_errors=True)
    shutil.copytree(folder, made / FOLDER, copy_function=_link)
    return made


def tag_of(folder: Path, base: str) -> str:
    """A tag that equal models on an equal base share, so that nothing is pushed twice."""
    content = hashlib.sha256(base.encode())
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        with path.open("rb") as file:
            inner = hashlib.file_digest(file, "sha256").hexdigest()
        content.update(f"\n{path.relative_to(folder)} {inner}".encode())
    return f"models-{content.hexdigest()[:16]}"


def _to_loopback(run: Run, folder: Path, local: Callable[[Run], str]) -> Published:
    try:
        url = local(run)
    except Unavailable as reason:
        return Published.none(str(reason))
    tag, builder = tag_of(folder, EMPTY), builders.working()
    host = url.removeprefix("http://")
    made = oci.build(folder, FOLDER, {"org.opencontainers.image.title": REPOSITORY})
    if builder and builder.name == "buildah" and DOCKERFILE.is_file():
        # docker and podman may run elsewhere (a virtual machine), where this loopback is another
        name = f"{host}/{REPOSITORY}:{tag}"
        builder.build(context(run, folder), DOCKERFILE, name, {"BASE": EMPTY})
        told, by = builder.push(name, plain=True), builder.name
    else:
        oci.push(made, url, REPOSITORY, tag)
        told, by = made.digest, "this package (no builder works here)"
    found, files = oci.read_back(url, REPOSITORY, tag)
    wanted = {f"{FOLDER}/{one.relative_to(folder)}" for one in folder.rglob("*") if one.is_file()}
    return Published(
        reference=f"{host}/{REPOSITORY}@{found}",
        digest=found,
        tag=tag,
        builder=by,
        base=f"{EMPTY}: NVIDIA's image is not pulled in a rehearsal",
        place="docker-registry on this machine",
        files=len(wanted & set(files)),
        agrees=found == told and wanted <= set(files),
        scan_note="no scanner in a rehearsal",
    )


def _to_ecr(run: Run, account: Account, folder: Path) -> Published:
    stack, base = run.load(Stack), base_of()
    tag = tag_of(folder, base)
    pushed = ecr.push(stack, account, tag, DOCKERFILE, lambda: context(run, folder))
    pace = Pace(run.profile.cluster.scan_s, run.profile.cluster.poll_s)
    note, findings = scan(account.client("ecr"), stack.ecr_repository_name, pushed.digest, pace)
    return Published(
        reference=pushed.reference,
        digest=pushed.digest,
        tag=tag,
        builder=pushed.by or "an earlier run (same models, same base)",
        base=base,
        place=f"ECR {stack.ecr_repository_name}",
        files=sum(one.is_file() for one in folder.rglob("*")),
        agrees=pushed.agrees,
        findings=findings,
        scan_note=note,
    )


def scan(client: Any, repository: str, digest: str, pace: Pace) -> tuple[str, dict[str, int]]:
    """What ECR's scan found: one sentence, and findings by severity.

    A scan that is late or not to be had is said to be; it stops nothing.
    """
    answers: list[dict[str, Any]] = []

    def look() -> WaitState:
        status, answer = _scan_status(client, repository, digest)
        answers[:] = [answer]
        return WaitState(status not in UNDER_WAY, status)

    try:
        seen = waits.until("scan of the image", look, lambda: "ECR is still at it.", pace)
    except Problem as late:
        return f"NOT CHECKED: {late}", {}
    if seen.text not in SCANNED:
        reason = answers[0].get("imageScanStatus", {}).get("description", seen.text)
        return f"NOT CHECKED: ECR cannot scan this image: {reason}", {}
    found = answers[0].get("imageScanFindings", {}).get("findingSeverityCounts", {})
    counts = {str(name): int(count) for name, count in found.items()}
    told = ", ".join(f"{count} {name.lower()}" for name, count in counts.items())
    return f"scanned by ECR: {told or 'no findings'}", counts


def _scan_status(client: Any, repository: str, digest: str) -> tuple[str, dict[str, Any]]:
    with asking("the scan of the image"):
        try:
            answer: dict[str, Any] = client.describe_image_scan_findings(
                repositoryName=repository, imageId={"imageDigest": digest}
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in ecr.UNKNOWN:
                return NOT_BEGUN, {}
            raise
    return str(answer.get("imageScanStatus", {}).get("status", NOT_BEGUN)), answer


def _link(source: str, target: str) -> None:
    """A hard link where the file system allows it; models are large."""
    try:
        Path(target).hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
