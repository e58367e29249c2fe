"""Programs that build and push container images: docker, podman or buildah, whichever works."""

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sh

from helpers import programs
from helpers.cluster import explain
from helpers.errors import Problem
from helpers.paths import TOOLS

NAMES = ("docker", "podman", "buildah")
PROBE_S = 20.0
BUILD_S = 3600.0  # NVIDIA's image has several gigabytes
PLATFORM = "linux/amd64"
POLICY = TOOLS / "buildah/policy.json"  # of the buildah that set-up brings; the user's has its own
_DIGEST = re.compile(r"digest: (sha256:[0-9a-f]{64})")


@dataclass(frozen=True)
class Builder:
    """One program that builds images.

    Attributes:
        name: `docker`, `podman` or `buildah`.
        program: Where it is.
        say: Shows a line of its progress.
    """

    name: str
    program: Path
    say: Callable[[str], None] = print

    def build(self, context: Path, dockerfile: Path, tag: str, given: Mapping[str, str]) -> None:
        """Build an image.

        Args:
            context: Folder that the Dockerfile copies from.
            dockerfile: The Dockerfile.
            tag: The image's name here and in the registry.
            given: Build arguments.

        Raises:
            Problem: The build failed; its last words are quoted.
        """
        arguments = [
            part for key, value in given.items() for part in ("--build-arg", f"{key}={value}")
        ]
        verb = ["bud", "--isolation", "chroot"] if self.name == "buildah" else ["build"]
        self._run(
            f"The build of {tag} with {self.name}",
            *(*self._storage(), *verb, *self._policy(), "--platform", PLATFORM, "--file"),
            *(str(dockerfile), "--tag", tag, *arguments, str(context)),
        )

    @contextmanager
    def logged_in(self, registry: str, user: str, password: str) -> Iterator[None]:
        """Logged in for the length of a `with`; an error inside is not hidden by the logout's.

        Raises:
            Problem: The registry refuses, or the login cannot be forgotten again.
        """
        self.log_in(registry, user, password)
        try:
            yield
        except BaseException:
            with suppress(Problem):
                self.log_out(registry)
            raise
        self.log_out(registry)

    def log_in(self, registry: str, user: str, password: str) -> None:
        """Log in; the password goes through standard input, where no list of processes shows it.

        Raises:
            Problem: The registry refuses.
        """
        self._run(
            f"The login at {registry}",
            *(*self._storage(), "login", "--username", user, "--password-stdin", registry),
            _in=password,
        )

    def log_out(self, registry: str) -> None:
        """Forget the password.

        Raises:
            Problem: The program fails.
        """
        self._run(f"The logout at {registry}", *self._storage(), "logout", registry)

    def push(self, tag: str, *, plain: bool = False) -> str:
        """Push an image; the digest that the registry gave it.

        Args:
            tag: As it was built.
            plain: Over HTTP, to a registry of this machine.

        Raises:
            Problem: The push failed, or no digest was told.
        """
        doing = f"The push of {tag}"
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "digest"
            arguments = [*self._storage(), "push", *self._policy()]
            if self.name != "docker":
                arguments += ["--digestfile", str(file), f"--tls-verify={str(not plain).lower()}"]
            said = self._run(doing, *arguments, tag)
            told = file.read_text().strip() if file.is_file() else ""
        match = _DIGEST.search(said)
        found = told or (match.group(1) if match else "")
        if not found:
            raise Problem(f"{doing} told no digest.", "Push again.")
        return found

    def _storage(self) -> list[str]:
        return ["--storage-driver", "vfs"] if self.name == "buildah" else []

    def _policy(self) -> list[str]:
        ours = self.name == "buildah" and self.program.parent == TOOLS / "bin"
        return ["--signature-policy", str(POLICY)] if ours else []

    def _run(self, doing: str, *arguments: str, **options: Any) -> str:
        lines: list[str] = []

        def hear(line: str) -> None:
            lines.append(line)
            if line.startswith(("STEP", "Step", "#")):
                self.say(line.rstrip())

        # one manifest and not an index of manifest and attestation: its digest is what is deployed
        environment = os.environ | {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
        try:
            sh.Command(str(self.program))(
                *arguments, _out=hear, _err=hear, _env=environment, _timeout=BUILD_S, **options
            )
        except sh.TimeoutException as error:
            raise Problem(f"{doing} was not done within {BUILD_S:g} s.") from error
        except sh.ErrorReturnCode as error:
            raise explain.problem(doing, "".join(lines[-6:])) from error
        return "".join(lines)


def working() -> Builder | None:
    """The first of docker, podman and buildah that answers; None where none does."""
    for name in NAMES:
        program = programs.find(name)
        if program and _answers(name, program):
            return Builder(name, program)
    return None


def _answers(name: str, program: Path) -> bool:
    storage = ["--storage-driver", "vfs"] if name == "buildah" else []
    try:
        sh.Command(str(program))(*storage, "info", _timeout=PROBE_S)
    except (sh.ErrorReturnCode, sh.TimeoutException):
        return False
    return True
