"""Build and push container images on this machine: docker; podman or buildah in a rehearsal."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sh

from helpers import programs
from helpers.cluster import explain
from helpers.errors import Problem
from helpers.paths import MODEL, TOOLS

DOCKERFILE = MODEL / "Dockerfile"  # the only place that names Triton's image for the cluster
PROBE_S = 20.0
BUILD_S = 4 * 3600.0  # of one step: 9 GB take an hour at 20 Mbit/s
NEEDED_GIB = 60  # NVIDIA's image compressed, unpacked, and a layer on it
PLATFORM = "linux/amd64"
POLICY = TOOLS / "buildah/policy.json"  # for the buildah of 'make setup'; a user's has its own
INFO = ("--format", "{{.Driver}} {{.DockerRootDir}}")
_DIGEST = re.compile(r"digest: (sha256:[0-9a-f]{64})")


@dataclass(frozen=True)
class Builder:
    """One program that builds images: docker, podman or buildah.

    Each step raises a `Problem` that quotes the program's last lines if it fails.
    """

    name: str
    program: Path

    def build(self, context: Path, dockerfile: Path, tag: str, base: str = "") -> None:
        """Build an image for the registry name `tag`; `base` replaces the default base image."""
        verb = ["bud", "--isolation", "chroot"] if self.name == "buildah" else ["build"]
        based = ["--build-arg", f"BASE={base}"] if base else []
        options = ["--platform", PLATFORM, "--file", str(dockerfile), "--tag", tag]
        arguments = (*verb, *self._policy(), *options, *based, str(context))
        self._run(f"The build of {tag} with {self.name}", *arguments)

    @contextmanager
    def logged_in(self, registry: str, user: str, password: str) -> Iterator[None]:
        """Log in to a registry, and log out when the `with` block ends.

        The password goes through standard input: arguments are visible in the process list.
        """
        login = ("login", "--username", user, "--password-stdin", registry)
        self._run(f"The login at {registry}", *login, _in=password)
        try:
            yield
        finally:
            with suppress(Problem):  # the password ends by itself
                self._run(f"The logout at {registry}", "logout", registry)

    def push(self, tag: str) -> str:
        """Push an image; returns the digest that the registry reports.

        Podman and buildah push to the registry of a rehearsal, which has no TLS.
        """
        doing = f"The push of {tag}"
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "digest"
            options = self._policy()
            if self.name != "docker":
                options += ["--digestfile", str(file), "--tls-verify=false"]
            output = self._run(doing, "push", *options, tag)
            if file.is_file():
                return file.read_text().strip()
        if match := _DIGEST.search(output):
            return match.group(1)
        raise Problem(f"{doing} reported no digest.", "Push again.")

    def _policy(self) -> list[str]:
        ours = self.name == "buildah" and self.program.parent == TOOLS / "bin"
        return ["--signature-policy", str(POLICY)] if ours else []

    def _run(self, doing: str, *arguments: str, **options: Any) -> str:
        lines: list[str] = []

        def collect(line: str) -> None:
            lines.append(line)
            if line.startswith(("STEP", "Step", "#")):
                print(line.rstrip())

        # push a plain manifest, not an index with an attestation: its digest is what is deployed
        environment = os.environ | {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
        command = sh.Command(str(self.program)).bake(*_storage(self.name))
        try:
            command(
                *arguments, _out=collect, _err=collect, _env=environment, _timeout=BUILD_S,
                **options,
            )  # fmt: skip
        except sh.TimeoutException as error:
            raise Problem(f"{doing} did not finish within {BUILD_S:g} s.") from error
        except sh.ErrorReturnCode as error:
            text = "".join(lines[-6:])
            if "no space left on device" in text:  # `explain` takes it for a node's disk
                what = f"{doing} failed: the disk that {self.name} uses on this machine is full."
                raise Problem(what, "Free some of it, and repeat the stage.") from error
            raise explain.problem(doing, text) from error
        return "".join(lines)


def find_builder(names: Iterable[str], *options: str) -> Builder | None:
    """The first of these programs that works here; None if none does."""
    for name in names:
        program = programs.find(name)
        if program is None:
            continue
        with suppress(sh.ErrorReturnCode, sh.TimeoutException):
            sh.Command(str(program))(*_storage(name), "info", *options, _timeout=PROBE_S)
            return Builder(name, program)
    return None


def need_builder() -> Builder:
    """Docker, for an image on a real base.

    Raises:
        Problem: It does not work, its storage copies all of an image for each layer (`vfs`), or
            its disk, where it is visible from here, has too little room.
    """
    docker, what, room = find_builder(["docker"], *INFO), "Docker does not work here.", 0.0
    if docker:
        info = str(sh.Command(str(docker.program))("info", *INFO))
        driver, _, root = info.strip().partition(" ")
        room = shutil.disk_usage(root).free / 2**30 if Path(root).is_dir() else NEEDED_GIB
        what = f"{root} has {room:.0f} GiB free, and Docker needs {NEEDED_GIB} GiB there."
        if driver == "vfs":
            what, room = "Docker's storage vfs copies all of an image for each layer.", 0.0
    if docker is None or room < NEEDED_GIB:
        raise Problem(what, "Correct that, or set serving.image=codebuild.")
    return docker


def base_image(dockerfile: Path = DOCKERFILE) -> str:
    """The base image that a Dockerfile names as its default.

    Raises:
        Problem: It names no image by digest.
    """
    for line in dockerfile.read_text().splitlines() if dockerfile.is_file() else ():
        if line.startswith("ARG BASE=") and "@sha256:" in line:
            return line.removeprefix("ARG BASE=").strip().strip('"')
    raise Problem(
        f"{dockerfile.name} names no base image by digest.",
        "Write 'ARG BASE=nvcr.io/nvidia/tritonserver:…@sha256:…' into it.",
    )


def _storage(name: str) -> list[str]:
    """Buildah's default needs an overlay mount, which a container often has not."""
    return ["--storage-driver", "vfs"] if name == "buildah" else []
