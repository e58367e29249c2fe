"""What a check says about an object: where, what is wrong, what would be right."""

import difflib
from collections.abc import Iterable
from typing import Literal

from helpers.scenario import Settings

Label = Literal["REAL", "STATIC", "NOT CHECKED"]


class Finding(Settings):
    """One fault.

    Attributes:
        object: `Kind namespace/name`, or the file that is wrong.
        field: Path of the field in the object, such as `spec.template.spec.containers[0].image`.
        wrong: What is wrong.
        right: What would be right.
    """

    object: str
    field: str
    wrong: str
    right: str

    def __str__(self) -> str:
        return f"{self.object}: {self.field}: {self.wrong}; right would be: {self.right}"


class Line(Settings):
    """One line of a report.

    Attributes:
        check: What was checked.
        values: Of which rendering, such as `gpu`; empty where it concerns all.
        label: REAL where the real program did it, STATIC where its output was only read.
        seen: What was seen, or why nothing was checked.
        findings: The faults; none where it holds or was not checked.
    """

    check: str
    values: str
    label: Label
    seen: str
    findings: tuple[Finding, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing wrong was found; also true of what was not checked."""
        return not self.findings


def meant(name: str, known: Iterable[str]) -> str:
    """The known name that somebody meant, as words; all of them where none is near.

    >>> meant("NoSchedul", ["NoSchedule", "NoExecute"])
    'NoSchedule'
    >>> meant("x", ["b", "a"])
    'one of a, b'
    """
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.75)
    if near or not choices:
        return near[0] if near else "one that exists"
    return f"one of {', '.join(choices)}"
