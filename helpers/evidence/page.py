"""The pack: figures, results, ledger, case study, write-up, notebooks as HTML, and one page."""

import base64
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers import promises
from helpers.errors import Problem
from helpers.evidence import (
    case_study,
    costs,
    diagram,
    export,
    kpis,
    ledger,
    masking,
    plots,
    results,
    story,
    write_up,
)
from helpers.evidence.ledger import Ledger
from helpers.load.report import LoadReport
from helpers.promises import MEANING, Status
from helpers.run import Run

INDEX = "evidence/index.html"
FIGURES: dict[str, Callable[[Run], None]] = {"architecture": diagram.architecture} | plots.FIGURES


def pack(run: Run) -> Path:
    """Draw everything that the run's records allow; returns the path of the page.

    What lacks its records is left out, and the page says so.
    """
    for name, draw in FIGURES.items():
        try:
            draw(run)
        except Problem as problem:
            print(f"No figure {name}: {problem}")
    results.write(run)
    case_study.write(run)
    write_up.write(run)
    return bind(run)


def bind(run: Run) -> Path:
    """Export notebooks that have changed, and write ledger and page over all."""
    ledger.write(run)
    return run.write(INDEX, render(run, export.notebooks(run)))


def render(run: Run, pages: list[Path]) -> str:
    """The page over all.

    Args:
        run: The run it tells of.
        pages: The exported notebooks that it links to.
    """
    return export.render("index.html.j2", run, **_facts(run), pages=pages)


def figures(run: Run) -> list[Path]:
    """The figures that were drawn, in reading order."""
    folder = run.folder / "evidence" / "figures"
    paths = [folder / f"{name}.png" for name in FIGURES]
    return [path for path in paths if path.is_file()]


def has_all_figures(run: Run) -> bool:
    """Whether every figure of the load was drawn that the profile asks for."""
    left_out = set() if run.profile.load.capacity else {"capacity-curve"}
    drawn = {path.stem for path in figures(run)}
    return set(plots.FIGURES) - left_out <= drawn


def asks_nobody(run: Run) -> bool:
    """Whether the page and every exported notebook open without a request to anyone."""
    pages = [run.folder / INDEX, *(run.folder / "html").glob("*.html")]
    return not any(export.requests_of(page.read_text()) for page in pages)


def gives_nothing_away(run: Run) -> bool:
    """Whether a scanner for secrets finds nothing in anything that is exported."""
    exported = [
        path
        for name in ("evidence", "html", "snapshots")
        for path in (run.folder / name).rglob("*")
    ]
    texts = [path for path in exported if path.suffix in (".html", ".json", ".csv", ".md", ".svg")]
    return not any(masking.findings(path.read_text()) for path in texts)


def _facts(run: Run) -> dict[str, Any]:
    ticks = promises.ticks(run)
    report = run.readable(LoadReport)
    scenario = kpis.judged_scenario(run)
    return {
        "manifest": run.manifest(),
        "story": story.tell(run),
        "problem": story.PROBLEM,
        "target_label": story.LABELS[run.profile.target],
        "status": promises.overall_status(ticks.values()),
        "meaning": MEANING,
        "promised": len(ticks),
        "shown": sum(tick.status in promises.SHOWN for tick in ticks.values()),
        "counts": {one: sum(tick.status is one for tick in ticks.values()) for one in Status},
        "stages": [(stage, promises.ticks(run, stage.number)) for stage in promises.STAGES],
        "measurement": kpis.measurement,
        "invalid": scenario.invalid if scenario else (),
        "report": report,
        "scenario_table": _table(run) if report and report.scenarios else "",
        "cost_table": costs.table(run),
        "cost_label": costs.label(run),
        "zero_table": costs.zero_table(run),
        "ledger": run.readable(Ledger) or ledger.write(run),
        "snapshots": sorted(path.stem for path in (run.folder / "snapshots").glob("*.html")),
        "figures": {path.stem: _figure(path) for path in figures(run)},
        "failures": run.events("stage-failed"),
        "has_case_study": (run.folder / case_study.PDF).is_file(),
    }


def _table(run: Run) -> str:
    table: str = results.frame(run).to_html(index=False, border=0)
    return table


def _figure(path: Path) -> dict[str, str | int]:
    data = path.read_bytes()
    width, height = struct.unpack(">II", data[16:24])  # of a PNG's header
    return {
        "name": path.stem,
        "alt": path.with_suffix(".txt").read_text().strip(),
        "data": base64.b64encode(data).decode(),
        "width": width,
        "height": height,
    }
