"""Predicted against billed: Cost Explorer, asked a day later; and the cost audit document."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import jinja2
import pandas as pd
from botocore.exceptions import ClientError

from helpers.cloud import leftovers, meter, zero
from helpers.cloud.account import GLOBAL_REGION, Account, asking, error_code, is_denied, masked
from helpers.cloud.meter import CostReport
from helpers.cloud.zero import Zero
from helpers.paths import ROOT
from helpers.profile import LABEL
from helpers.run import Record, Run, now, write_atomically
from helpers.scenario import Settings

METRIC, TAX = "UnblendedCost", "Tax"
SAME_USD = 0.01  # of smaller differences nothing is said
# charge types that pay for usage; without this filter, days that credits pay for are zero
CREDITS = {"Dimensions": {"Key": "RECORD_TYPE", "Values": ["Credit", "Refund"]}}
Coverage = Literal["complete", "partial", "late", "empty", "disabled"]
COVERAGE_TEXT: dict[Coverage, str] = {
    "complete": "Cost Explorer's figures are final.",
    "partial": "Cost Explorer marks its figures as estimated: some lines are still missing.",
    "late": "Cost Explorer does not have the run's last day yet.",
    "empty": "Cost Explorer has nothing of the run's days yet; it takes about a day.",
    "disabled": "Cost Explorer is not enabled in this account, or the caller may not use it.",
}
AGAIN = "Run 06 again with this run_id a day later: two requests, US$ 0.01 each."
ENABLE = "Enable Cost Explorer once in the billing console (data follow after a day)."
TEMPLATE = Path(__file__).parent / "templates" / "cost-audit.md.j2"
AUDIT = "cost-audit.md"


class ServiceBill(Settings):
    """One service, predicted against billed."""

    service: str  # in Cost Explorer's words
    predicted_usd: float  # from events and prices, US dollars
    billed_usd: float  # what has the project's tag; without an active tag everything billed
    untagged_usd: float  # what the same service bills in those days without the tag
    why: str  # what is known about the difference; empty where there is none


class Billed(Record, stage="06", name="cost-explorer"):
    """Cost Explorer's last answer, added up by service, US dollars; asked once a day at most."""

    asked: str  # when, UTC
    enabled: bool  # false where Cost Explorer refused to answer
    tagged: dict[str, float]  # usage with the project's tag, before credits
    untagged: dict[str, float]
    credits_usd: float  # of the whole account; negative
    days: frozenset[date]  # that it knows something of, UTC
    estimated: bool


class Reconciliation(Record, stage="06", name="reconciliation"):
    """What Cost Explorer answered, against the prediction."""

    asked: str  # when, UTC
    emulated: bool  # whether an emulator answered
    start: str  # first day
    end: str  # the day after the last
    coverage: Coverage  # how much Cost Explorer had
    tag_active: bool  # whether costs can be separated by the project's tag
    credits_usd: float = 0.0  # of the whole account in these days; negative
    rows: tuple[ServiceBill, ...]  # by service, most expensive first
    next_step: str  # what to do next; empty where nothing is left to do

    @property
    def summary(self) -> str:
        """One sentence: how much was predicted and billed, and how complete that is."""
        text = COVERAGE_TEXT[self.coverage]
        predicted = f"predicted US$ {sum(row.predicted_usd for row in self.rows):.2f}"
        if self.coverage in ("empty", "disabled"):
            return f"{predicted}, nothing billed yet. {text}"
        billed = f"billed US$ {sum(row.billed_usd for row in self.rows):.2f}"
        whose = "for this project" if self.tag_active else "in the whole account"
        days = f"from {self.start} to before {self.end}"
        paid = f", and credits of the whole account: US$ {self.credits_usd:.2f}"
        return f"{predicted}, {billed} {whose} {days} before credits{paid}. {text}"


def reconcile(run: Run, account: Account) -> Reconciliation | None:
    """Compare the cost report with what Cost Explorer bills; None if nothing was created."""
    predicted = run.load(CostReport)
    if not predicted.began:
        print("Nothing was created, so nothing is billed.")
        return None
    # Cost Explorer's days are UTC
    start, last = (datetime.fromisoformat(text).astimezone(UTC).date()
                   for text in (predicted.began, predicted.ended))  # fmt: skip
    end = last + timedelta(days=1)
    billed = run.find(Billed)
    if billed and billed.enabled and billed.asked[:10] == now()[:10]:
        print(f"Cost Explorer's answer is that of {billed.asked}: it is asked once a day.")
    else:
        billed = run.save(_query(account, start, end, run.profile.tags["project"]))
    coverage: Coverage = "empty" if billed.enabled else "disabled"
    if billed.days:
        final: Coverage = "partial" if billed.estimated else "complete"
        coverage = final if last in billed.days else "late"
    tag_active = any(billed.tagged.values())
    made = Reconciliation(
        asked=billed.asked,
        emulated=account.emulated,
        start=start.isoformat(),
        end=end.isoformat(),
        coverage=coverage,
        tag_active=tag_active,
        credits_usd=billed.credits_usd,
        rows=tuple(_rows(predicted, billed, coverage, tag_active)),
        next_step="" if coverage == "complete" else ENABLE if coverage == "disabled" else AGAIN,
    )
    print(f"{made.summary} {made.next_step}".strip())
    return run.save(made)


def frame(made: Reconciliation | None) -> pd.DataFrame:
    """By service, for people; no row where nothing was created."""
    if made is None:
        return pd.DataFrame()
    columns = ["Service", "Predicted, US$", "Billed, US$", "Difference", "Without the tag",
               "Because"]  # fmt: skip
    rows = [
        (row.service, f"{row.predicted_usd:.4f}", f"{row.billed_usd:.4f}",
         f"{row.billed_usd - row.predicted_usd:+.4f}", f"{row.untagged_usd:.4f}", row.why)
        for row in made.rows
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns).assign(Label="EMULATED" if made.emulated else "AWS")


def _query(account: Account, start: date, end: date, project: str) -> Billed:
    tagged, untagged = defaultdict[str, float](float), defaultdict[str, float](float)
    days, credits_usd, estimated, enabled = set[date](), 0.0, False, True
    with asking("what was billed"):
        try:
            for paid, day in _days(account, start, end):
                estimated |= bool(day.get("Estimated"))
                for group in day["Groups"]:
                    service, tag = group["Keys"]
                    usd = float(group["Metrics"][METRIC]["Amount"])
                    if paid:
                        credits_usd += usd
                    else:
                        (tagged if tag == f"project${project}" else untagged)[service] += usd
                    days.add(date.fromisoformat(day["TimePeriod"]["Start"]))
        except ClientError as error:
            if not is_denied(error) and error_code(error) != "DataUnavailableException":
                raise
            enabled = False
    return Billed(
        asked=now(),
        enabled=enabled,
        tagged=tagged,
        untagged=untagged,
        credits_usd=credits_usd,
        days=frozenset(days),
        estimated=estimated,
    )


def _days(account: Account, start: date, end: date) -> Iterator[tuple[bool, dict[str, Any]]]:
    """Every day of the answer: of usage (False), and of what paid for it (True)."""
    client = account.client("ce", GLOBAL_REGION)
    for paid in (False, True):
        query: dict[str, Any] = {
            "TimePeriod": {"Start": start.isoformat(), "End": end.isoformat()},
            "Granularity": "DAILY",
            "Metrics": [METRIC],
            "Filter": CREDITS if paid else {"Not": CREDITS},
            "GroupBy": [{"Type": "DIMENSION", "Key": "SERVICE"}, {"Type": "TAG", "Key": "project"}],
        }
        while query.get("NextPageToken", True):
            answer = client.get_cost_and_usage(**query)
            yield from ((paid, day) for day in answer["ResultsByTime"])
            query["NextPageToken"] = answer.get("NextPageToken")


def _rows(
    predicted: CostReport, billed: Billed, coverage: Coverage, tag_active: bool
) -> Iterator[ServiceBill]:
    expected: dict[str, float] = defaultdict(float)
    for item in predicted.items:
        expected[item.service] += item.usd
    side, others = (billed.tagged, billed.untagged) if tag_active else (billed.untagged, {})
    # without the tag, services that the run never used belong to others
    names = {*expected, *side} if tag_active else {*expected, *(set(side) & {TAX})}
    for service in sorted(names, key=lambda name: -max(expected[name], side.get(name, 0.0))):
        usd, paid, untagged = (each.get(service, 0.0) for each in (expected, side, others))
        taxed, everybody = service == TAX, bool(billed.days) and not tag_active
        known = {
            COVERAGE_TEXT[coverage]: coverage != "complete",
            "tax, which no list price includes": taxed,
            "the tag project is not active: all of the account's use is counted": everybody
            and not taxed,
            f"US$ {untagged:.2f} have no tag": untagged >= SAME_USD,
            "not in the prediction": not usd and not taxed,
        }
        why = [text for text, holds in known.items() if holds and abs(paid - usd) >= SAME_USD]
        yield ServiceBill(service=service, predicted_usd=usd, billed_usd=paid,
                          untagged_usd=untagged, why="; ".join(why))  # fmt: skip


def write_audit(run: Run, published: Path = ROOT / "docs" / AUDIT) -> Path:
    """Write the cost audit into the run, and on AWS (not in a rehearsal) also as `published`."""
    text = render_audit(run)
    if run.profile.target == "aws":
        write_atomically(published, text)
    return run.write(AUDIT, text)


def audit_agrees(run: Run) -> bool:
    """Whether the written audit is what the records say now."""
    path = run.folder / AUDIT
    return path.is_file() and path.read_text() == render_audit(run)


def render_audit(run: Run) -> str:
    """The audit as Markdown, from the run's records only, without account ids."""
    report = run.load(CostReport)
    certificate, reconciled = run.find(Zero), run.find(Reconciliation)
    template = jinja2.Template(TEMPLATE.read_text(), undefined=jinja2.StrictUndefined)
    text = template.render(
        run_id=run.run_id,
        profile=run.profile.name,
        region=run.profile.region,
        label=f"**{LABEL[run.profile.target]}**",
        basis=f"{report.label[0].upper()}{report.label[1:]}.",
        figures=markdown_table(meter.figures(report)),
        items=markdown_table(meter.frame(report)),
        reconciliation=reconciled,
        rows=markdown_table(frame(reconciled)) if reconciled else "",
        not_asked="stage 06 has not run yet." if report.began else "the run created nothing.",
        zero=certificate,
        zero_table=markdown_table(zero.frame(certificate)) if certificate else "",
        scanned=markdown_table(leftovers.kinds_frame(certificate.last)) if certificate else "",
    )
    return masked(text).rstrip() + "\n"


def markdown_table(table: pd.DataFrame) -> str:
    r"""A table as Markdown; no cell can break it.

    >>> print(markdown_table(pd.DataFrame({"a": ["x|y"]})))
    | a |
    | --- |
    | x\|y |
    """
    rows = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    cells = ([" ".join(str(cell).replace("|", "\\|").split()) for cell in row] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
