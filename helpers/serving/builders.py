"""Build and push container images with docker, podman or buildah, whichever works."""

import os
import re
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

NAMES = ("docker", "podman", "buildah")
DOCKERFILE = MODEL / "Dockerfile"  # the only place that names Triton's image for the cluster
PROBE_S = 20.0
BUILD_S = 3600.0  # NVIDIA's image has several gigabytes
PLATFORM = "linux/amd64"
POLICY = TOOLS / "buildah/policy.json"  # for the buildah of 'make setup'; a user's has its own
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
        logout = f"The logout at {registry}", "logout", registry
        try:
            yield
        except BaseException:
            with suppress(Problem):
                self._run(*logout)
            raise
        self._run(*logout)

    def push(self, tag: str, *, plain_http: bool = False) -> str:
        """Push an image; returns the digest that the registry reports."""
        doing = f"The push of {tag}"
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "digest"
            options = self._policy()
            if self.name != "docker":
                verify = str(not plain_http).lower()
                options += ["--digestfile", str(file), f"--tls-verify={verify}"]
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
            raise explain.problem(doing, "".join(lines[-6:])) from error
        return "".join(lines)


def find_builder(names: Iterable[str] = NAMES) -> Builder | None:
    """The first of these programs that works here; None if none does."""
    for name in names:
        program = programs.find(name)
        if program is None:
            continue
        with suppress(sh.ErrorReturnCode, sh.TimeoutException):
            sh.Command(str(program))(*_storage(name), "info", _timeout=PROBE_S)
            return Builder(name, program)
    return None


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
    """Buildah's default storage needs an overlay mount, which a container often has not."""
    return ["--storage-driver", "vfs"] if name == "buildah" else []
