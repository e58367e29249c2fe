"""Errors of a cluster recognised by their text, and explained with the next step.

The rules are data: `explanations.yaml`. The first one whose pattern is found explains the error.
"""

import re
from functools import lru_cache
from pathlib import Path

import yaml
from pydantic import Field

from helpers.errors import Problem
from helpers.scenario import Settings

RULES_FILE = Path(__file__).with_name("explanations.yaml")
LONGEST_QUOTE = 400
_NOISE = re.compile(r"^(?:level=|time=|[IWE]\d{4} |WARNING:|warning:|coalesce\.go)")


class TransientError(Problem):
    """A retryable error: a wait goes on."""


class Rule(Settings):
    """How an error is recognised, and what it means; `{name}` in the sentences is filled."""

    name: str
    pattern: str
    what: str  # what is wrong, one sentence
    next_step: str = Field(alias="next")  # what to do about it
    transient: bool = False  # whether it may go away by itself

    def __str__(self) -> str:
        return f"{self.what} {self.next_step}"


@lru_cache
def rules() -> tuple[Rule, ...]:
    """All rules, in the order in which they are tried."""
    rows = yaml.load(RULES_FILE.read_text(), yaml.CSafeLoader)
    return tuple(Rule.model_validate(row) for row in rows)


def recognise(text: str, **facts: str) -> Rule | None:
    """What a text of Kubernetes, Helm, a node or AWS means; None if no rule knows it.

    The facts, such as `release`, fill the rule's sentences; a missing one is shown in capitals.

    >>> recognise("Error: UPGRADE FAILED: release: not found").name
    'no-release'
    """
    for rule in rules():
        if match := re.search(rule.pattern, text, re.IGNORECASE | re.DOTALL):
            groups = {name: value.strip() for name, value in match.groupdict().items() if value}
            values = _Values(facts | groups)
            filled = {key: getattr(rule, key).format_map(values) for key in ("what", "next_step")}
            return rule.model_copy(update=filled)
    return None


def problem(what: str, text: str, **facts: str) -> Problem:
    """A text of a cluster as a Problem; a text that no rule knows is quoted.

    `what` was tried, such as `The installation of triton`; the facts are as for `recognise`.
    """
    explanation = recognise(text, **facts)
    if explanation is None:
        return Problem(f"{what} failed: {quote(text)}", "Correct that, and repeat the step.")
    kind = TransientError if explanation.transient else Problem
    return kind(f"{what} failed: {explanation.what}", explanation.next_step)


def quote(text: str) -> str:
    """The lines of a text that say something, joined and shortened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if not _NOISE.match(line)] or lines or ["nothing was printed"]
    whole = " ".join(said)
    short = whole if len(whole) <= LONGEST_QUOTE else f"{whole[:LONGEST_QUOTE].rstrip()} …"
    return short if short.endswith((".", "…", "!")) else f"{short}."


class _Values(dict[str, str]):
    """Values of a sentence; a missing one is shown as a placeholder."""

    def __missing__(self, key: str) -> str:
        return key.upper()
