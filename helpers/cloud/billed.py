"""Predicted against billed: Cost Explorer is asked later, and the difference is explained."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import pandas as pd
from botocore.exceptions import ClientError

from helpers.cloud.account import Account, asking
from helpers.cloud.leftovers.calls import code, is_denied
from helpers.cloud.meter import CostReport
from helpers.errors import Problem
from helpers.run import Record, Run, now
from helpers.scenario import Settings

REGION = "us-east-1"  # the only one in which Cost Explorer answers
METRIC = "UnblendedCost"
TAX = "Tax"
SAME_USD = 0.01  # below it nobody looks for a reason
Coverage = Literal["complete", "partial", "late", "empty", "disabled"]
SAYS: dict[Coverage, str] = {
    "complete": "Cost Explorer's figures are final.",
    "partial": "Cost Explorer marks its figures as estimated: lines are still to come.",
    "late": "Cost Explorer does not know the run's last day yet.",
    "empty": "Cost Explorer knows nothing of the run's days yet; it takes about a day.",
    "disabled": "Cost Explorer is not enabled in this account, or may not be asked.",
}
AGAIN = "Run 06 again with this run_id a day later; each request costs US$ 0.01."
ENABLE = "Enable Cost Explorer once in the billing console (data follow after a day)."


class Row(Settings):
    """One service, predicted against billed.

    Attributes:
        service: In Cost Explorer's words.
        predicted_usd: From events and prices, US dollars.
        billed_usd: What carries the project's tag; without an active tag all that is billed.
        untagged_usd: What the same service bills in those days without the tag.
        why: What explains the difference; empty where there is none to speak of.
    """

    service: str
    predicted_usd: float
    billed_usd: float
    untagged_usd: float
    why: str

    @property
    def difference_usd(self) -> float:
        """Billed minus predicted, US dollars."""
        return self.billed_usd - self.predicted_usd


class Reconciliation(Record, stage="06", name="reconciliation"):
    """What Cost Explorer said, against the prediction.

    Attributes:
        asked: When, UTC.
        emulated: Whether an emulator answered.
        start: First day.
        end: The day after the last.
        coverage: How much Cost Explorer knew.
        tag_active: Whether costs can be told apart by the project's tag.
        rows: By service, dearest first.
        next_step: What to do next; empty where nothing is left to do.
    """

    asked: str
    emulated: bool
    start: str
    end: str
    coverage: Coverage
    tag_active: bool
    rows: tuple[Row, ...]
    next_step: str

    @property
    def predicted_usd(self) -> float:
        """All that was predicted, US dollars."""
        return sum(one.predicted_usd for one in self.rows)

    @property
    def billed_usd(self) -> float:
        """All that was billed for the run, US dollars."""
        return sum(one.billed_usd for one in self.rows)

    @property
    def summary(self) -> str:
        """One sentence: how much was predicted and billed, and what that is worth."""
        said = SAYS[self.coverage]
        if self.coverage in ("empty", "disabled"):
            return f"predicted US$ {self.predicted_usd:.2f}, nothing billed yet. {said}"
        whose = "for this project" if self.tag_active else "in the whole account"
        return (
            f"predicted US$ {self.predicted_usd:.2f}, billed US$ {self.billed_usd:.2f} {whose} "
            f"from {self.start} to before {self.end}. {said}"
        )


@dataclass
class _Billed:
    """What Cost Explorer answered, added up."""

    tagged: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    untagged: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    days: set[date] = field(default_factory=set)
    estimated: bool = False


def reconcile(run: Run, account: Account) -> Reconciliation:
    """Ask Cost Explorer for the run's days, and hold it against the cost report.

    It asks once, or once a page; AWS bills US$ 0.01 for each request.

    Args:
        run: Whose costs they are; it needs a cost report of a stack that stood.
        account: Whom to ask.

    Raises:
        Problem: There is nothing to reconcile, the credentials have expired, or AWS cannot be
            reached. Cost Explorer that is not enabled is no Problem.
    """
    predicted = run.load(CostReport)
    if not predicted.began:
        raise Problem("There is nothing to reconcile: the run has created nothing.")
    start, last = _day(predicted.began), _day(predicted.ended)
    billed = _ask(account, start, last + timedelta(days=1), run.profile.tags["project"])
    coverage = _coverage(billed, last)
    tag_active = bool(billed and any(billed.tagged.values()))
    made = Reconciliation(
        asked=now(),
        emulated=account.emulated,
        start=start.isoformat(),
        end=(last + timedelta(days=1)).isoformat(),
        coverage=coverage,
        tag_active=tag_active,
        rows=tuple(_rows(predicted, billed or _Billed(), coverage, tag_active)),
        next_step="" if coverage == "complete" else ENABLE if coverage == "disabled" else AGAIN,
    )
    run.save(made)
    return made


def reconcile_where_created(run: Run, account: Account) -> Reconciliation | None:
    """As `reconcile`, with its summary printed; None, and a sentence, for a run without costs.

    Raises:
        Problem: The credentials have expired, or AWS cannot be reached.
    """
    if not run.load(CostReport).began:
        print("Nothing was created, so nothing is billed.")
        return None
    made = reconcile(run, account)
    print(f"{made.summary} {made.next_step}".strip())
    return made


def frame(made: Reconciliation | None) -> pd.DataFrame:
    """By service, for people; no row where nothing was created."""
    if made is None:
        return pd.DataFrame()
    table = pd.DataFrame(
        {
            "Service": [one.service for one in made.rows],
            "Predicted, US$": [f"{one.predicted_usd:.4f}" for one in made.rows],
            "Billed, US$": [f"{one.billed_usd:.4f}" for one in made.rows],
            "Difference": [f"{one.difference_usd:+.4f}" for one in made.rows],
            "Without the tag": [f"{one.untagged_usd:.4f}" for one in made.rows],
            "Because": [one.why for one in made.rows],
        }
    )
    return table.assign(Label="EMULATED" if made.emulated else "AWS")


def _ask(account: Account, start: date, end: date, project: str) -> _Billed | None:
    """All costs of some days, by service and tag; None where Cost Explorer is not to be had."""
    client = account.client("ce", REGION)
    wanted: dict[str, Any] = {
        "TimePeriod": {"Start": start.isoformat(), "End": end.isoformat()},
        "Granularity": "DAILY",
        "Metrics": [METRIC],
        "GroupBy": [{"Type": "DIMENSION", "Key": "SERVICE"}, {"Type": "TAG", "Key": "project"}],
    }
    found = _Billed()
    with asking("what was billed"):
        try:
            while True:
                said = client.get_cost_and_usage(**wanted)
                for day in said["ResultsByTime"]:
                    _add(found, day, project)
                if not said.get("NextPageToken"):
                    return found
                wanted["NextPageToken"] = said["NextPageToken"]
        except ClientError as error:
            if is_denied(error) or code(error) == "DataUnavailableException":
                return None
            raise


def _add(found: _Billed, day: dict[str, Any], project: str) -> None:
    found.estimated |= bool(day.get("Estimated"))
    for group in day["Groups"]:
        service, tag = group["Keys"]
        usd = float(group["Metrics"][METRIC]["Amount"])
        side = found.tagged if tag == f"project${project}" else found.untagged
        side[service] += usd
        if usd:
            found.days.add(date.fromisoformat(day["TimePeriod"]["Start"]))


def _coverage(billed: _Billed | None, last: date) -> Coverage:
    if billed is None:
        return "disabled"
    if not billed.days:
        return "empty"
    if last not in billed.days:
        return "late"
    return "partial" if billed.estimated else "complete"


def _rows(
    predicted: CostReport, billed: _Billed, coverage: Coverage, tag_active: bool
) -> Iterator[Row]:
    expected: dict[str, float] = defaultdict(float)
    for item in predicted.items:
        expected[item.service] += item.usd
    side = billed.tagged if tag_active else billed.untagged
    # without the tag, services that the run never used are somebody else's
    names = {*expected, *side} if tag_active else {*expected, *(set(side) & {TAX})}
    for service in sorted(names, key=lambda one: -max(expected[one], side[one])):
        paid, untagged = side[service], billed.untagged[service] if tag_active else 0.0
        why = _reasons(service, expected[service], paid, untagged, coverage, tag_active)
        yield Row(
            service=service,
            predicted_usd=expected[service],
            billed_usd=paid,
            untagged_usd=untagged,
            why="; ".join(why),
        )


def _reasons(
    service: str, predicted: float, paid: float, untagged: float, coverage: Coverage, active: bool
) -> Iterable[str]:
    """What explains a difference, likeliest first."""
    gap = paid - predicted
    if abs(gap) < SAME_USD:
        return []
    if coverage in ("empty", "disabled"):
        return [SAYS[coverage]]
    reasons = [] if coverage == "complete" else [SAYS[coverage]]
    if service == TAX:
        return [*reasons, "tax, which no list price holds"]
    if not active:
        reasons.append("the tag project is not active: all of the account's use is counted")
    if paid < 0:
        reasons.append("a credit")
    elif gap < 0 and untagged >= SAME_USD:
        reasons.append(f"US$ {untagged:.2f} carry no tag, this run's perhaps among them")
    elif gap < 0:
        reasons.append("free tier, credits, or less used than assumed")
    elif predicted == 0:
        reasons.append("not in the prediction: it has no price by the hour")
    else:
        reasons.append("more traffic or hours begun than assumed, or another run of these days")
    return reasons


def _day(moment: str) -> date:
    """Cost Explorer's days are UTC."""
    return datetime.fromisoformat(moment).astimezone(UTC).date()
