"""What this machine has: every program and library, and what the absence of each costs."""

import platform
import re
from importlib import metadata

import pandas as pd
from packaging.requirements import Requirement

from helpers import tools
from helpers.paths import ROOT
from helpers.run import Record, Run
from helpers.scenario import Settings
from helpers.tools import PROGRAMS, Program

_REASON = re.compile(r"^ +- (?P<name>\w[\w.-]*)[^#\n]*# (?P<reason>.+)$", re.MULTILINE)


class Finding(Settings):
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
    findings: tuple[Finding, ...]

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


def frame(programs: Programs) -> pd.DataFrame:
    """One row a program or library, as people read it."""
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


def _program(program: Program) -> Finding:
    path, version = tools.find(program.name), tools.version(program)
    fits = path is not None and tools.new_enough(program, version)
    least = ".".join(map(str, program.at_least))
    old = f"{version} is too old, {least} is needed: " if path and not fits else ""
    return Finding(
        name=program.name,
        kind="program",
        found=fits,
        version=version,
        stages=program.stages,
        purpose=program.cost,
        hint="" if fits else f"{old}{program.hint}",
        required=program.required,
    )


def _library(requirement: str, reasons: dict[str, str]) -> Finding:
    name = Requirement(requirement).name
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        version = ""
    return Finding(
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
