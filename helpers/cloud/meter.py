"""The meter: spent so far, burning per hour, projected at the dead man's hour. One line."""

from datetime import UTC, datetime, timedelta

from helpers.cloud import bills, usage
from helpers.cloud.bills import Basis
from helpers.cloud.dead_man import DeadMan
from helpers.cloud.reports import Stack
from helpers.run import Run
from helpers.scenario import Settings

EMULATED = "EMULATED: what it would cost on AWS; nothing was spent"
ESTIMATED = "ESTIMATED from events and prices; billed is what Cost Explorer says a day later"


class Reading(Settings):
    """What the meter says.

    Attributes:
        at: When, UTC.
        label: What the figures are worth.
        standing: Whether anything stands.
        hours: How long the stack stood, hours.
        gpu_hours: GPU nodes times hours.
        usd: So far, US dollars.
        usd_per_hour: Burning now, US dollars an hour.
        teardown: When the projection ends, UTC; empty where nothing stands.
        usd_at_teardown: Projected until then, US dollars.
        sources: Where the prices come from, and of which day.
    """

    at: str
    label: str
    standing: bool
    hours: float
    gpu_hours: float
    usd: float
    usd_per_hour: float
    teardown: str
    usd_at_teardown: float
    sources: str

    @property
    def line(self) -> str:
        """All of it in one line."""
        told = f"Meter ({self.label}): US$ {self.usd:.2f} so far in {self.hours:.2f} h"
        if not self.standing:
            return f"{told}, nothing stands any more. Prices: {self.sources}."
        return (
            f"{told} ({self.gpu_hours:.2f} GPU hours), US$ {self.usd_per_hour:.2f} an hour now, "
            f"US$ {self.usd_at_teardown:.2f} at {self.teardown}, the dead man's hour. "
            f"Prices: {self.sources}."
        )


def read(run: Run, at: datetime | None = None) -> Reading | None:
    """What the run has cost by now, or by another moment; None where nothing was ever planned.

    It reads the run's folder alone, so that it works without credentials and when all is gone.

    Args:
        run: Whose meter it is.
        at: The moment; None means now.

    Raises:
        Problem: The run's records cannot be read.
    """
    moment = at or datetime.now(UTC)
    basis = Basis.of(run)
    if basis is None:
        return None
    used = usage.of(run, moment)
    spent = bills.items(basis, used)
    teardown = max(_teardown(run, used), moment)
    later = bills.items(basis, usage.of(run, teardown)) if used.standing else spent
    return Reading(
        at=_text(moment),
        label=EMULATED if basis.emulated else ESTIMATED,
        standing=used.standing,
        hours=used.hours,
        gpu_hours=used.gpu_hours,
        usd=sum(one.usd for one in spent),
        usd_per_hour=sum(one.usd_per_hour for one in spent),
        teardown=_text(teardown) if used.standing else "",
        usd_at_teardown=sum(one.usd for one in later),
        sources=basis.sources,
    )


def show(run: Run, stage: str = "") -> None:
    """Print the meter as one line, and keep what it says as an event.

    Args:
        run: Whose meter it is.
        stage: The stage that shows it.

    Raises:
        Problem: The run's records cannot be read.
    """
    found = read(run)
    if found is None or not found.hours:
        print("Meter: US$ 0.00, this run has created nothing.")
        return
    run.event("meter", stage=stage, **found.model_dump(exclude={"at"}))
    print(found.line)


def _teardown(run: Run, used: usage.Usage) -> datetime:
    """When the dead man's switch fires, as it was last read or applied."""
    known = [one["expires"] for one in run.events("dead-man-renewed")]
    switch, stack = run.find(DeadMan), run.find(Stack)
    known += [switch.expires] if switch else []
    known += [stack.dead_man_expires] if stack else []
    moments = [_moment(one) for one in known if one]
    begun = used.stack[-1].start if used.stack else used.until
    default = begun + timedelta(hours=run.profile.infrastructure.ttl_hours)
    return max((one for one in moments if one >= begun), default=default)


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
