"""Terraform's machine-readable output as lines for people: one when a resource is done."""

import json
from dataclasses import dataclass, field
from typing import Any

STILL_S = 30  # how often a slow resource is mentioned
DOING = {"create": "created", "update": "changed", "delete": "destroyed", "replace": "replaced"}


@dataclass(frozen=True)
class Diagnostic:
    """A complaint of Terraform.

    Attributes:
        severity: `error` or `warning`.
        summary: Terraform's headline.
        detail: What follows it; may be empty.
        address: The resource it is about; may be empty.
    """

    severity: str
    summary: str
    detail: str
    address: str

    @property
    def text(self) -> str:
        """Everything it says."""
        return f"{self.summary}\n{self.detail}"


@dataclass
class Progress:
    """What a command has said so far.

    Attributes:
        total: How many resources it will touch; 0 where that is not known.
        done: How many it has finished.
        diagnostics: What it complained of.
        other: Lines that are not in Terraform's protocol: a crash, or an error before it began.
    """

    total: int = 0
    done: int = 0
    diagnostics: list[Diagnostic] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    _mentioned: dict[str, float] = field(default_factory=dict)

    def read(self, line: str) -> str:
        """Take in one line of output; returns what to show of it, empty for nothing."""
        try:
            message = json.loads(line)
        except json.JSONDecodeError:
            message = None
        if not isinstance(message, dict) or "type" not in message:
            self.other += [line.strip()] if line.strip() else []
            return ""
        match message["type"]:
            case "diagnostic":
                self.diagnostics.append(_diagnostic(message["diagnostic"]))
            case "change_summary" if message["changes"]["operation"] == "plan":
                counts = message["changes"]
                self.total = self.total or sum(counts[one] for one in ("add", "change", "remove"))
            case "apply_progress" if message["hook"]["action"] in DOING:
                return self._still(message["hook"])
            case "apply_complete" if message["hook"]["action"] in DOING:  # a read is none
                return self._completed(message["hook"])
            case "apply_errored":
                hook = message["hook"]
                return f"{_address(hook)} failed after {_seconds(hook)}"
        return ""

    @property
    def errors(self) -> list[Diagnostic]:
        """The complaints that ended the command."""
        return [one for one in self.diagnostics if one.severity == "error"]

    def _still(self, hook: dict[str, Any]) -> str:
        address, elapsed = _address(hook), hook["elapsed_seconds"]
        if elapsed - self._mentioned.get(address, 0) < STILL_S:
            return ""
        self._mentioned[address] = elapsed
        return f"{address} is being {DOING[hook['action']]}, for {elapsed:.0f} s by now"

    def _completed(self, hook: dict[str, Any]) -> str:
        self.done += 1
        count = f"[{self.done}/{self.total}]" if self.total else f"[{self.done}]"
        return f"{count} {_address(hook)} {DOING[hook['action']]} in {_seconds(hook)}"


def _address(hook: dict[str, Any]) -> str:
    return str(hook["resource"]["addr"])


def _seconds(hook: dict[str, Any]) -> str:
    return f"{hook.get('elapsed_seconds', 0):.0f} s"


def _diagnostic(said: dict[str, Any]) -> Diagnostic:
    return Diagnostic(
        said["severity"], said["summary"], said.get("detail", ""), said.get("address", "")
    )
