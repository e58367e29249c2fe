"""Programs and libraries a run uses: where they are, which version, what their absence costs."""

import os
import platform
import re
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import sh
from packaging.requirements import Requirement

from helpers.errors import Unavailable
from helpers.paths import ROOT, TOOLS
from helpers.run import Record, Run
from helpers.scenario import Settings

if TYPE_CHECKING:
    import pandas as pd

LOOK_TIMEOUT_S = 20
_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Program:
    """A program that some stage uses.

    Attributes:
        name: Its command.
        stages: The stages that use it.
        cost: What its absence costs.
        hint: How to get it where `make setup` cannot.
        version: Arguments that make it print its version; none where it cannot.
        required: Whether a rehearsal is incomplete without it.
        at_least: Oldest version that will do.
    """

    name: str
    stages: str
    cost: str
    hint: str
    version: tuple[str, ...] = ("--version",)
    required: bool = True
    at_least: tuple[int, ...] = ()


PROGRAMS = (
    Program("git", "00", "runs do not know their commit", "your package manager has git"),
    Program(
        "tritonserver",
        "03 to 05",
        "nothing is served, nothing is measured",
        "Linux on x86-64 gets it from 'make setup'; elsewhere Docker runs NVIDIA's image",
        version=(),
    ),
    Program(
        "prometheus",
        "04, 05",
        "no series of server and machine",
        "'brew install prometheus', 'conda install prometheus', or a release from prometheus.io",
    ),
    Program(
        "promtool",
        "04",
        "rules are not tested",
        "it comes with Prometheus",
        required=False,
    ),
    Program(
        "helm",
        "02 to 04",
        "charts are not rendered",
        "'brew install helm', 'conda install kubernetes-helm', or helm.sh",
        version=("version", "--short"),
        required=False,
        at_least=(3, 14),
    ),
    Program(
        "kubectl",
        "01 to 04",
        "clusters cannot be asked",
        "'brew install kubectl', 'conda install kubernetes-client', or kubernetes.io",
        version=("version", "--client"),
        required=False,
        at_least=(1, 30),
    ),
    Program(
        "terraform",
        "01, 06",
        "no infrastructure is planned or destroyed",
        "'brew install hashicorp/tap/terraform', 'conda install terraform', or hashicorp.com",
        required=False,
        at_least=(1, 11),
    ),
    Program(
        "checkov",
        "tests",
        "the stack is not scanned for misconfiguration",
        "'make setup' installs it where Python packages can be had",
        required=False,
    ),
    Program(
        "docker",
        "03",
        "no Triton where its wheel cannot run",
        "docker.com",
        required=False,
    ),
    Program(
        "buildah",
        "03",
        "without Docker or podman the image for AWS cannot be built",
        "'apt install buildah'; docker or podman will do as well",
        required=False,
    ),
    Program(
        "docker-registry",
        "03",
        "a rehearsal pushes no image",
        "Debian and Ubuntu have it; 'make setup' takes it from there",
        required=False,
    ),
    Program(
        "nvidia-smi",
        "03 to 05",
        "GPU utilisation is absent",
        "NVIDIA's driver brings it, on a machine with a GPU",
        required=False,
    ),
)


def find(name: str) -> Path | None:
    """Where a program is: `.tools/bin` first, then PATH; None where it is nowhere."""
    path = os.pathsep.join([str(TOOLS / "bin"), os.environ.get("PATH", "")])
    found = shutil.which(name, path=path)
    return Path(found) if found else None


def need(name: str) -> Path:
    """Where a program is.

    Raises:
        Unavailable: It is nowhere; the sentence names the way to get it.
    """
    found = find(name)
    if found is None:
        hint = next((one.hint for one in PROGRAMS if one.name == name), "install it")
        raise Unavailable(
            f"There is no {name} on this machine.", f"Run 'make setup'; else: {hint}."
        )
    return found


def version(program: Program) -> str:
    """The version a program prints, such as `1.11.4`; empty where it is absent or prints none."""
    found = find(program.name)
    if found is None:
        return ""
    if not program.version:
        return _wheel_version(found)
    try:
        said = sh.Command(str(found))(
            *program.version, _err_to_out=True, _timeout=LOOK_TIMEOUT_S, _ok_code=list(range(256))
        )
    except (sh.TimeoutException, sh.ForkException):
        return ""
    match = _VERSION.search(str(said))
    return match.group() if match else ""


def _wheel_version(program: Path) -> str:
    """Tritonserver prints no version before it serves; the wheel that carries it has one."""
    for folder in program.resolve().parents:
        for found in folder.glob("nvidia_pytriton-*.dist-info"):
            return f"wheel {found.stem.partition('-')[2]}"
    return ""


def new_enough(program: Program, found: str) -> bool:
    """Whether a version will do.

    >>> new_enough(Program("x", "", "", "", at_least=(1, 11)), "1.9.8")
    False
    """
    return not program.at_least or tuple(map(int, found.split(".") if found else ())) >= (
        program.at_least
    )


_REASON = re.compile(r"^ +- (?P<name>\w[\w.-]*)[^#\n]*# (?P<reason>.+)$", re.MULTILINE)


class Dependency(Settings):
    """One program or library.

    Attributes:
        name: Its command, or its name on PyPI.
        kind: `program` or `library`.
        found: Whether it is there and new enough.
        version: Its version; empty where it is absent or says none.
        stages: The stages that use it.
        purpose: What is lost without it.
        hint: How to get it; empty where it is found.
        required: Whether a rehearsal is incomplete without it.
    """

    name: str
    kind: str
    found: bool
    version: str
    stages: str
    purpose: str
    hint: str
    required: bool


class Programs(Record, stage="00", name="programs"):
    """Everything that was looked for.

    Attributes:
        platform: Operating system and processor.
        findings: Programs first, then libraries.
    """

    platform: str
    findings: tuple[Dependency, ...]

    @property
    def complete(self) -> bool:
        """Whether everything is there that a rehearsal needs."""
        return not self.missing(required=True)

    @property
    def summary(self) -> str:
        """One sentence: how much is there, and what is not."""
        found = sum(one.found for one in self.findings)
        absent = ", ".join(self.missing(required=True) + self.missing(required=False))
        return f"{found} of {len(self.findings)} found" + (f"; without {absent}" if absent else "")

    def missing(self, *, required: bool) -> list[str]:
        """Names of what is needed, or merely of use, and not there."""
        return [one.name for one in self.findings if not one.found and one.required is required]


def examine() -> Programs:
    """Look for every program and library."""
    programs = [_program(one) for one in PROGRAMS]
    reasons = _reasons()
    libraries = [_library(one, reasons) for one in sorted(metadata.requires("gpu-e2e") or [])]
    return Programs(
        platform=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        findings=(*programs, *libraries),
    )


def record(run: Run) -> Programs:
    """Look for everything, and store what was found with the run."""
    programs = examine()
    run.save(programs)
    return programs


def frame(programs: Programs) -> "pd.DataFrame":
    """One row a program or library, as people read it."""
    import pandas as pd

    return pd.DataFrame(
        {
            "": ["✔" if one.found else "✘" if one.required else "–" for one in programs.findings],
            "name": [one.name for one in programs.findings],
            "version": [one.version for one in programs.findings],
            "stages": [one.stages for one in programs.findings],
            "without it": [one.purpose for one in programs.findings],
            "how to get it": [one.hint for one in programs.findings],
        }
    )


def print_report() -> int:
    """Print what was found; returns the exit status: 1 where something needed is missing."""
    programs = examine()
    print(programs.platform)
    print(f"{'':<2}{'name':<20}{'version':<16}{'stages':<10}without it")
    for one in programs.findings:
        sign = "✔" if one.found else "✘" if one.required else "–"
        print(f"{sign} {one.name:<20}{one.version:<16}{one.stages:<10}{one.purpose}")
        if one.hint:
            print(f"{'':<22}get it: {one.hint}")
    print(programs.summary)
    return 0 if programs.complete else 1


def _program(program: Program) -> Dependency:
    path, installed = find(program.name), version(program)
    fits = path is not None and new_enough(program, installed)
    least = ".".join(map(str, program.at_least))
    old = f"{installed} is too old, {least} is needed: " if path and not fits else ""
    return Dependency(
        name=program.name,
        kind="program",
        found=fits,
        version=installed,
        stages=program.stages,
        purpose=program.cost,
        hint="" if fits else f"{old}{program.hint}",
        required=program.required,
    )


def _library(requirement: str, reasons: dict[str, str]) -> Dependency:
    name = Requirement(requirement).name
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        version = ""
    return Dependency(
        name=name,
        kind="library",
        found=bool(version),
        version=version,
        stages="all",
        purpose=reasons.get(name, ""),
        hint="" if version else "make setup",
        required=True,
    )


def _reasons() -> dict[str, str]:
    """Dependency → reason, from the one place that gives them."""
    text = (ROOT / "environment.yml").read_text()
    return {match["name"]: match["reason"] for match in _REASON.finditer(text)}
