"""Programs a run uses: where they are, which version, what their absence costs."""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import sh

from helpers.errors import Unavailable
from helpers.paths import TOOLS

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
