"""Errors of a cluster recognised by their text, and said with the next step.

What Kubernetes, Helm, the kubelet, the scheduler and Auto Scaling say is matched against the rules
of `helpers.cluster.explanations`; the first that fits speaks.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from helpers.cluster.explanations import RULES
from helpers.cluster.explanations.rule import Rule
from helpers.errors import Problem

LONGEST_QUOTE = 400
_NOISE = re.compile(r"^(?:level=|time=|[IWE]\d{4} |WARNING:|warning:|coalesce\.go)")


class Passing(Problem):
    """An error that the next look may not see; whoever waits goes on waiting."""


@dataclass(frozen=True)
class Explanation:
    """What a text means.

    Attributes:
        rule: Name of the rule that recognised it.
        what: What is wrong, one sentence.
        next_step: What to do about it.
        passing: Whether it may pass without anybody doing anything.
    """

    rule: str
    what: str
    next_step: str
    passing: bool = False

    def __str__(self) -> str:
        return f"{self.what} {self.next_step}"


def recognise(text: str, **facts: str) -> Explanation | None:
    """What a text of a cluster means; None where no rule knows it.

    Args:
        text: What Kubernetes, Helm, a node or AWS said.
        **facts: Values for the rules' sentences, such as `release`; where one is missing the
            sentence shows its name in capitals.

    >>> recognise("Error: UPGRADE FAILED: release: not found").rule
    'no-release'
    """
    for rule in RULES:
        if match := rule.pattern.search(text):
            return _explained(rule, match, facts)
    return None


def problem(doing: str, text: str, **facts: str) -> Problem:
    """A text of a cluster as a Problem; what no rule knows is quoted.

    Args:
        doing: What was tried, such as `Helm's installation of triton`.
        text: What was said.
        **facts: As for `recognise`.
    """
    found = recognise(text, **facts)
    if found is None:
        return Problem(f"{doing} failed: {quote(text)}", "Correct that, and repeat the step.")
    kind = Passing if found.passing else Problem
    return kind(f"{doing} failed: {found.what}", found.next_step)


def quote(text: str) -> str:
    """The lines that say something, joined, and no longer than can be read."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if not _NOISE.match(line)] or lines or ["nothing was said"]
    whole = " ".join(said)
    short = whole if len(whole) <= LONGEST_QUOTE else f"{whole[:LONGEST_QUOTE].rstrip()} …"
    return short if short.endswith((".", "…", "!")) else f"{short}."


def first_known(texts: Iterable[str], **facts: str) -> Explanation | None:
    """The explanation of the first text that a rule knows."""
    return next((found for text in texts if (found := recognise(text, **facts))), None)


def _explained(rule: Rule, match: "re.Match[str]", facts: dict[str, str]) -> Explanation:
    named = {name: value.strip() for name, value in match.groupdict().items() if value}
    values = _Shown(facts | named)
    return Explanation(
        rule.name,
        rule.what.format_map(values),
        rule.next_step.format_map(values),
        rule.passing,
    )


class _Shown(dict[str, str]):
    """Values of a sentence; one that is not known is shown as a placeholder."""

    def __missing__(self, key: str) -> str:
        return key.upper()
