"""What a benchmark measured: figures with their goals, as a file and as a table."""

import json
import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from helpers.run import now, write_atomically

RESULTS = Path(__file__).parent / "results"
DIGITS = 4  # significant digits; the spread is larger than the rounding


@dataclass(frozen=True)
class Figure:
    """One figure, and whether it meets its goal.

    Attributes:
        metric: What was measured.
        value: The median of the repetitions; None where it could not be measured.
        unit: Of the value; `ratio` where it has none.
        goal: Such as `>= 1.2`; empty for a figure that only informs.
        met: Whether the value reaches the goal; None without a goal or a value.
        note: How it was measured, or why it was not.
        repetitions: The value of each repetition, in order.
    """

    metric: str
    value: float | None
    unit: str
    goal: str = ""
    met: bool | None = None
    note: str = ""
    repetitions: tuple[float, ...] = ()


@dataclass
class Result:
    """All figures of one benchmark.

    Attributes:
        name: The file is `results/<name>.json`.
        machine: Processor, cores, memory and system.
        figures: In the order they are shown.
        conditions: Client → for each repetition, what else the machine did meanwhile.
    """

    name: str
    machine: str
    figures: list[Figure] = field(default_factory=list)
    conditions: dict[str, list[dict[str, float]]] = field(default_factory=dict)

    def add(
        self, metric: str, values: Sequence[float], unit: str, goal: str = "", note: str = ""
    ) -> None:
        """Add the median of the repetitions, or "not measured" without any."""
        rounded = tuple(significant(value) for value in values)
        value = significant(median(values)) if values else None
        met = reaches(value, goal) if goal and value is not None else None
        self.figures.append(Figure(metric, value, unit, goal, met, note, rounded))

    def save(self, folder: Path = RESULTS) -> Path:
        """Write `<name>.json`, replacing the last one."""
        path = folder / f"{self.name}.json"
        data = {
            "when": now(),
            "machine": self.machine,
            "figures": [_plain(figure) for figure in self.figures],
            "conditions": self.conditions,
        }
        write_atomically(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
        return path

    def table(self) -> str:
        """The figures as text: one line each, with its note below."""
        lines = [f"{self.name} · {self.machine}"]
        for figure in self.figures:
            value = "not measured" if figure.value is None else f"{figure.value:g} {figure.unit}"
            verdict = {None: "", True: "met", False: "MISSED"}[figure.met]
            lines.append(f"  {figure.metric:<66} {value:>20}  {figure.goal:<9} {verdict}".rstrip())
            if figure.note:
                lines.append(f"      {figure.note}")
        return "\n".join(lines)


def reaches(value: float, goal: str) -> bool:
    """Whether a value meets a goal.

    >>> reaches(1.3, ">= 1.2"), reaches(0.6, "<= 0.5")
    (True, False)
    """
    sign, limit = goal.split()
    compare = {">=": operator.ge, "<=": operator.le}[sign]
    return bool(compare(value, float(limit)))


def significant(value: float) -> float:
    """Rounded to four significant digits.

    >>> significant(12345.6), significant(0.00123456)
    (12350.0, 0.001235)
    """
    return float(f"{value:.{DIGITS}g}")


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """The ratio within each repetition, so that what slows both cancels out."""
    return [value / reference for value, reference in zip(above, below, strict=True)]


def _plain(figure: Figure) -> dict[str, Any]:
    data = asdict(figure)
    return {key: value for key, value in data.items() if key != "repetitions" or value}
