"""Cost report and zero certificate, as the page shows them."""

from helpers.cloud import costs, zero
from helpers.cloud.costs import CostReport
from helpers.cloud.zero import Zero
from helpers.run import Run


def table(run: Run) -> str:
    """The cost report, totals first, as HTML tables; empty without a report."""
    report = run.readable(CostReport)
    if report is None or not report.began:
        return ""
    parts = (costs.figures(report), costs.frame(report))
    return "\n".join(part.to_html(index=False, border=0) for part in parts)


def label(run: Run) -> str:
    """How much the figures of the cost report are worth."""
    report = run.readable(CostReport)
    return report.label if report else ""


def zero_table(run: Run) -> str:
    """The zero certificate as an HTML table; empty without one."""
    made = run.readable(Zero)
    return zero.frame(made).to_html(index=False, border=0) if made else ""
