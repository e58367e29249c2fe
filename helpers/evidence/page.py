"""The pack: figures, results, notebooks as HTML, and one page over all."""

import base64
from pathlib import Path
from typing import Any

from helpers import checklist
from helpers.checklist import MEANING, Status
from helpers.errors import Problem
from helpers.evidence import export, kpis, plots, results
from helpers.evidence.kpis import Verdicts
from helpers.load.report import LoadReport, ScenarioReport
from helpers.profile import LABEL
from helpers.run import Run
from helpers.serving.endpoint import Endpoint
from helpers.serving.reports import Models
from helpers.telemetry.report import Telemetry

INDEX = "evidence/index.html"


def pack(run: Run) -> Path:
    """Draw everything that the run's records allow; returns the path of the page.

    A figure whose records are missing is left out, and the page says so.
    """
    for name, draw in plots.FIGURES.items():
        try:
            draw(run)
        except Problem as problem:
            print(f"No figure {name}: {problem}")
    results.write(run)
    return bind(run)


def bind(run: Run) -> Path:
    """Export notebooks that have changed, and write the page over all."""
    return run.write(INDEX, render(run, export.notebooks(run)))


def render(run: Run, pages: list[Path]) -> str:
    """The page over all.

    Args:
        run: The run it tells of.
        pages: The exported notebooks that it links to.
    """
    return export.render("index.html.j2", **_facts(run), pages=pages)


def figures(run: Run) -> list[Path]:
    """The figures that were drawn, in reading order."""
    folder = run.folder / "evidence" / "figures"
    paths = [folder / f"{name}.png" for name in plots.FIGURES]
    return [path for path in paths if path.is_file()]


def has_all_figures(run: Run) -> bool:
    """Whether every figure was drawn that the profile asks for."""
    left_out = 0 if run.profile.load.capacity else 1
    return len(figures(run)) == len(plots.FIGURES) - left_out


def asks_nobody(run: Run) -> bool:
    """Whether the page and every exported notebook open without a request to anyone."""
    pages = [run.folder / INDEX, *(run.folder / "html").glob("*.html")]
    return not any(export.requests_of(page.read_text()) for page in pages)


def _facts(run: Run) -> dict[str, Any]:
    ticks = checklist.ticks(run)
    report = run.find(LoadReport)
    verdicts = run.find(Verdicts) or kpis.judge(run)
    return {
        "run": run,
        "manifest": run.manifest(),
        "label": LABEL[run.profile.target],
        "status": checklist.overall(ticks.values()),
        "meaning": MEANING,
        "promised": len(ticks),
        "shown": sum(tick.status in checklist.SHOWN for tick in ticks.values()),
        "counts": {one: sum(tick.status is one for tick in ticks.values()) for one in Status},
        "stages": [(stage, checklist.ticks(run, stage.number)) for stage in checklist.STAGES],
        "verdicts": verdicts,
        "measurement": kpis.measurement,
        "headline": _headline(run, report),
        "report": report,
        "scenario_table": _table(run) if report and report.scenarios else "",
        "telemetry": run.find(Telemetry),
        "models": run.find(Models),
        "endpoint": run.find(Endpoint),
        "figures": [_figure(path) for path in figures(run)],
        "failures": run.events("stage-failed"),
    }


def _headline(run: Run, report: LoadReport | None) -> ScenarioReport | None:
    scenarios = report.scenarios if report else ()
    return next((one for one in scenarios if one.name == run.profile.kpis.scenario), None)


def _table(run: Run) -> str:
    table: str = results.frame(run).to_html(index=False, border=0)
    return table


def _figure(path: Path) -> dict[str, str]:
    return {
        "name": path.stem,
        "alt": path.with_suffix(".txt").read_text().strip(),
        "data": base64.b64encode(path.read_bytes()).decode(),
    }
