"""The command line: run, resume, status, down, export, verify, compare, load, doctor.

Commands import what they need when they are called: `status` does not load what runs notebooks.
"""

import sys
from typing import Annotated

import typer

from helpers import processes, promises
from helpers.errors import Problem
from helpers.profile import LABEL
from helpers.promises import Stage
from helpers.run import Run, run_folders

FAILED, INTERRUPTED = 1, 130

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Run id; default: the newest run.")]
Keep = Annotated[bool, typer.Option(help="Leave services running and the run open.")]


@app.command("run")
def run_command(
    profile: Annotated[str, typer.Option(help="A name from profiles/.")] = "rehearsal",
    first: Annotated[str, typer.Option("--from", help="First stage, such as 03.")] = "",
    only: Annotated[str, typer.Option(help="Only this stage.")] = "",
    run_id: Annotated[str, typer.Option("--run", help="The run to continue.")] = "",
    keep: Keep = False,
    setting: Annotated[
        list[str] | None, typer.Option("-p", help="Profile key to change, as key=value.")
    ] = None,
) -> None:
    """Run the workbook: every stage, or all from one on, or one alone.

    --from and --only continue RUN, or the newest open run of the profile, if there is one.
    """
    from helpers.notebook import open_run

    if first and only:
        raise Problem("--from and --only exclude each other.", "Give one of them.")
    start = promises.STAGES.index(promises.stage(first)) if first else 0
    stages = [promises.stage(only)] if only else list(promises.STAGES[start:])
    if run_id:
        profile = Run.open(run_id).profile.name
    elif (first or only) and (newest := Run.newest_open(profile)):
        run_id = newest.run_id
    _run_stages(open_run(profile, run_id, ",".join(setting or []), new=True), stages, keep)


@app.command()
def resume(run_id: RunId = "", keep: Keep = False) -> None:
    """Continue from the stage that failed or was interrupted."""
    run = _run(run_id)
    from helpers.runner import unfinished

    stages = unfinished(run)
    if not stages:
        print(f"Run {run.run_id} is complete; nothing to resume.")
        return
    run.note(ended=None)
    run.event("resumed", stage=stages[0].number)
    print(f"Resuming run {run.run_id} at stage {stages[0].number}, the first to run again.")
    _run_stages(run, stages, keep)


@app.command()
def status(run_id: RunId = "") -> None:
    """Show how far a run is, which of its services are running, and what stands in the account."""
    from helpers.cloud import zero

    run = _run(run_id)
    print(f"{run.run_id}  {promises.summary(run)}")
    print(LABEL[run.profile.target])
    for stage in promises.STAGES:
        print(f"  {stage.number} {stage.title:<24} {_stage_state(run, stage)}")
    for service in processes.recorded(run):
        state = f"running, pid {service.pid}" if service.running else "stopped"
        print(f"  service {service.name}: {state}")
    if stands := zero.standing(run):
        print(stands)


@app.command()
def down(
    run_id: Annotated[str, typer.Argument(metavar="[RUN]")] = "",
    sweep: Annotated[
        bool, typer.Option("--sweep", help="First remove every resource with RUN's tag.")
    ] = False,
) -> None:
    """Stop every process of a run, or of all runs; nothing that was measured is lost.

    A run in progress is interrupted and tears down first. Other cloud resources stay: stage 06
    destroys them, and --sweep removes what it left behind.
    """
    from helpers import load

    runs = [_run(run_id)] if run_id else [_run(folder.name) for folder in run_folders()]
    for run in runs:
        processes.interrupt_runner(run)
    if sweep:
        _sweep(run_id)
    stopped = [f"{run.run_id}: {name}" for run in runs for name in processes.down(run)]
    for run in runs:
        load.recover(run)
    print("\n".join(f"Stopped {name}." for name in stopped) or "Nothing was running.")


@app.command()
def export(run_id: RunId = "") -> None:
    """Draw the evidence of a run again from its folder."""
    from helpers.evidence import page

    print(page.pack(_run(run_id)))


@app.command()
def verify(run_id: RunId = "") -> None:
    """Recompute hashes, figures and statistics of a run from its raw tables; list differences."""
    from helpers.evidence import verify as verification

    checks = verification.verify(_run(run_id))
    for check in checks:
        print(f"{'✘' if check.differences else '✔'} {check.what}")
        for difference in check.differences:
            print(f"    {difference}")
    if any(check.differences for check in checks):
        raise typer.Exit(FAILED)


@app.command("compare")
def compare_command(
    first: Annotated[str, typer.Argument(metavar="RUN_A", help="Run id.")],
    second: Annotated[str, typer.Argument(metavar="RUN_B", help="Run id.")],
) -> None:
    """Compare two runs: table, overlaid latencies, and whether they differ."""
    from helpers.evidence import compare

    runs = (_run(first), _run(second))
    print(compare.frame(compare.compare(*runs)).to_string(index=False))
    print(f"Page: {compare.write(*runs)}")


@app.command("load")
def load_command(
    preset: Annotated[str, typer.Argument(help="smoke, spike, soak, or capacity.")],
    model: Annotated[str, typer.Option(help="The served model's name.")] = "mobilenetv2",
    rate: Annotated[float, typer.Option(help="Requests per second.")] = 20.0,
    protocol: Annotated[str, typer.Option(help="http, https or grpc.")] = "http",
    workers: Annotated[int, typer.Option(help="Worker processes.")] = 1,
    p99_ms: Annotated[float, typer.Option(help="P99 target, milliseconds.")] = 100.0,
    run_id: Annotated[str, typer.Option("--run", help="Run that started the server.")] = "",
) -> None:
    """Run a predefined load against the server of a run; tables go to outputs/loads."""
    import asyncio

    from helpers import load
    from helpers.serving.records import Endpoint

    endpoint = _run(run_id).load(Endpoint)
    name = "smoke" if preset == "capacity" else preset
    chosen = load.preset(name, model, rate, protocol=protocol, workers=workers)
    if preset == "capacity":
        capacity = asyncio.run(load.find_capacity(chosen, endpoint, p99_ms, rate=rate))
        print(capacity.sentence)
        if not capacity.is_valid:
            raise typer.Exit(FAILED)
        return
    result = asyncio.run(load.run(chosen, endpoint, objective_ms=p99_ms))
    print(result.report.sentence)
    print(f"Tables: {result.folder}")
    if result.report.invalid:
        raise typer.Exit(FAILED)


@app.command()
def doctor() -> None:
    """List every program and library: version, found or not, and what is lost without it."""
    from helpers.programs import print_report

    raise typer.Exit(print_report())


def main() -> None:
    """Entry point `workbook`: a Problem is printed as its message, with exit status 1."""
    try:
        app()
    except Problem as problem:
        print(problem, file=sys.stderr)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _run(run_id: str) -> Run:
    if run_id:
        return Run.open(run_id)
    folders = run_folders()
    if not folders:
        raise Problem("There is no run yet.", "Start one with: workbook run")
    return Run.open(folders[-1].name)


def _sweep(run_id: str) -> None:
    from helpers.cloud import leftovers, sweep
    from helpers.rehearsal import emulator

    if not run_id:
        raise Problem("--sweep removes the leftovers of one run.", "Name it: down RUN --sweep")
    run = _run(run_id)
    account = emulator.account(run)
    swept = sweep.remove_leftovers(run, account, leftovers.scan(run, account).found)
    print(sweep.frame(swept).to_string(index=False) if swept.swept else "Nothing was left.")
    print(swept.summary)


def _run_stages(run: Run, stages: list[Stage], keep: bool) -> None:
    from helpers.cloud import zero
    from helpers.runner import NOT_KEPT, run_stages

    outcome = run_stages(run, stages, keep=keep)
    index = run.folder / "evidence" / "index.html"
    print(f"\nRun {run.run_id}: {promises.summary(run)}")
    if index.is_file():
        print(f"Evidence: {index}")
    lines = list(outcome.failures)
    if outcome.code not in (0, NOT_KEPT):
        lines.append(f"Continue with: workbook resume {run.run_id}")
    if not keep and (stands := zero.standing(run)):
        lines.append(stands)
    if lines:
        print("\n".join(lines), file=sys.stderr, flush=True)
    if outcome.code:
        raise typer.Exit(outcome.code)


def _stage_state(run: Run, stage: Stage) -> str:
    state = "not run"
    for event in (event for event in run.events() if event["stage"] == stage.number):
        match event["kind"]:
            case "stage-start":
                state = f"begun {event['at']}, not ended"
            case "stage-end":
                state = f"done {event['at']}"
            case "stage-failed":
                state = str(event["reason"]).splitlines()[0]
    return state


if __name__ == "__main__":
    main()
