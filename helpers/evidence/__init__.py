"""Pages, figures and verdicts of a run, drawn from its folder alone.

- `kpis`: the targets of the profile, judged against what was measured
- `results`: the measured figures as tables, JSON and CSV
- `ledger`: every figure with its source file and the file's hash
- `verify`: hashes, figures and statistics checked again
- `plots`: the figures of load, capacity and telemetry
- `architecture`: the diagram of plan and charts
- `story`: the sentences that all texts share
- `case_study`: the one-page PDF and the write-up
- `page`: everything together, and the page over all
- `html_export`: notebooks and templates as self-contained HTML
- `redaction`: secrets and private names replaced, and a scan for what is left
- `compare`: two runs side by side
- `readme`: the sections and pictures of the README
"""

__all__ = ["architecture", "case_study", "kpis", "page", "plots", "readme", "results", "verify"]
