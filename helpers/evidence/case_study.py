"""The case study: one typeset page."""

import json
from pathlib import Path
from typing import Any

import typst

from helpers import promises
from helpers.evidence import export, kpis, masking, story
from helpers.run import Run

PDF = "evidence/case-study.pdf"
TEMPLATE = export.TEMPLATES / "case-study.typ"
FIGURES = ("architecture", "latency-distribution", "capacity-curve", "latency-over-time")
LONGEST_LINE = 150


def write(run: Run) -> Path:
    """Typeset the case study of what the run holds; returns the path of the PDF."""
    facts = masking.mask(json.dumps(_facts(run)), masking.own_words(run))
    pdf = typst.compile(TEMPLATE, sys_inputs={"facts": facts})
    return run.write(PDF, pdf)


def is_written(run: Run) -> bool:
    """Whether the case study was typeset."""
    return (run.folder / PDF).is_file()


def _facts(run: Run) -> dict[str, Any]:
    told = story.tell(run)
    commit = run.manifest()["git"]["commit"]
    return {
        "label": told.label,
        "target_label": story.LABELS[run.profile.target],
        "title": told.title,
        "built": told.built,
        "run_id": run.run_id,
        "status": str(promises.overall_status(promises.ticks(run).values())),
        "machine": told.machine,
        "problem": story.PROBLEM,
        "kpis": [
            {
                "title": one.title,
                "target": f"{'≥' if one.at_least else '≤'} {one.target:g} {one.unit}",
                "measured": kpis.measurement(one),
                "verdict": str(one.verdict),
            }
            for one in told.kpis
        ],
        "print": [_shortened(line) for line in told.print[:5]],
        "cost": {"text": told.cost.text, "status": str(told.cost.status)},
        "gone": {"text": told.gone.text, "status": str(told.gone.status)},
        "figures": {
            name: {"svg": path.read_text(), "alt": path.with_suffix(".txt").read_text().strip()}
            for name in FIGURES
            if (path := run.folder / f"evidence/figures/{name}.svg").is_file()
        },
        "commit": commit[:12] if commit else "unknown",
    }


def _shortened(line: str) -> str:
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…"
