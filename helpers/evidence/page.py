"""Draws what a run's records allow: figures, results, ledger, texts, and one page over all."""

import base64
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from helpers import promises
from helpers.cloud import meter, zero
from helpers.cloud.meter import CostReport
from helpers.cloud.zero import Zero
from helpers.errors import Problem
from helpers.evidence import (
    architecture,
    case_study,
    html_export,
    kpis,
    ledger,
    plots,
    redaction,
    results,
    story,
)
from helpers.evidence.ledger import Ledger
from helpers.load.records import LoadReport
from helpers.promises import MEANING, Status
from helpers.run import Run
from helpers.telemetry.records import Telemetry

INDEX = "evidence/index.html"
FIGURES: dict[str, Callable[[Run], None]] = {"architecture": architecture.draw} | plots.FIGURES
EXPORTED = ("evidence", "html", "snapshots")
TEXTS = (".html", ".json", ".csv", ".md", ".svg")


def pack(run: Run) -> Path:
    """Draw everything that the run's records allow, and say what is left out; returns the page."""
    for name, draw in FIGURES.items():
        try:
            draw(run)
        except Problem as problem:
            print(f"No figure {name}: {problem}")
    results.write(run)
    case_study.write(run)
    case_study.write_up(run)
    return write_index(run)


def write_index(run: Run) -> Path:
    """Export notebooks that have changed, and write the ledger and the page over all."""
    ledger.write(run)
    return run.write(INDEX, render(run, html_export.export_notebooks(run)))


def render(run: Run, pages: list[Path]) -> str:
    """The page over all as HTML, with links to exported notebooks."""
    ticks, report = promises.ticks(run), run.readable(LoadReport)
    cost, certificate = run.readable(CostReport), run.readable(Zero)
    scenario = kpis.judged_scenario(run)
    return html_export.render(
        "index.html.j2", run, pages=pages, manifest=run.manifest(), story=story.tell(run),
        summary=promises.summary(run), meaning=MEANING,
        counts=Counter(tick.status for tick in promises.shown(run).values()), words=Status,
        stages=[(stage, promises.ticks(run, stage.number)) for stage in promises.STAGES],
        open=[each for each in ticks.items() if each[1].status in (Status.NOT_RUN, Status.FAILED)],
        standing=zero.standing(run), shows=story.TEXTS["shows"],
        invalid=scenario.invalid if scenario else (), report=report,
        scenario_table=_html(results.frame(run)) if report and report.scenarios else "",
        cost_table=_html(meter.figures(cost), meter.frame(cost)) if cost and cost.began else "",
        cost_label=cost.label if cost else "",
        zero_table=_html(zero.frame(certificate)) if certificate else "",
        ledger=run.readable(Ledger) or ledger.write(run),
        snapshots=sorted(path.stem for path in (run.folder / "snapshots").glob("*.html")),
        figures={path.stem: _figure(path) for path in figures(run)},
        failures=run.events("stage-failed"), has_case_study=case_study.is_written(run),
    )  # fmt: skip


def figures(run: Run) -> list[Path]:
    """The figures that were drawn, in reading order."""
    paths = [run.folder / f"evidence/figures/{name}.png" for name in FIGURES]
    return [path for path in paths if path.is_file()]


def has_all_figures(run: Run) -> bool:
    """Whether every figure of the load was drawn that the profile asks for."""
    optional = set() if run.profile.load.capacity else {"capacity-curve"}
    if (telemetry := run.readable(Telemetry)) and all(facts.absent for facts in telemetry.series):
        optional.add("telemetry")
    return set(plots.FIGURES) - optional <= {path.stem for path in figures(run)}


def is_self_contained(run: Run) -> bool:
    """Whether the page and every exported notebook open without loading anything from elsewhere."""
    pages = [run.folder / INDEX, *(run.folder / "html").glob("*.html")]
    return not any(html_export.external_requests(page.read_text()) for page in pages)


def has_no_secrets(run: Run) -> bool:
    """Whether a scanner for secrets finds nothing in any exported file."""
    exported = (path for folder in EXPORTED for path in (run.folder / folder).rglob("*"))
    texts = (path.read_text() for path in exported if path.suffix in TEXTS)
    return not any(redaction.find_secrets(text) for text in texts)


def _html(*frames: pd.DataFrame) -> str:
    return "\n".join(frame.to_html(index=False, border=0) for frame in frames)


def _figure(path: Path) -> dict[str, str | int]:
    data, alt = path.read_bytes(), path.with_suffix(".txt").read_text().strip()
    width, height = struct.unpack(">II", data[16:24])  # of a PNG's header
    return {"name": path.stem, "alt": alt, "data": base64.b64encode(data).decode(),
            "width": width, "height": height}  # fmt: skip
