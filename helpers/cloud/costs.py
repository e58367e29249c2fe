"""The cost report: GPU hours, spot savings, total, by kind of resource, per 1,000 inferences."""

from datetime import UTC, datetime

import pandas as pd

from helpers.cloud import bills, spot, usage
from helpers.cloud.account import Account
from helpers.cloud.bills import Basis, Item
from helpers.cloud.meter import EMULATED, ESTIMATED
from helpers.cloud.spot import SpotHistory
from helpers.errors import Problem
from helpers.run import Record, Run, now


class CostReport(Record, stage="06", name="costs"):
    """What a run has cost, predicted from its events and prices.

    Attributes:
        at: When it was reckoned, UTC.
        emulated: Whether an emulator stood for AWS: then nothing was spent.
        label: What the figures are worth.
        began: When the first resource was asked for, UTC; empty where none ever was.
        ended: When the last was gone, or until when is reckoned, UTC.
        standing: Whether the stack still stood at that moment.
        hours: How long the stack stood, hours.
        gpu_hours: GPU nodes times hours.
        items: What each kind of resource has cost.
        on_demand_usd: What the GPU hours would have cost on demand, US dollars.
        inferences: Good answers in the run; None where none were counted.
        sources: Where prices come from, and of which day.
    """

    at: str
    emulated: bool
    label: str
    began: str
    ended: str
    standing: bool
    hours: float
    gpu_hours: float
    items: tuple[Item, ...]
    on_demand_usd: float
    inferences: int | None
    sources: str

    @property
    def total_usd(self) -> float:
        """All of it, US dollars."""
        return sum(one.usd for one in self.items)

    @property
    def spot_usd(self) -> float:
        """What the GPU hours cost on the spot market, US dollars."""
        return sum(one.usd for one in self.items if one.gpu)

    @property
    def savings_usd(self) -> float:
        """What spot saved against on demand, US dollars."""
        return self.on_demand_usd - self.spot_usd

    @property
    def savings_pct(self) -> float | None:
        """The same, per cent; None without a GPU hour."""
        return 100 * self.savings_usd / self.on_demand_usd if self.on_demand_usd else None

    @property
    def per_1000_usd(self) -> float | None:
        """The whole cost for each 1,000 inferences, US dollars; None where none were counted."""
        return 1000 * self.total_usd / self.inferences if self.inferences else None

    @property
    def summary(self) -> str:
        """One sentence: what was used, what it cost, what spot saved."""
        if not self.hours:
            return "nothing was ever created, nothing was spent"
        saved = "" if self.savings_pct is None else f", {self.savings_pct:.0f} % under on demand"
        each = "" if self.per_1000_usd is None else (
            f"; US$ {self.per_1000_usd:.4f} per 1,000 inferences"
        )  # fmt: skip
        return (
            f"US$ {self.total_usd:.2f} for {self.hours:.2f} h, "
            f"{self.gpu_hours:.2f} GPU hours at US$ {self.spot_usd:.2f}{saved}{each} ({self.label})"
        )


def report(
    run: Run, account: Account | None = None, *, inferences: int | None = None
) -> CostReport:
    """Reckon what the run has cost by now, and store it.

    Args:
        run: Whose costs they are.
        account: Whom to ask for the spot prices of the run's own hours; None, or an account that
            does not answer, leaves those that were recorded before.
        inferences: Good answers in the run; None where none were counted.

    Raises:
        Problem: The run's records cannot be read.
    """
    moment = datetime.now(UTC)
    used = usage.of(run, moment)
    if account is not None and used.gpu_nodes:
        _record_market(run, account)
    basis = Basis.of(run)
    spans = used.stack
    emulated = basis.emulated if basis else run.profile.target == "rehearsal"
    made = CostReport(
        at=now(),
        emulated=emulated,
        label=EMULATED if emulated else ESTIMATED,
        began=_text(spans[0].start) if spans else "",
        ended=_text(spans[-1].end) if spans else "",
        standing=used.standing,
        hours=used.hours,
        gpu_hours=used.gpu_hours,
        items=bills.items(basis, used) if basis and spans else (),
        on_demand_usd=bills.on_demand(basis, used) if basis else 0.0,
        inferences=inferences,
        sources=basis.sources if basis else "",
    )
    run.save(made)
    return made


def frame(made: CostReport) -> pd.DataFrame:
    """One row for each kind of resource, and the totals."""
    rows = [
        {
            "What": one.what,
            "Quantity": f"{one.quantity:.2f} {one.unit}",
            "US$": f"{one.usd:.4f}",
            "Price": one.source,
            "Assumed": one.assumed,
        }
        for one in made.items
    ]
    rows.append(
        {"What": "Total", "Quantity": f"{made.hours:.2f} hours", "US$": f"{made.total_usd:.4f}"}
    )
    table = pd.DataFrame(rows).fillna("")
    return table.assign(Label="EMULATED" if made.emulated else "ESTIMATED")


def figures(made: CostReport) -> pd.DataFrame:
    """The figures that a report is asked for."""
    saved = "–" if made.savings_pct is None else (
        f"US$ {made.savings_usd:.4f} ({made.savings_pct:.0f} %)"
    )  # fmt: skip
    per_1000 = "– (no inferences counted)" if made.per_1000_usd is None else (
        f"US$ {made.per_1000_usd:.4f} ({made.inferences:,} inferences)"
    )  # fmt: skip
    facts = {
        "Stood": f"{made.hours:.2f} hours ({made.began or '–'} to {made.ended or '–'})",
        "GPU hours": f"{made.gpu_hours:.2f}",
        "GPU on the spot market": f"US$ {made.spot_usd:.4f}",
        "The same on demand": f"US$ {made.on_demand_usd:.4f}",
        "Spot savings": saved,
        "Total": f"US$ {made.total_usd:.4f}",
        "Per 1,000 inferences": per_1000,
        "Prices": made.sources or "–",
        "Label": made.label,
    }
    return pd.DataFrame({"What": list(facts), "Figure": list(facts.values())})


def _record_market(run: Run, account: Account) -> None:
    """Prices up to now: those recorded before the GPU ran cannot know what came later."""
    known = run.find(SpotHistory)
    types = {one.instance_type for one in known.points} if known else set()
    if types:
        try:
            spot.record(run, account, types)
        except Problem as problem:
            print(f"Spot prices are those recorded before: {problem}")


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
