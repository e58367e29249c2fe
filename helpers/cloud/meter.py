"""The meter (spent, US$ an hour, projection) and the cost report of stage 06."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from helpers.cloud.account import Account
from helpers.cloud.costs import CostItem, bill, run_cost_model, usage_until
from helpers.cloud.guardrails import DeadMan
from helpers.cloud.prices import SpotHistory, record_spot_prices
from helpers.cloud.stack import Stack, record_gpu_nodes
from helpers.errors import Problem
from helpers.run import Record, Run, now

EMULATED = "EMULATED: what it would cost on AWS; nothing was spent"
ESTIMATED = "ESTIMATED from events and prices; billed is what Cost Explorer says a day later"


def read(run: Run, at: datetime | None = None) -> dict[str, Any]:
    """The meter, now or at another moment, from the run's folder only; it needs no credentials."""
    moment = at or datetime.now(UTC)
    spent = _calculated(run, moment)
    teardown = max(_teardown(run, moment), moment) if spent.standing else moment
    return {
        "label": spent.label,
        "standing": spent.standing,
        "hours": spent.hours,
        "gpu_hours": spent.gpu_hours,
        "usd": spent.total_usd,
        "usd_per_hour": sum(item.usd_per_hour for item in spent.items),
        "teardown": _text(teardown) if spent.standing else "",
        "usd_at_teardown": _calculated(run, teardown).total_usd,
        "sources": spent.sources,
    }


def show(run: Run, stage: str = "", account: Account | None = None) -> None:
    """Print the meter as one line, and store the reading as an event of the stage.

    `account`: asked which GPU nodes run; else those count that ran when it was last asked.
    """
    _ask(run, account)
    reading = read(run)
    if not reading["hours"]:
        print("Meter: US$ 0.00, this run has created nothing.")
        return
    run.event("meter", stage=stage, **reading)
    line = (
        "Meter ({label}): US$ {usd:.2f} so far in {hours:.2f} h ({gpu_hours:.2f} GPU hours), "
        "US$ {usd_per_hour:.2f} an hour now, US$ {usd_at_teardown:.2f} if torn down by {by} UTC, "
        "when the dead man's switch removes the GPU nodes, and they alone. Prices: {sources}."
        if reading["standing"]
        else "Meter ({label}): US$ {usd:.2f} so far in {hours:.2f} h; "
        "nothing exists any more. Prices: {sources}."
    )
    print(line.format_map(reading | {"by": reading["teardown"][11:16]}))


def _teardown(run: Run, moment: datetime) -> datetime:
    """When the dead man's switch fires, as it was last read or applied."""
    switch, stack = run.find(DeadMan), run.find(Stack)
    known = [switch.expires if switch else "", stack.dead_man_expires if stack else ""]
    start = usage_until(run, moment).periods["stack"][-1].start
    default = start + timedelta(hours=run.profile.infrastructure.ttl_hours)
    moments = [datetime.fromisoformat(text) for text in known if text]
    return max((moment for moment in moments if moment >= start), default=default)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class CostReport(Record, stage="06", name="costs"):
    """What a run has cost, calculated from its events and prices."""

    at: str  # when it was calculated, UTC
    emulated: bool  # whether the account is emulated: then nothing was spent
    label: str  # how the figures were obtained
    began: str  # when the first resource was requested, UTC; empty where none ever was
    ended: str  # when the last was removed, or the end of the calculation, UTC
    standing: bool  # whether the stack still existed at that moment
    hours: float  # how long the stack existed, hours
    gpu_hours: float  # GPU nodes times hours
    items: tuple[CostItem, ...]  # what each kind of resource has cost
    on_demand_usd: float  # what the GPU hours would have cost on demand, US dollars
    inferences: int | None  # successful answers in the run; None where none were counted
    sources: str  # where prices come from, and their dates

    @property
    def total_usd(self) -> float:
        """All of it, US dollars."""
        return sum(item.usd for item in self.items)

    @property
    def spot_usd(self) -> float:
        """What the GPU hours cost on the spot market, US dollars."""
        return sum(item.usd for item in self.items if item.gpu)

    @property
    def savings_usd(self) -> float:
        """What spot saved against on demand, US dollars."""
        return self.on_demand_usd - self.spot_usd

    @property
    def savings_pct(self) -> float | None:
        """The same in per cent; None without a GPU hour."""
        return 100 * self.savings_usd / self.on_demand_usd if self.on_demand_usd else None

    @property
    def per_1000_usd(self) -> float | None:
        """The whole cost for each 1,000 inferences, US dollars; None where none were counted."""
        return 1000 * self.total_usd / self.inferences if self.inferences else None

    @property
    def summary(self) -> str:
        """One sentence: what was used, what it cost, what spot saved."""
        if not self.hours:
            return "nothing was created, nothing was spent"
        saved = "" if self.savings_pct is None else f", {self.savings_pct:.0f} % below on demand"
        each = f"; US$ {self.per_1000_usd:.4f} per 1,000 inferences" if self.per_1000_usd else ""
        return (
            f"US$ {self.total_usd:.2f} for {self.hours:.2f} h, "
            f"{self.gpu_hours:.2f} GPU hours at US$ {self.spot_usd:.2f}{saved}{each} ({self.label})"
        )


def report(
    run: Run, account: Account | None = None, *, inferences: int | None = None
) -> CostReport:
    """Calculate what the run has cost by now, and store it.

    `account`: asked for the GPU nodes and spot prices of the run; else the recorded ones count.
    `inferences`: successful answers in the run; None where none were counted.
    """
    _ask(run, account)
    moment, known = datetime.now(UTC), run.find(SpotHistory)
    if account is not None and known and known.points and usage_until(run, moment).gpu_hours:
        try:  # prices recorded before the GPU nodes ran cannot include their hours
            record_spot_prices(run, account, {point.instance_type for point in known.points})
        except Problem as problem:
            print(f"Spot prices are those recorded before: {problem}")
    return run.save(_calculated(run, moment, inferences))


def _ask(run: Run, account: Account | None) -> None:
    if account is not None and run.find(Stack) and run.events("stack-apply-start"):
        try:
            record_gpu_nodes(run, account)
        except Problem as problem:
            print(f"GPU nodes are those recorded before: {problem}")


def _calculated(run: Run, moment: datetime, inferences: int | None = None) -> CostReport:
    model = run_cost_model(run)
    emulated = model.emulated if model else run.profile.target == "rehearsal"
    used = usage_until(run, moment)
    stack = used.periods["stack"]
    return CostReport(
        at=now(),
        emulated=emulated,
        label=EMULATED if emulated else ESTIMATED,
        began=_text(stack[0].start) if stack else "",
        ended=_text(stack[-1].end) if stack else "",
        standing=used.exists,
        hours=used.hours,
        gpu_hours=used.gpu_hours,
        items=tuple(bill(model, used)) if model and stack else (),
        on_demand_usd=sum(
            model.table.price(f"ec2.{node.instance_type}").usd * node.hours
            for node in used.periods["gpu-nodes"]
        )
        if model
        else 0.0,
        inferences=inferences,
        sources=model.sources if model else "",
    )


def frame(made: CostReport) -> pd.DataFrame:
    """One row for each kind of resource, and the total."""
    rows = [
        (i.what, f"{i.quantity:.2f} {i.unit}", f"{i.usd:.4f}", i.source, i.assumed)
        for i in made.items
    ]
    rows.append(("Total", f"{made.hours:.2f} hours", f"{made.total_usd:.4f}", "", ""))
    table = pd.DataFrame(rows, columns=["What", "Quantity", "US$", "Price", "Assumed"])
    return table.assign(Label="EMULATED" if made.emulated else "ESTIMATED")


def figures(made: CostReport) -> pd.DataFrame:
    """The figures that people ask for first."""
    pct, each = made.savings_pct, made.per_1000_usd
    facts = {
        "Existed": f"{made.hours:.2f} hours ({made.began or '–'} to {made.ended or '–'})",
        "GPU hours": f"{made.gpu_hours:.2f}",
        "GPU on the spot market": f"US$ {made.spot_usd:.4f}",
        "The same on demand": f"US$ {made.on_demand_usd:.4f}",
        "Spot savings": "–" if pct is None else f"US$ {made.savings_usd:.4f} ({pct:.0f} %)",
        "Total": f"US$ {made.total_usd:.4f}",
        "Per 1,000 inferences": (
            "–" if each is None else f"US$ {each:.4f} ({made.inferences:,} inferences)"
        ),
        "Prices": made.sources or "–",
        "Label": made.label,
    }
    return pd.DataFrame(facts.items(), columns=["What", "Figure"])
