"""Upstream charts: pulled at their version, compared with the digest of the lock file, kept."""

import hashlib
import os
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from helpers.cluster.helm import PULL_S, Helm
from helpers.cluster.lock import K8S, Release
from helpers.errors import Problem
from helpers.paths import CACHE

FOLDER = CACHE / "charts"
# a folder of archives or unpacked charts, for machines that reach no repository
LOCAL = "GPU_E2E_CHARTS"


@dataclass(frozen=True)
class Chart:
    """A chart on this machine.

    Attributes:
        path: Archive or folder.
        digest: SHA-256 of the archive; empty for a folder.
        compared: What was found of its digest, one clause.
    """

    path: Path
    digest: str
    compared: str


def fetch(release: Release) -> Chart:
    """The chart of a release: ours, one that was kept, or pulled now.

    Raises:
        Problem: Its repository cannot be reached, or the archive is not the locked one.
    """
    if release.own:
        return Chart(K8S / release.chart, "", "of this repository")
    unpacked = _local(release, release.chart)
    if unpacked and unpacked.is_dir():
        return Chart(unpacked, "", "unpacked folder: digest not compared")
    archive = f"{release.chart}-{release.version}.tgz"
    found = _local(release, archive) or FOLDER / archive
    if not found.is_file():
        _pull(release, found)
    return check(release, found)


def check(release: Release, archive: Path) -> Chart:
    """Compare an archive with the lock file.

    Raises:
        Problem: It is another one. It is removed from the cache, so that it is not taken again.
    """
    digest = f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}"
    if release.digest is None and not release.contents:
        return Chart(archive, digest, f"digest {digest[:19]}… not compared: {release.unproven}")
    what, locked = ("digest", release.digest) if release.digest else ("contents", release.contents)
    found = digest if release.digest else contents(archive)
    if found != locked:
        if archive.parent == FOLDER:
            archive.unlink()
        raise Problem(
            f"The chart {release.label} is not the locked one: its {what} is {found}, "
            f"k8s/releases.yaml says {locked}.",
            "Do not install it. Find out who republished the version, then correct the lock file.",
        )
    origin = f" ({release.digest_from})" if release.digest_from else ""
    return Chart(archive, digest, f"{what} {found[:19]}…{origin} as locked")


def contents(archive: Path) -> str:
    """SHA-256 over every file of a packaged chart but `Chart.yaml`, which packaging rewrites.

    Equal for archives of one source, whoever packaged it and when: an archive holds the time.
    """
    with tarfile.open(archive) as packed:
        files = {
            one.name.partition("/")[2]: packed.extractfile(one)
            for one in packed.getmembers()
            if one.isfile()
        }
        lines = [
            f"{name} {hashlib.sha256(file.read()).hexdigest()}\n"
            for name, file in sorted(files.items())
            if file is not None and name != "Chart.yaml"
        ]
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def _local(release: Release, name: str) -> Path | None:
    folder = os.environ.get(LOCAL, "")
    path = Path(folder) / name
    return path if folder and path.exists() else None


def _pull(release: Release, target: Path) -> None:
    oci = release.repository.startswith("oci://")
    place = (
        [f"{release.repository}/{release.chart}"]
        if oci
        else [release.chart, "--repo", release.repository]
    )
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        Helm()(
            f"The pull of {release.label}",
            *("pull", *place, "--version", release.version, "--destination", folder),
            timeout_s=PULL_S,
            release=release.name,
        )
        pulled = next(Path(folder).glob("*.tgz"), None)
        if pulled is None:
            raise Problem(f"Helm pulled nothing for {release.label}.")
        pulled.replace(target)
