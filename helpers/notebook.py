"""The first and the last cell of a notebook: begin a stage on a run, and show its checklist."""

import html
import os
import re
from typing import Any

import pandas as pd
from IPython.core.getipython import get_ipython
from IPython.display import HTML, display

from helpers import promises
from helpers.errors import Problem
from helpers.processes import MARK
from helpers.profile import LABEL, Profile
from helpers.promises import Promise, Status, Tick
from helpers.run import Run

_STYLE = {  # sign and colour
    Status.VERIFIED: ("✔", "#00694d"),
    Status.RAN: ("✔", "#00547f"),
    Status.EMULATED: ("✔", "#6b3fa0"),
    Status.CHECKED: ("◐", "#7a5b00"),
    Status.NOT_RUN: ("–", "#5c5c5c"),
    Status.FAILED: ("✘", "#a83500"),
}


def begin(number: str, *, profile: str, run_id: str, **parameters: str) -> Run:
    """Begin a stage: check the parameters, open or create the run, and log the start.

    If `run_id` is empty, stage 00 begins a new run, and every other stage continues the newest
    open run of the profile. The parameter `settings` changes profile keys of a new run.
    A parameter that is unknown or wrong is a Problem, as is a missing run.
    """
    _hide_tracebacks_of_problems()
    pd.set_option("display.max_colwidth", None)
    known = {"profile": profile, "run_id": run_id, **parameters}
    _refuse_unknown_parameters(set(known))
    for name, value in known.items():
        if not isinstance(value, str):
            raise Problem(f"Parameter {name} must be text, not {value!r}.")
    run = open_run(profile, run_id, parameters.get("settings", ""), new=number == "00")
    os.environ[MARK] = run.mark
    run.event("stage-start", stage=number)
    title = promises.stage(number).title
    print(f"Stage {number} {title} · run {run.run_id}\n{LABEL[run.profile.target]}")
    return run


def open_run(profile: str, run_id: str = "", settings: str = "", *, new: bool = False) -> Run:
    """The run that a notebook or the command line works on: `run_id`, or the newest open run.

    With `new`, an empty `run_id` creates a run; only a new run accepts `settings`. A Problem says
    that the run does not exist, has another profile, or has begun with other settings.
    """
    chosen = Profile.load_named(profile, settings)
    run = Run.open(run_id) if run_id else (None if new else Run.newest_open(profile))
    if run is None:
        if not new:
            raise Problem(
                f"There is no open run of profile '{profile}'.",
                "Run notebook 00-setup first, or give a run_id.",
            )
        return Run.create(chosen)
    if run.profile.name != profile:
        raise Problem(f"Run {run.run_id} was made with profile '{run.profile.name}'.")
    if settings and chosen.digest() != run.profile.digest():
        raise Problem(
            f"Run {run.run_id} began with other settings.",
            "Settings are fixed when a run begins: leave run_id empty in 00-setup.",
        )
    return run


def finish(run: Run, number: str) -> None:
    """End a stage: log it, and show the status of its promises."""
    run.event("stage-end", stage=number)
    show_checklist(run, number)


def show_checklist(run: Run, number: str = "") -> None:
    """Show the promises of a stage, or of all stages, with status, evidence and reason."""
    ticked = promises.ticks(run, number)
    rows = "".join(_table_row(promise, tick) for promise, tick in ticked.items())
    used = dict.fromkeys(tick.status for tick in ticked.values())
    legend = "; ".join(f"{status}: {promises.MEANING[status]}" for status in used)
    titles = "".join(f"<th>{title}</th>" for title in ("", "Promise", "Status", "Evidence", "Note"))
    table = f"<table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table>"
    table += f"<p><small>{legend}.</small></p>"
    display(HTML(table), metadata={"alt": "checklist"})


def _table_row(promise: Promise, tick: Tick) -> str:
    sign, colour = _STYLE[tick.status]
    style = f"color:{colour};font-weight:600;white-space:nowrap"
    cells = (
        f'<td style="{style}" aria-hidden="true">{sign}</td>',
        f'<td style="text-align:left">{html.escape(promise.wording)}</td>',
        f'<td style="{style}">{tick.status}</td>',
        f'<td style="text-align:left"><code>{html.escape(tick.evidence) or "–"}</code></td>',
        f'<td style="text-align:left">{html.escape(tick.note)}</td>',
    )
    return f"<tr>{''.join(cells)}</tr>"


def _refuse_unknown_parameters(known: set[str]) -> None:
    """Refuse what papermill only warns of: a parameter that the notebook does not have."""
    shell = get_ipython()
    cells: list[str] = shell.user_ns.get("In", []) if shell else []
    injected = "\n".join(source for source in cells if source.startswith("# Parameters\n"))
    assigned = re.findall(r"^(\w+) = ", injected, re.MULTILINE)
    if unknown := sorted(set(assigned) - known):
        raise Problem(
            f"This notebook has no parameter '{unknown[0]}'.",
            f"It takes {', '.join(sorted(known))}.",
        )


def _hide_tracebacks_of_problems() -> None:
    """Show a Problem as its message: it is meant to be read, its traceback is not."""

    def show(
        shell: Any, kind: type[BaseException], problem: BaseException, trace: Any, tb_offset: Any
    ) -> list[str]:
        lines = [f"{kind.__name__}: {problem}"]
        shell._showtraceback(kind, problem, lines)
        return lines

    if notebook := get_ipython():
        notebook.set_custom_exc((Problem,), show)
