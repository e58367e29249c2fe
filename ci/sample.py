"""Redraws the committed sample of the evidence and the README's figures from a finished run."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from helpers.cloud import cost_explorer
from helpers.errors import Problem
from helpers.evidence import case_study, page, redaction
from helpers.evidence.kpis import Kpi
from helpers.evidence.ledger import Ledger
from helpers.evidence.results import Results
from helpers.run import Run, run_folders

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
SAMPLE = DOCS / "evidence"
KEPT = ("results.json", "results.csv", "case-study.pdf")
README = ROOT / "README.md"
BLOCK = re.compile(
    r"(?<=<!-- figures: made by `make sample` -->\n).*?(?=<!-- figures end -->)", re.S
)


def main() -> None:
    """Redraw the sample from the newest finished run of the rehearsal profile."""
    run = newest()
    page.pack(run)
    shutil.rmtree(SAMPLE, ignore_errors=True)
    (SAMPLE / "figures").mkdir(parents=True)
    for name in KEPT:
        shutil.copy(run.folder / "evidence" / name, SAMPLE)
    for picture in page.figures(run):
        shutil.copy(picture, SAMPLE / "figures")
    ledger = redaction.redact(
        (run.folder / Ledger.path()).read_text(), redaction.private_words(run)
    )
    (SAMPLE / "ledger.json").write_text(ledger)
    (SAMPLE / "index.html").write_text(page.render(run, pages=[]))
    shutil.copy(run.folder / case_study.WRITE_UP, DOCS / "write-up.md")
    (DOCS / cost_explorer.AUDIT).write_text(cost_explorer.render_audit(run))
    (DOCS / "results.schema.json").write_text(schema())
    results = json.loads((SAMPLE / "results.json").read_text())
    README.write_text(BLOCK.sub(lambda _: block(results), README.read_text()))
    print(f"docs/evidence and the README's figures are now those of {run.run_id}.")


def schema() -> str:
    """The schema of `results.json`, as JSON Schema."""
    return json.dumps(Results.model_json_schema(), indent=2) + "\n"


def newest() -> Run:
    """The newest finished run of the rehearsal profile that has every figure."""
    for folder in reversed(run_folders()):
        run = Run.open(folder.name)
        finished = run.manifest()["ended"] and not run.events("stage-failed")
        if run.profile.name == "rehearsal" and finished and page.has_all_figures(run):
            return run
    raise Problem("There is no finished rehearsal.", "Run 'make rehearse' first.")


def block(results: dict[str, Any]) -> str:
    """The README's table of KPIs as Markdown, from the content of `results.json`."""
    rows = [_row(Kpi.model_validate(kpi)) for kpi in results["kpis"]]
    machine = results["machine"]
    scenario = results["profile"]["kpis"]["scenario"]
    return "\n".join(
        [
            "",
            "| REHEARSAL | target | measured | verdict |",
            "|---|---|---|---|",
            *rows,
            "",
            f"Scenario “{scenario}” of run `{results['run_id']}` on {machine['cores']} cores "
            f"({machine['processor']}); client, server and monitoring ran on the same cores. The "
            "95 % confidence intervals are in brackets. These are CPU figures of a rehearsal, not "
            "GPU figures.",
            "",
        ]
    )


def _row(kpi: Kpi) -> str:
    shown = kpi.measured_text if kpi.measured is not None else f"– ({kpi.note})"
    return f"| {kpi.title} | {kpi.target_text} | {shown} | {kpi.verdict} |"


if __name__ == "__main__":
    try:
        main()
    except Problem as problem:
        sys.exit(str(problem))
