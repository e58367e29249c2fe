"""Cost report and zero certificate, as the page shows them."""

from helpers.run import Run


def table(run: Run) -> str:
    """The cost report's lines as an HTML table; empty without a report."""
    return ""


def label(run: Run) -> str:
    """How much the figures of the cost report are worth."""
    return ""


def zero_table(run: Run) -> str:
    """What the zero certificate looked for, as an HTML table; empty without one."""
    return ""
