"""Runs the notebooks headless, one after the other, and always tears down."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import dropwhile
from typing import Any

import papermill
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from helpers import load, processes, promises
from helpers.errors import Problem, Unavailable
from helpers.evidence import page
from helpers.paths import NOTEBOOKS
from helpers.promises import Stage, Status
from helpers.run import Run

TEARDOWN, EVIDENCE = "06", "07"
FAILED, INTERRUPTED = 1, 130
LOCK = "workbook.lock"
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
        stages: Which, in order.
        keep: Leave services running and the run open.

    Returns:
        How it ended; the first failure counts.
    """
    work = [one for one in stages if one.number not in (TEARDOWN, EVIDENCE)]
    ending = {one.number: one for one in stages if one.number in (TEARDOWN, EVIDENCE)}
    with _owned(run, keep=keep):
        outcome = _sequence(run, work)
        outcome = _attempt(run, ending.get(TEARDOWN), outcome)
        if not keep:
            for name in processes.down(run):
                print(f"Stopped {name}.")
            load.recover(run)
        outcome = _attempt(run, ending.get(EVIDENCE), outcome)
        if not keep:
            processes.down(run)
            run.end()
        page.write_index(run)  # the evidence notebook itself has ended only now
    return outcome


def unfinished(run: Run) -> list[Stage]:
    """The stages from the first on that has begun and not ended well; all, where none has begun.

    Stages that the run was told to leave out before (`--from`) are not caught up on.
    """
    ended: dict[str, bool] = {}
    for event in run.events():
        if event["kind"] in ("stage-start", "stage-failed", "stage-end"):
            ended[event["stage"]] = event["kind"] == "stage-end"
    begun = dropwhile(lambda one: ended and one.number not in ended, promises.STAGES)
    return list(dropwhile(lambda one: ended.get(one.number, False), begun))


def _sequence(run: Run, stages: list[Stage]) -> Outcome:
    for one in stages:
        outcome = _attempt(run, one, Outcome())
        if outcome.code:
            return outcome
    return Outcome()


def _attempt(run: Run, one: Stage | None, earlier: Outcome) -> Outcome:
    if one is None:
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
    for promise, tick in promises.ticks(run, one.number).items():
        if not tick.at:
            promises.tick(run, promise.id, Status.NOT_REHEARSED, note=reason)
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
        promises.claim(run, one.headless, holds=True, evidence=executed, note=note)


def _sentence(error: Exception) -> str:
    if isinstance(error, PapermillExecutionError):
        kind = "" if error.ename == "Problem" else f"{error.ename}: "
        return f"{kind}{error.evalue}"
    if isinstance(error, DeadKernelError):
        return "the notebook's kernel was killed."
    return str(error)


@contextmanager
def _owned(run: Run, *, keep: bool) -> Iterator[None]:
    """Tie the run's processes to this one, and turn every polite signal into an interrupt.

    What is to be kept is not tied: it lives until `workbook down`, or until its time is over.
    """
    lock = run.folder / LOCK  # beside the manifest, whose hash is part of the evidence
    holder = lock.read_text() if lock.is_file() else ""
    if holder and processes.owner_is_alive(holder):
        raise Problem(
            f"Run {run.run_id} is being run by process {holder.partition(':')[0]}.",
            f"Wait for it, or stop it with: workbook down {run.run_id}",
        )
    mark = processes.owner_mark(os.getpid())
    run.write(LOCK, mark)
    os.environ |= {processes.MARK: run.mark, processes.OWNER: "" if keep else mark}
    before = {one: signal.signal(one, _interrupt) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        for name in (processes.MARK, processes.OWNER):
            os.environ.pop(name, None)
        lock.unlink(missing_ok=True)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
