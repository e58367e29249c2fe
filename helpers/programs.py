"""Programs and libraries that a run uses: their path, version, and what is lost without them."""

import os
import platform
import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import sh
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from helpers.errors import Unavailable
from helpers.paths import ROOT, TOOLS
from helpers.run import Record, Run
from helpers.scenario import Settings

if TYPE_CHECKING:
    import pandas as pd

ANSWER_TIMEOUT_S = 20
_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)?")
_REASON = re.compile(r"^ +- (?P<name>\w[\w.-]*)[^#\n]*# (?P<reason>.+)$", re.MULTILINE)


class Program(Settings):
    """A program that some stage uses."""

    name: str  # its command
    stages: str  # the stages that use it
    cost: str  # what is lost without it
    hint: str  # how to get it if `make setup` cannot install it
    version: tuple[str, ...] = ("--version",)  # arguments that make it print its version
    wheel: str = ""  # the wheel it comes in, if that has to be asked: no answer, or a slow one
    required: bool = False  # whether a rehearsal is incomplete without it
    at_least: str = ""  # oldest version that works


_LIST = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
PROGRAMS = tuple(Program.model_validate(program) for program in _LIST)


def find(name: str) -> Path | None:
    """The path of a program: `.tools/bin` first, then PATH; None if it is not installed."""
    folders = os.pathsep.join([str(TOOLS / "bin"), os.environ.get("PATH", "")])
    path = shutil.which(name, path=folders)
    return Path(path) if path else None


def need(name: str) -> Path:
    """The path of a program; if it is not installed, Unavailable says how to get it."""
    path = find(name)
    if path is None:
        hint = next((program.hint for program in PROGRAMS if program.name == name), "install it")
        raise Unavailable(
            f"There is no {name} on this machine.", f"Run 'make setup'; otherwise: {hint}."
        )
    return path


def version(program: Program) -> str:
    """The version a program prints, such as `1.11.4`; empty if it is absent or prints none."""
    path = find(program.name)
    if path is None:
        return ""
    if program.wheel:
        pattern = f"lib/python*/site-packages/{program.wheel}-*.dist-info"
        wheels = (wheel for folder in path.resolve().parents for wheel in folder.glob(pattern))
        return next((f"wheel {wheel.stem.partition('-')[2]}" for wheel in wheels), "")
    ask, every_code = sh.Command(str(path)), list(range(256))
    try:
        output = ask(
            *program.version, _err_to_out=True, _timeout=ANSWER_TIMEOUT_S, _ok_code=every_code
        )
    except (sh.TimeoutException, sh.ForkException):
        return ""
    match = _VERSION.search(str(output))
    return match.group() if match else ""


class Dependency(Settings):
    """One program or library, as it was found."""

    name: str  # its command, or its name on PyPI
    kind: str  # `program` or `library`
    found: bool  # whether it is installed and new enough
    version: str  # its version; empty if it is absent or prints none
    stages: str  # the stages that use it
    purpose: str  # what is lost without it
    hint: str  # how to get it; empty if it is found
    required: bool  # whether a rehearsal is incomplete without it

    @property
    def sign(self) -> str:
        """Its state in one character."""
        return "✔" if self.found else "✘" if self.required else "–"


class Programs(Record, stage="00", name="programs"):
    """Every program and library of the workbook."""

    platform: str  # operating system and processor
    findings: tuple[Dependency, ...]  # programs first, then libraries

    @property
    def complete(self) -> bool:
        """Whether everything that a rehearsal needs is installed."""
        return not self.missing(required=True)

    @property
    def summary(self) -> str:
        """One sentence: how many are found, and which are missing."""
        absent = self.missing(required=True) + self.missing(required=False)
        summary = f"{len(self.findings) - len(absent)} of {len(self.findings)} found"
        return summary + (f"; missing: {', '.join(absent)}" if absent else "")

    def missing(self, *, required: bool) -> list[str]:
        """Names of what is not found and required, or not found and optional."""
        absent = [dependency for dependency in self.findings if not dependency.found]
        return [dependency.name for dependency in absent if dependency.required is required]


def examine() -> Programs:
    """Look for every program and library."""
    # environment.yml is the one place that gives a reason for each library
    matches = _REASON.finditer((ROOT / "environment.yml").read_text())
    reasons = {match["name"]: match["reason"] for match in matches}
    libraries = [Requirement(text).name for text in sorted(metadata.requires("gpu-e2e") or [])]
    return Programs(
        platform=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        findings=(
            *(_finding("program", item, version(item), find(item.name)) for item in PROGRAMS),
            *(_examine_library(name, reasons.get(name, "")) for name in libraries),
        ),
    )


def _finding(kind: str, program: Program, installed: str, place: object) -> Dependency:
    usable, hint = bool(place), program.hint
    if usable and program.at_least and Version(installed or "0") < Version(program.at_least):
        usable = False
        hint = f"{installed} is too old, {program.at_least} is needed: {hint}"
    facts = program.model_dump(include={"name", "stages", "required"})
    return Dependency(
        **facts, kind=kind, found=usable, version=installed, purpose=program.cost,
        hint="" if usable else hint,
    )  # fmt: skip


def _examine_library(name: str, reason: str) -> Dependency:
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        installed = ""
    library = Program(name=name, stages="all", cost=reason, hint="make setup", required=True)
    return _finding("library", library, installed, installed)


def record(run: Run) -> Programs:
    """Look for everything, and store the result with the run."""
    return run.save(examine())


def frame(programs: Programs) -> "pd.DataFrame":
    """One row per program or library."""
    import pandas as pd

    rows = [
        (row.sign, row.name, row.version, row.stages, row.purpose, row.hint)
        for row in programs.findings
    ]
    columns = ["", "name", "version", "stages", "without it", "how to get it"]
    return pd.DataFrame(rows, columns=columns)


def print_report() -> int:
    """Print every program and library; returns 1 if a required one is missing, otherwise 0."""
    programs = examine()
    print(programs.platform)
    print(f"{'':<2}{'name':<20}{'version':<16}{'stages':<10}without it")
    for row in programs.findings:
        print(f"{row.sign} {row.name:<20}{row.version:<16}{row.stages:<10}{row.purpose}")
        if row.hint:
            print(f"{'':<22}get it: {row.hint}")
    print(programs.summary)
    return 0 if programs.complete else 1
