"""What stage 03 records of the chart before anything is installed."""

from typing import TYPE_CHECKING

from helpers.cluster.findings import Line
from helpers.cluster.placement import Placement
from helpers.run import Record

if TYPE_CHECKING:  # slow to import, and only a notebook shows tables
    import pandas as pd


class ChartChecks(Record, stage="03", name="chart-checks"):
    """The checks of Triton's chart, in their order, for GPU and CPU values.

    Attributes:
        chart: Folder of the chart, from the checkout's root.
        kubernetes: Version that was rendered and checked for.
        helm: Version of helm; empty where there is none.
        nodes_from: Where the planned nodes were read.
        lines: One line a check.
        placements: Where each pod with the GPU values would go.
        absent: Why nothing was checked; empty where something was.
    """

    chart: str
    kubernetes: str
    helm: str
    nodes_from: str
    lines: tuple[Line, ...]
    placements: tuple[Placement, ...] = ()
    absent: str = ""

    @property
    def holds(self) -> bool:
        """Whether the chart was rendered and nothing wrong was found."""
        return not self.absent and all(line.holds for line in self.lines)

    @property
    def faults(self) -> tuple[str, ...]:
        """Every fault as a sentence."""
        return tuple(str(found) for line in self.lines for found in line.findings)

    @property
    def summary(self) -> str:
        """One sentence: what was checked and what was found."""
        if self.absent:
            return f"NOT CHECKED: {self.absent}"
        counts = {label: sum(line.label == label for line in self.lines)
                  for label in ("REAL", "STATIC", "NOT CHECKED")}  # fmt: skip
        told = ", ".join(f"{count} {label}" for label, count in counts.items() if count)
        return f"{len(self.lines)} checks ({told}): {len(self.faults)} faults"

    def frame(self) -> "pd.DataFrame":
        """The lines for people; a line with faults is followed by each of them."""
        import pandas as pd

        rows: list[tuple[str, ...]] = []
        for line in self.lines:
            sign = "✘" if line.findings else ("–" if line.label == "NOT CHECKED" else "✔")
            rows.append((line.check, line.values, line.label, sign, line.seen))
            rows += [("", "", "", "", str(found)) for found in line.findings]
        return pd.DataFrame(rows, columns=["Check", "Values", "Label", "", "Seen"])

    def placed(self) -> "pd.DataFrame":
        """Pod → planned node, or the scheduler's message, for people."""
        import pandas as pd

        rows = [(one.pod, one.node or "pending", one.why) for one in self.placements]
        return pd.DataFrame(rows, columns=["Pod", "Node (planned)", "Why not"])
