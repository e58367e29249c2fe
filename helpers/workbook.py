"""Runs the notebooks headless, one after the other, and always tears down; the command line."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import papermill
import typer
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from helpers import checklist, services
from helpers.checklist import Stage, Status
from helpers.doctor import print_report
from helpers.errors import Problem, Unavailable
from helpers.evidence import page
from helpers.paths import NOTEBOOKS
from helpers.run import Run, run_folders
from helpers.stage import LABEL, open_run

TEARDOWN, EVIDENCE = "06", "07"
FAILED, INTERRUPTED = 1, 130
# sockets that only this user can open, where the default is a port of this machine
KERNEL = Config({"KernelManager": {"transport": "ipc"}})


@dataclass(frozen=True)
class Outcome:
    """How a sequence of stages ended.

    Attributes:
        code: Exit status: 0, 1 (a stage failed) or 130 (interrupted).
        reason: What failed, one sentence; empty where nothing did.
    """

    code: int = 0
    reason: str = ""


def run_stages(run: Run, stages: list[Stage], *, keep: bool = False) -> Outcome:
    """Run stages in order; whatever happens, tear down and write evidence of what was seen.

    Args:
        run: The run they add to.
        stages: Which, in order; those without a notebook are passed over.
        keep: Leave services running and the run open.

    Returns:
        How it ended; the first failure counts.
    """
    work = [one for one in stages if one.exists and one.number not in (TEARDOWN, EVIDENCE)]
    ending = {one.number: one for one in stages if one.number in (TEARDOWN, EVIDENCE)}
    with _owned(run):
        outcome = _sequence(run, work)
        outcome = _attempt(run, ending.get(TEARDOWN), outcome)
        if not keep:
            for name in services.down(run):
                print(f"Stopped {name}.")
        outcome = _attempt(run, ending.get(EVIDENCE), outcome)
        if not keep:
            services.down(run)
            run.end()
        page.bind(run)  # the evidence notebook itself has ended only now
    return outcome


def unfinished(run: Run) -> list[Stage]:
    """The stages from the first one on that has not ended well in this run."""
    ended: dict[str, bool] = {}
    for event in run.events():
        if event["kind"] in ("stage-start", "stage-failed", "stage-end"):
            ended[event["stage"]] = event["kind"] == "stage-end"
    written = [one for one in checklist.STAGES if one.exists]
    for place, one in enumerate(written):
        if not ended.get(one.number, False):
            return written[place:]
    return []


def _sequence(run: Run, stages: list[Stage]) -> Outcome:
    for one in stages:
        outcome = _attempt(run, one, Outcome())
        if outcome.code:
            return outcome
    return Outcome()


def _attempt(run: Run, one: Stage | None, earlier: Outcome) -> Outcome:
    if one is None or not one.exists:
        return earlier
    print(f"\n── {one.number} {one.title} ──", flush=True)
    try:
        _execute(run, one)
    except KeyboardInterrupt:
        outcome = Outcome(INTERRUPTED, f"Stage {one.number} was interrupted.")
    except (PapermillExecutionError, DeadKernelError, Problem) as error:
        if isinstance(error, PapermillExecutionError) and error.ename == Unavailable.__name__:
            return _pass_over(run, one, error.evalue, earlier)
        outcome = Outcome(FAILED, f"Stage {one.number} failed: {_sentence(error)}")
    else:
        _claim_headless(run, one)
        return earlier
    run.event("stage-failed", stage=one.number, reason=outcome.reason)
    print(outcome.reason, file=sys.stderr, flush=True)
    return earlier if earlier.code else outcome


def _pass_over(run: Run, one: Stage, reason: str, earlier: Outcome) -> Outcome:
    """A stage that this machine cannot have is not rehearsed; the others go on."""
    for promise, tick in checklist.ticks(run, one.number).items():
        if not tick.at:
            checklist.tick(run, promise.id, Status.NOT_REHEARSED, note=reason)
    run.event("stage-end", stage=one.number, not_rehearsed=reason)
    print(f"Stage {one.number} is NOT REHEARSED: {reason}", flush=True)
    return earlier


def _execute(run: Run, one: Stage) -> None:
    source = NOTEBOOKS / one.notebook
    output = run.folder / "notebooks" / one.notebook
    output.parent.mkdir(exist_ok=True)
    papermill.execute_notebook(
        source,
        output,
        parameters={"profile": run.profile.name, "run_id": run.run_id},
        kernel_name="python3",
        cwd=NOTEBOOKS,
        progress_bar=False,
        autosave_cell_every=30,
        stdout_file=sys.stdout,
        stderr_file=sys.stderr,
        config=KERNEL,
    )


def _claim_headless(run: Run, one: Stage) -> None:
    if one.headless:
        executed, note = f"notebooks/{one.notebook}", "executed by papermill from start to end"
        checklist.claim(run, one.headless, holds=True, evidence=executed, note=note)


def _sentence(error: Exception) -> str:
    if isinstance(error, PapermillExecutionError):
        kind = "" if error.ename == "Problem" else f"{error.ename}: "
        return f"{kind}{error.evalue}"
    if isinstance(error, DeadKernelError):
        return "the notebook's kernel was killed."
    return str(error)


@contextmanager
def _owned(run: Run) -> Iterator[None]:
    """Tie the run's processes to this one, and turn every polite signal into an interrupt."""
    holder = run.manifest().get("workbook", "")
    if holder and services.owner_lives(holder):
        raise Problem(
            f"Run {run.run_id} is being run by process {holder.partition(':')[0]}.",
            f"Wait for it, or stop it with: workbook down {run.run_id}",
        )
    mark = services.owner_mark(os.getpid())
    run.note(workbook=mark)
    os.environ |= {services.MARK: run.mark, services.OWNER: mark}
    before = {one: signal.signal(one, _interrupt) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        for name in (services.MARK, services.OWNER):
            os.environ.pop(name, None)
        run.note(workbook="")


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


# ── command line ──────────────────────────────────────────────────────────────────────────────

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Run id; the newest where left out.")]


@app.command("run")
def run_command(
    profile: Annotated[str, typer.Option(help="A name from profiles/.")] = "rehearsal",
    first: Annotated[str, typer.Option("--from", help="First stage, such as 03.")] = "",
    only: Annotated[str, typer.Option(help="This stage alone.")] = "",
    keep: Annotated[bool, typer.Option(help="Leave services running and the run open.")] = False,
    setting: Annotated[
        list[str] | None, typer.Option("-p", help="Profile key to change, as key=value.")
    ] = None,
) -> None:
    """Run the workbook: every stage, or from one on, or one alone.

    --from and --only continue the newest open run of the profile where there is one.
    """
    chosen = _chosen(first, only)
    whole = not (first or only)
    run = None if whole else Run.newest_open(profile)
    run = open_run(profile, run.run_id if run else "", ",".join(setting or []), new=True)
    _finish(run, run_stages(run, chosen, keep=keep))


@app.command()
def resume(
    run_id: RunId = "",
    keep: Annotated[bool, typer.Option(help="Leave services running and the run open.")] = False,
) -> None:
    """Go on from the stage that failed or was interrupted."""
    run = _run(run_id)
    rest = unfinished(run)
    if not rest:
        print(f"Run {run.run_id} is complete; nothing to resume.")
        return
    run.note(ended=None)
    print(f"Resuming run {run.run_id} at stage {rest[0].number}.")
    _finish(run, run_stages(run, rest, keep=keep))


@app.command()
def status(run_id: RunId = "") -> None:
    """Say how far a run is, and which of its processes live."""
    run = _run(run_id)
    ticked = checklist.ticks(run)
    print(f"{run.run_id}  {checklist.overall(ticked.values())}")
    print(LABEL[run.profile.target])
    for one in checklist.STAGES:
        print(f"  {one.number} {one.title:<24} {_stage_state(run, one)}")
    for status_ in checklist.Status:
        count = sum(tick.status is status_ for tick in ticked.values())
        print(f"  {status_:<14} {count:>3} promises")
    for service in services.recorded(run):
        state = f"running, pid {service.pid}" if service.running else "stopped"
        print(f"  service {service.name}: {state}")


@app.command()
def down(run_id: Annotated[str, typer.Argument(metavar="[RUN]")] = "") -> None:
    """Stop every process of a run, or of all runs; nothing it measured is lost."""
    runs = [_run(run_id)] if run_id else [_run(folder.name) for folder in run_folders()]
    stopped = [f"{run.run_id}: {name}" for run in runs for name in services.down(run)]
    print("\n".join(f"Stopped {name}." for name in stopped) or "Nothing was running.")


@app.command()
def export(run_id: RunId = "") -> None:
    """Draw the evidence of a run again from its folder."""
    print(page.pack(_run(run_id)))


@app.command()
def doctor() -> None:
    """List every program and library: version, found or not, what its absence costs."""
    raise typer.Exit(print_report())


def main() -> None:
    """Entry point `workbook`: a Problem becomes one sentence and exit status 1."""
    try:
        app()
    except Problem as problem:
        print(problem, file=sys.stderr)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _chosen(first: str, only: str) -> list[Stage]:
    if first and only:
        raise Problem("--from and --only exclude each other.", "Give one of them.")
    if only:
        one = checklist.stage(only)
        if not one.exists:
            raise Problem(f"Stage {only} has no notebook yet: {one.notebook} is not written.")
        return [one]
    start = checklist.STAGES.index(checklist.stage(first)) if first else 0
    return list(checklist.STAGES[start:])


def _run(run_id: str) -> Run:
    if run_id:
        return Run.open(run_id)
    folders = run_folders()
    if not folders:
        raise Problem("There is no run yet.", "Begin one with: workbook run")
    return Run.open(folders[-1].name)


def _finish(run: Run, outcome: Outcome) -> None:
    index = run.folder / "evidence" / "index.html"
    print(f"\nRun {run.run_id}: {checklist.overall(checklist.ticks(run).values())}")
    if index.is_file():
        print(f"Evidence: {index}")
    if outcome.code:
        print(f"{outcome.reason}\nGo on with: workbook resume {run.run_id}", file=sys.stderr)
        raise typer.Exit(outcome.code)


def _stage_state(run: Run, one: Stage) -> str:
    words: dict[str, Callable[[dict[str, Any]], str]] = {
        "stage-start": lambda event: f"begun {event['at']}, not ended",
        "stage-end": lambda event: f"done {event['at']}",
        "stage-failed": lambda event: str(event["reason"]).splitlines()[0],
    }
    last = [event for event in run.events() if event["stage"] == one.number]
    known = [event for event in last if event["kind"] in words]
    if known:
        return words[known[-1]["kind"]](known[-1])
    return "not run" if one.exists else "not written yet"


if __name__ == "__main__":
    main()
