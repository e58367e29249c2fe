"""The case study, one typeset page, and the write-up, a draft for a blog post in Markdown."""

import json
from pathlib import Path

import typst

from helpers import promises
from helpers.evidence import html_export, redaction, story
from helpers.run import Run

PDF, WRITE_UP = "evidence/case-study.pdf", "evidence/write-up.md"
TEMPLATE = html_export.TEMPLATES / "case-study.typ"
FIGURES = ("architecture", "latency-distribution", "capacity-curve", "latency-over-time")
LONGEST_LINE = 150
MOST_LINES = 5


def write(run: Run) -> Path:
    """Typeset the case study from the run's records; returns the path of the PDF."""
    facts = story.tell(run)
    figures = {
        name: {"svg": path.read_text(), "alt": path.with_suffix(".txt").read_text().strip()}
        for name in FIGURES
        if (path := run.folder / f"evidence/figures/{name}.svg").is_file()
    }
    inputs = (
        facts._asdict()
        | {
            "tiles": None,  # have no place on the page
            "run_id": run.run_id,
            "status": promises.summary(run),
            "kpis": [
                (kpi.title, kpi.target_text, kpi.measured_text, kpi.verdict) for kpi in facts.kpis
            ],
            "fine_print": [
                f"{line[:LONGEST_LINE]}{'…' if line[LONGEST_LINE:] else ''}"
                for line in facts.fine_print[:MOST_LINES]
            ],
            "figures": figures,
            "commit": (run.manifest()["git"]["commit"] or "unknown")[:12],
        }
    )
    redacted = redaction.redact(json.dumps(inputs), redaction.private_words(run))
    return run.write(PDF, typst.compile(TEMPLATE, sys_inputs={"facts": redacted}))


def is_written(run: Run) -> bool:
    """Whether the case study exists."""
    return (run.folder / PDF).is_file()


def write_up(run: Run) -> Path:
    """Fill the write-up from the run's records; returns its path."""
    return run.write(WRITE_UP, html_export.render("write-up.md.j2", run, story=story.tell(run)))
