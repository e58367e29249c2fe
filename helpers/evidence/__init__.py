"""Pages, figures and verdicts of a run, drawn from its folder alone."""

__all__ = ["architecture", "case_study", "kpis", "page", "plots", "readme", "results", "verify"]
