"""The readiness report: what was found in the account, a verdict, and the exact next command."""

from enum import StrEnum

import pandas as pd

from helpers.run import Record
from helpers.scenario import Settings


class Verdict(StrEnum):
    """What a finding means for creating the stack."""

    OK = "ok"
    WARN = "warn"
    BLOCKS = "blocks"


class Finding(Settings):
    """One thing that was looked at.

    Attributes:
        name: Short and fixed, such as `quota-spot-gpu`.
        title: What people read.
        found: What was found, one sentence or figure.
        verdict: What it means.
        command: What to run next: to change it where it blocks, to look again where it is well.
    """

    name: str
    title: str
    found: str
    verdict: Verdict
    command: str


class Readiness(Record, stage="00", name="readiness"):
    """Everything that was looked at before anything is created.

    Attributes:
        emulated: Whether an emulator stands for AWS.
        region: Where the stack is to stand.
        asked: When, UTC.
        identity: Who asked, without the account's number.
        findings: In the order in which they were looked at.
    """

    emulated: bool
    region: str
    asked: str
    identity: str
    findings: tuple[Finding, ...]

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """What forbids to create anything."""
        return tuple(one for one in self.findings if one.verdict is Verdict.BLOCKS)

    @property
    def green(self) -> bool:
        """Whether the stack may be created."""
        return not self.blocking

    @property
    def summary(self) -> str:
        """One sentence: how many findings of which verdict."""
        counts = {one: sum(f.verdict is one for f in self.findings) for one in Verdict}
        told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
        state = "green" if self.green else "not green"
        return f"{state}: {told}{' (EMULATED account)' if self.emulated else ''}"

    def allows(self, prefix: str) -> bool:
        """Whether what has this prefix was looked at, and nothing of it blocks."""
        found = self.about(prefix)
        return bool(found) and all(one.verdict is not Verdict.BLOCKS for one in found)

    def told(self, prefix: str) -> str:
        """What was found of it, one clause; where it was not even asked for, why."""
        asked = "; ".join(f"{one.title}: {one.found}" for one in self.about(prefix))
        why = "; ".join(f"{one.title}: {one.found}" for one in self.blocking)
        return asked or f"not asked for ({why})"

    def about(self, prefix: str) -> tuple[Finding, ...]:
        """The findings whose name begins so."""
        return tuple(one for one in self.findings if one.name.startswith(prefix))


SIGNS = {Verdict.OK: "✔", Verdict.WARN: "!", Verdict.BLOCKS: "✘"}


def frame(report: Readiness) -> pd.DataFrame:
    """One row a finding, as people read it."""
    return pd.DataFrame(
        {
            "": [SIGNS[one.verdict] for one in report.findings],
            "what": [one.title for one in report.findings],
            "found": [one.found for one in report.findings],
            "verdict": [str(one.verdict) for one in report.findings],
            "next command": [one.command for one in report.findings],
            "label": "EMULATED" if report.emulated else "AWS",
        }
    )
