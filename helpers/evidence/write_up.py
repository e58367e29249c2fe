"""The write-up: a draft for a blog or a post, in Markdown."""

from pathlib import Path

from helpers.evidence import export, kpis, story
from helpers.run import Run

PATH = "evidence/write-up.md"


def write(run: Run) -> Path:
    """Fill the write-up from the run's records; returns its path."""
    text = export.render(
        "write-up.md.j2",
        run,
        story=story.tell(run),
        problem=story.PROBLEM,
        target_label=story.LABELS[run.profile.target],
        measurement=kpis.measurement,
    )
    return run.write(PATH, text)
