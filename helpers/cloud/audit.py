"""docs/cost-audit.md, written from a run's records and from nothing else."""

from pathlib import Path

import jinja2
import pandas as pd

from helpers.cloud import billed, leftovers, meter, zero
from helpers.cloud.account import masked
from helpers.cloud.billed import Reconciliation
from helpers.cloud.meter import CostReport
from helpers.cloud.zero import Zero
from helpers.paths import ROOT
from helpers.profile import LABEL
from helpers.run import Run, write_atomically

TEMPLATES = Path(__file__).parent / "templates"
NAME = "cost-audit.md"
PUBLISHED = ROOT / "docs" / NAME


def write(run: Run, published: Path = PUBLISHED) -> Path:
    """Write the audit into the run, and on AWS beside the docs.

    A rehearsal does not touch the docs: `make sample` publishes the one that is committed.

    Args:
        run: Whose records are read; it needs a cost report.
        published: The copy beside the docs.

    Returns:
        The run's own copy.

    Raises:
        Problem: The run has no cost report.
    """
    text = render(run)
    path = run.write(NAME, text)
    if run.profile.target == "aws":
        publish(run, published)
    return path


def publish(run: Run, to: Path = PUBLISHED) -> None:
    """Put a run's audit beside the docs.

    Raises:
        Problem: The run has no cost report.
    """
    write_atomically(to, render(run))


def agrees(run: Run) -> bool:
    """Whether the written audit is what the records say now."""
    path = run.folder / NAME
    return path.is_file() and path.read_text() == render(run)


def render(run: Run) -> str:
    """The audit as Markdown, without account ids.

    Raises:
        Problem: The run has no cost report.
    """
    report = run.load(CostReport)
    certificate, reconciled = run.find(Zero), run.find(Reconciliation)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    )
    text = environment.get_template(f"{NAME}.j2").render(
        run_id=run.run_id,
        profile=run.profile.name,
        region=run.profile.region,
        label=f"**{LABEL[run.profile.target]}**",
        basis=f"{report.label[0].upper()}{report.label[1:]}.",
        figures=table(meter.figures(report)),
        items=table(meter.frame(report)),
        reconciliation=reconciled,
        rows=table(billed.frame(reconciled)) if reconciled else "",
        not_asked="the run created nothing."
        if not report.began
        else "stage 06 has not come so far.",
        zero=certificate,
        zero_table=table(zero.frame(certificate)) if certificate else "",
        looked=table(leftovers.looked_frame(certificate.last)) if certificate else "",
    )
    return masked(text).rstrip() + "\n"


def table(frame: pd.DataFrame) -> str:
    r"""A table as Markdown; what a cell holds cannot break it.

    >>> print(table(pd.DataFrame({"a": ["x|y"]})))
    | a |
    | --- |
    | x\|y |
    """
    rows = [list(frame.columns), ["---"] * len(frame.columns), *frame.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(_cell(one) for one in row) + " |" for row in rows)


def _cell(value: object) -> str:
    return " ".join(str(value).replace("|", "\\|").split())
