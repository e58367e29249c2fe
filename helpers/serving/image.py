"""The image that serves the models: built, pushed, scanned, and named by its digest.

On AWS it is NVIDIA's Triton with the model repository inside, built in the region and pushed to
ECR. In a rehearsal the same Dockerfile is built on an empty base, pushed to a real registry on this
machine and read back.
"""

import hashlib
import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import requests
from pydantic import Field

from helpers.cloud.account import Account
from helpers.cloud.guardrails import BLOCKS, OK, WARN, ReadinessFinding
from helpers.cloud.stack import Stack
from helpers.cluster.waits import Pace
from helpers.errors import Problem, Unavailable
from helpers.run import Record, Run
from helpers.serving import builders, ecr
from helpers.serving.builders import DOCKERFILE, base_image
from helpers.serving.repository import link

EMPTY = "scratch"
FOLDER = "models"
REPOSITORY = "gpu-e2e/triton"
# docker last: it may run in a virtual machine that cannot reach this loopback
LOCAL_BUILDERS = ("buildah", "podman", "docker")
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
TIMEOUT_S = 60.0


class Published(Record, stage="03", name="image"):
    """The image that was pushed."""

    reference: str = ""  # `registry/repository@sha256:…`, as it is deployed; empty without an image
    digest: str = ""  # of its manifest, read back from the registry
    tag: str = ""  # names its content
    builder: str = ""
    base: str = ""  # base image
    place: str = ""  # name of the registry
    files: int = 0  # files of the model repository in it
    agrees: bool = False  # the registry has the digest that was pushed, and every file
    findings: dict[str, int] = Field(default_factory=dict)  # of the scan, by severity
    scan_note: str = ""  # result of the scan, or why there is none
    absent: str = ""  # why there is no image

    @property
    def summary(self) -> str:
        """One sentence: what was pushed to which registry."""
        if self.absent:
            return self.absent
        return (
            f"{self.files} files of the model repository, built by {self.builder}, pushed to "
            f"{self.place}; digest {self.digest[:19]}… read back"
        )


def publish(run: Run, account: Account, folder: Path, local: Callable[[Run], str]) -> Published:
    """Build the image of a model repository, push it, and record its digest.

    `local` starts the registry of a rehearsal and returns its URL.
    """
    if run.profile.target == "aws":
        published = _push_to_ecr(run, account, folder)
    else:
        try:
            published = _push_to_loopback(run, folder, local)
        except Unavailable as reason:
            published = Published(absent=str(reason))
    run.save(published)
    if published.digest:
        run.note(images=run.manifest().get("images", {}) | {"triton": published.digest})
    return published


def readiness(run: Run) -> list[ReadinessFinding]:
    """A finding for stage 00: whether the image can be built, and what it costs the line."""
    if run.profile.target != "aws":
        return []
    found, verdict = "built by CodeBuild in the region; this machine sends the models", OK
    command = "aws codebuild list-projects"
    if run.profile.serving.image == "local":
        command = "workbook run --profile aws -p serving.image=codebuild"
        try:
            builders.need_builder()
            found = "Docker builds it here, and about 9 GB go up your line: an hour at 20 Mbit/s"
            verdict = WARN
        except Problem as problem:
            found, verdict = problem.what, BLOCKS
    return [ReadinessFinding(name="image", title="Triton's image", found=found, verdict=verdict,
                             command=command)]  # fmt: skip


def frame(published: Published) -> pd.DataFrame:
    """The pushed image as a table."""
    rows = {
        "image": published.reference or published.absent,
        "built by": published.builder,
        "base": published.base,
        "registry": published.place,
        "files of the model repository": f"{published.files}",
        "digest read back": "equal" if published.agrees else "–",
        "scan": published.scan_note,
    }
    return pd.DataFrame({"": list(rows), "value": list(rows.values())})


def content_tag(folder: Path, base: str) -> str:
    """A tag computed from the models and the base image, so that nothing is pushed twice."""
    content = hashlib.sha256(base.encode())
    for path in _files(folder):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        content.update(f"\n{path.relative_to(folder)} {digest}".encode())
    return f"models-{content.hexdigest()[:16]}"


def read_back(registry: str, repository: str, reference: str) -> tuple[str, set[str]]:
    """Download an image and compute every digest again.

    Returns the digest of the manifest, and the names of the files in all layers; a part that is
    missing or does not have its digest is a `Problem`.
    """
    base, files = f"{registry}/v2/{repository}", set()
    manifest = _get(f"{base}/manifests/{reference}")
    digest = _digest(manifest.content)
    if manifest.headers.get("Docker-Content-Digest") != digest:
        raise Problem(f"The registry reports another digest than the manifest has ({digest}).")
    blobs = [manifest.json()["config"], *manifest.json()["layers"]]
    for number, blob in enumerate(blobs):
        content = _get(f"{base}/blobs/{blob['digest']}").content
        if _digest(content) != blob["digest"]:
            raise Problem(f"A blob of {repository} does not have its digest.", "Push it again.")
        if number > 0:
            with tarfile.open(fileobj=io.BytesIO(content)) as layer:
                files |= {member.name for member in layer if member.isfile()}
    return digest, files


def _push_to_loopback(run: Run, folder: Path, local: Callable[[Run], str]) -> Published:
    builder = builders.find_builder(LOCAL_BUILDERS)
    if builder is None:
        raise Unavailable(
            "No image is built: none of buildah, podman and docker works on this machine.",
            "Install one of them ('apt install buildah'), and repeat stage 03.",
        )
    url = local(run)
    registry, tag = url.removeprefix("http://"), content_tag(folder, EMPTY)
    name = f"{registry}/{REPOSITORY}:{tag}"
    builder.build(_context(run, folder), DOCKERFILE, name, EMPTY)
    try:
        pushed_digest = builder.push(name)
    except Problem as error:
        if builder.name != "docker":
            raise
        what = "docker cannot push to the registry on this machine."
        raise Unavailable(what, "Install podman or buildah, and repeat stage 03.") from error
    digest, files = read_back(url, REPOSITORY, pushed_digest)
    expected = {f"{FOLDER}/{path.relative_to(folder)}" for path in _files(folder)}
    return Published(
        reference=f"{registry}/{REPOSITORY}@{digest}",
        digest=digest,
        tag=tag,
        builder=builder.name,
        base=f"{EMPTY}: NVIDIA's image is not pulled in a rehearsal",
        place="docker-registry on this machine",
        files=len(expected & files),
        agrees=digest == pushed_digest and expected <= files,
        scan_note="no scanner in a rehearsal",
    )


def _push_to_ecr(run: Run, account: Account, folder: Path) -> Published:
    repository, base = run.load(Stack).ecr_repository_name, base_image()
    tag = content_tag(folder, base)
    pushed = ecr.push(run, account, tag, DOCKERFILE, lambda: _context(run, folder))
    pace = Pace(run.profile.cluster.scan_s, run.profile.cluster.poll_s)
    note, findings = ecr.scan(account.client("ecr"), repository, pushed.digest, pace)
    return Published(
        reference=pushed.reference,
        digest=pushed.digest,
        tag=tag,
        builder=pushed.builder or "an earlier run (same models, same base)",
        base=base,
        place=f"ECR {repository}",
        files=len(_files(folder)),
        agrees=pushed.agrees,
        findings=findings,
        scan_note=note,
    )


def _context(run: Run, folder: Path) -> Path:
    """The build context: the model repository as `models/`, and nothing else."""
    context = run.folder / "image"
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(folder, context / FOLDER, copy_function=link)
    return context


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _get(url: str) -> requests.Response:
    try:
        with requests.Session() as session:
            session.trust_env = False  # a proxy cannot reach this machine's loopback
            headers = {"Accept": ", ".join(MANIFEST_TYPES)}
            answer = session.get(url, headers=headers, timeout=TIMEOUT_S)
            answer.raise_for_status()
            return answer
    except requests.RequestException as error:
        raise Problem(f"The registry does not return the image: {error}.") from error
