"""Seeded faults as data, and how they are put into good objects."""

import copy
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FAULTS = Path(__file__).with_name("faults.yaml")
ABBREVIATIONS = (("C.", "P.containers[0]."), ("P.", "spec.template.spec."))
_STEP = re.compile(r"\['([^']+)'\]|\[(\d+)\]|([^.\[\]]+)")


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        title: What it is.
        kind: Kind of the object that is changed; empty where one is added.
        change: As the table has it.
        object: Kind of the object that a check has to name.
        field: Beginning of the path that a check has to name.
    """

    title: str
    kind: str
    change: dict[str, Any]
    object: str
    field: str

    def into(self, good: list[Any]) -> list[Any]:
        """The objects with the fault; the good ones stay as they are."""
        bad: list[Any] = copy.deepcopy(good)
        if "add" in self.change:
            return [*bad, self.change["add"]]
        body = next(one for one in bad if one["kind"] == self.kind)
        *parents, last = steps(self.change["at"])
        place: Any = body
        for step in parents:
            place = place[step] if isinstance(step, int) else place.setdefault(step, {})
        if self.change.get("drop"):
            del place[last]
        else:
            place[last] = self.change["put"]
        return bad


def spelt(path: str) -> str:
    """A path with its abbreviations written out."""
    for short, long in ABBREVIATIONS:
        path = long + path[len(short) :] if path.startswith(short) else path
        path = long[:-1] if path == short[:-1] else path
    return path


def steps(path: str) -> list[str | int]:
    """The keys and numbers of a path."""
    return [
        int(number) if number else (key or name) for key, number, name in _STEP.findall(spelt(path))
    ]


def table() -> list[Fault]:
    """All faults."""
    return [_fault(row) for row in yaml.safe_load(FAULTS.read_text())]


def _fault(row: dict[str, Any]) -> Fault:
    kind = "" if "add" in row else row.get("of", "Deployment")
    put = row.get("put")
    named = str(put) if row.get("at") == "kind" else kind
    return Fault(
        title=row["fault"],
        kind=kind,
        change=row,
        object=row.get("object", named),
        field=spelt(row.get("field", row.get("at", "") if "object" not in row else "")),
    )
