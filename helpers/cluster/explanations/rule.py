"""How one error of a cluster is recognised and explained."""

import re
from dataclasses import dataclass

LOG_IN = "Log in again ('aws sso login', or new keys), and repeat the step; nothing was lost."


@dataclass(frozen=True)
class Rule:
    """How one error is recognised and explained.

    Attributes:
        name: What it is called in records and tests.
        pattern: Found in the text.
        what: What is wrong; `{group}` is filled from the pattern or from the caller's facts.
        next_step: What to do.
        passing: Whether it may pass by itself.
    """

    name: str
    pattern: "re.Pattern[str]"
    what: str
    next_step: str
    passing: bool = False


def rule(name: str, pattern: str, what: str, next_step: str, *, passing: bool = False) -> Rule:
    """A rule whose pattern ignores case and reaches over lines."""
    return Rule(name, re.compile(pattern, re.IGNORECASE | re.DOTALL), what, next_step, passing)
