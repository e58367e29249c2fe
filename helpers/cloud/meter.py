"""The meter (spent, US$ an hour, projection) and the cost report of stage 06."""

from datetime import UTC, datetime, timedelta

import pandas as pd

from helpers.cloud.account import Account
from helpers.cloud.costs import (
    CostItem,
    Usage,
    bill,
    on_demand_usd,
    run_cost_model,
    usage_until,
)
from helpers.cloud.guardrails import DeadMan
from helpers.cloud.prices import SpotHistory, record_spot_prices
from helpers.cloud.stack import Stack
from helpers.errors import Problem
from helpers.run import Record, Run, now
from helpers.scenario import Settings

EMULATED = "EMULATED: what it would cost on AWS; nothing was spent"
ESTIMATED = "ESTIMATED from events and prices; billed is what Cost Explorer says a day later"


class Reading(Settings):
    """What the meter shows."""

    at: str  # when, UTC
    label: str  # how the figures were obtained
    standing: bool  # whether the stack exists
    hours: float  # how long it has existed, hours
    gpu_hours: float  # GPU nodes times hours
    usd: float  # so far, US dollars
    usd_per_hour: float  # now, US dollars an hour
    teardown: str  # when the projection ends, UTC; empty where nothing exists
    usd_at_teardown: float  # projected until then, US dollars
    sources: str  # where the prices come from, and their dates

    @property
    def line(self) -> str:
        """All of it in one line."""
        spent = f"Meter ({self.label}): US$ {self.usd:.2f} so far in {self.hours:.2f} h"
        if not self.standing:
            return f"{spent}; nothing exists any more. Prices: {self.sources}."
        return (
            f"{spent} ({self.gpu_hours:.2f} GPU hours), US$ {self.usd_per_hour:.2f} an hour now, "
            f"US$ {self.usd_at_teardown:.2f} at {self.teardown}, when the dead man's switch fires. "
            f"Prices: {self.sources}."
        )


def read(run: Run, at: datetime | None = None) -> Reading | None:
    """What the run has cost by now, or by another moment; None where nothing was ever planned.

    It reads the run's folder only: it needs no credentials, and works after the teardown.
    """
    moment = at or datetime.now(UTC)
    model = run_cost_model(run)
    if model is None:
        return None
    used = usage_until(run, moment, emulated=model.emulated)
    items = bill(model, used)
    teardown = max(_teardown(run, used), moment)
    later = bill(model, usage_until(run, teardown, emulated=model.emulated))
    return Reading(
        at=_text(moment),
        label=EMULATED if model.emulated else ESTIMATED,
        standing=used.exists,
        hours=used.hours,
        gpu_hours=used.gpu_hours,
        usd=sum(item.usd for item in items),
        usd_per_hour=sum(item.usd_per_hour for item in items),
        teardown=_text(teardown) if used.exists else "",
        usd_at_teardown=sum(item.usd for item in (later if used.exists else items)),
        sources=model.sources,
    )


def show(run: Run, stage: str = "") -> None:
    """Print the meter as one line, and store the reading as an event of the stage."""
    reading = read(run)
    if reading is None or not reading.hours:
        print("Meter: US$ 0.00, this run has created nothing.")
        return
    run.event("meter", stage=stage, **reading.model_dump(exclude={"at"}))
    print(reading.line)


def _teardown(run: Run, used: Usage) -> datetime:
    """When the dead man's switch fires, as it was last read or applied."""
    known = [event["expires"] for event in run.events("dead-man-renewed")]
    switch, stack = run.find(DeadMan), run.find(Stack)
    known += [switch.expires] if switch else []
    known += [stack.dead_man_expires] if stack else []
    moments = [_utc(text) for text in known if text]
    start = used.stack[-1].start if used.stack else used.until
    default = start + timedelta(hours=run.profile.infrastructure.ttl_hours)
    return max((moment for moment in moments if moment >= start), default=default)


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


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

    `account`: asked for the spot prices of the run's own hours; without an account, or where
    it does not answer, the recorded prices count.
    `inferences`: successful answers in the run; None where none were counted.
    """
    moment = datetime.now(UTC)
    known = run.find(SpotHistory)
    if account is not None and known and known.points and usage_until(run, moment).gpu_nodes:
        try:  # prices recorded before the GPU nodes ran cannot include their hours
            record_spot_prices(run, account, {point.instance_type for point in known.points})
        except Problem as problem:
            print(f"Spot prices are those recorded before: {problem}")
    model = run_cost_model(run)
    emulated = model.emulated if model else run.profile.target == "rehearsal"
    used = usage_until(run, moment, emulated=emulated)
    made = CostReport(
        at=now(),
        emulated=emulated,
        label=EMULATED if emulated else ESTIMATED,
        began=_text(used.stack[0].start) if used.stack else "",
        ended=_text(used.stack[-1].end) if used.stack else "",
        standing=used.exists,
        hours=used.hours,
        gpu_hours=used.gpu_hours,
        items=bill(model, used) if model and used.stack else (),
        on_demand_usd=on_demand_usd(model, used) if model else 0.0,
        inferences=inferences,
        sources=model.sources if model else "",
    )
    run.save(made)
    return made


def frame(made: CostReport) -> pd.DataFrame:
    """One row for each kind of resource, and the total."""
    rows = [
        {
            "What": item.what,
            "Quantity": f"{item.quantity:.2f} {item.unit}",
            "US$": f"{item.usd:.4f}",
            "Price": item.source,
            "Assumed": item.assumed,
        }
        for item in made.items
    ]
    rows.append(
        {"What": "Total", "Quantity": f"{made.hours:.2f} hours", "US$": f"{made.total_usd:.4f}"}
    )
    table = pd.DataFrame(rows).fillna("")
    return table.assign(Label="EMULATED" if made.emulated else "ESTIMATED")


def figures(made: CostReport) -> pd.DataFrame:
    """The figures that people ask for first."""
    saved = per_1000 = "–"
    if made.savings_pct is not None:
        saved = f"US$ {made.savings_usd:.4f} ({made.savings_pct:.0f} %)"
    if made.per_1000_usd is not None:
        per_1000 = f"US$ {made.per_1000_usd:.4f} ({made.inferences:,} inferences)"
    facts = {
        "Existed": f"{made.hours:.2f} hours ({made.began or '–'} to {made.ended or '–'})",
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
