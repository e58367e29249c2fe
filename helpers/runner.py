"""Runs the notebooks headless, one after the other, and always tears down."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import dropwhile

import papermill
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from helpers import load, processes, promises, watcher
from helpers.errors import Problem, Unavailable
from helpers.evidence import page
from helpers.paths import NOTEBOOKS
from helpers.promises import Stage, Status
from helpers.run import Run

TEARDOWN, EVIDENCE = "06", "07"
FAILED, INTERRUPTED = 1, 130
LOCK = "workbook.lock"
KERNEL_START_S = 240  # a cold and busy machine takes longer than the minute of the default
# sockets that only this user can open; the default is a port of this machine
KERNEL = Config({"KernelManager": {"transport": "ipc"}})


@dataclass(frozen=True)
class Outcome:
    """How a sequence of stages ended."""

    code: int = 0  # exit status: 0, 1 (a stage failed) or 130 (interrupted)
    reason: str = ""  # what failed, one sentence; empty after success


def run_stages(run: Run, stages: list[Stage], *, keep: bool = False) -> Outcome:
    """Run stages in order; whatever happens, tear down and write evidence of what was seen.

    With `keep`, services stay up and the run stays open. The first failure is the outcome.
    """
    ending = {stage.number: stage for stage in stages if stage.number in (TEARDOWN, EVIDENCE)}
    outcome = Outcome()
    with _owned(run, keep=keep):
        for stage in stages:
            if stage.number not in ending and not outcome.code:
                outcome = _run_stage(run, stage)
        if TEARDOWN in ending:
            ended = _run_stage(run, ending[TEARDOWN])
            outcome = outcome if outcome.code else ended
        if not keep:
            for name in processes.down(run):
                print(f"Stopped {name}.")
            load.recover(run)
        if EVIDENCE in ending:
            ended = _run_stage(run, ending[EVIDENCE])
            outcome = outcome if outcome.code else ended
        if not keep:
            processes.down(run)
            run.end()
        page.write_index(run)  # the evidence notebook itself has ended only now
    return outcome


def unfinished(run: Run) -> list[Stage]:
    """The stages to resume: from the first that began and did not end well; all, if none began.

    Stages that the run left out on purpose before (`--from`) stay left out.
    """
    ended: dict[str, bool] = {}
    for event in run.events():
        if event["kind"] in ("stage-start", "stage-failed", "stage-end"):
            ended[event["stage"]] = event["kind"] == "stage-end"
    begun = dropwhile(lambda stage: ended and stage.number not in ended, promises.STAGES)
    return list(dropwhile(lambda stage: ended.get(stage.number, False), begun))


def _run_stage(run: Run, stage: Stage) -> Outcome:
    print(f"\n── {stage.number} {stage.title} ──", flush=True)
    code = FAILED
    try:
        _execute_notebook(run, stage)
    except KeyboardInterrupt:
        code, what = INTERRUPTED, "was interrupted."
    except PapermillExecutionError as error:
        if error.ename == Unavailable.__name__:
            _skip(run, stage, error.evalue)
            return Outcome()
        kind = "" if error.ename == Problem.__name__ else f"{error.ename}: "
        what = f"failed: {kind}{error.evalue}"
    except RuntimeError as error:  # of nbclient
        what = f"failed: the notebook's kernel was killed or did not start: {error}"
    except Problem as error:
        what = f"failed: {error}"
    else:
        if stage.headless:
            executed = f"notebooks/{stage.notebook}"
            note = "executed by papermill from start to end"
            promises.claim(run, stage.headless, holds=True, evidence=executed, note=note)
        return Outcome()
    outcome = Outcome(code, f"Stage {stage.number} {what}")
    run.event("stage-failed", stage=stage.number, reason=outcome.reason)
    print(outcome.reason, file=sys.stderr, flush=True)
    return outcome


def _execute_notebook(run: Run, stage: Stage) -> None:
    output = run.folder / "notebooks" / stage.notebook
    output.parent.mkdir(exist_ok=True)
    papermill.execute_notebook(
        NOTEBOOKS / stage.notebook,
        output,
        parameters={"profile": run.profile.name, "run_id": run.run_id},
        kernel_name="python3",
        cwd=NOTEBOOKS,
        progress_bar=False,
        start_timeout=KERNEL_START_S,
        autosave_cell_every=30,
        stdout_file=sys.stdout,
        stderr_file=sys.stderr,
        config=KERNEL,
    )


def _skip(run: Run, stage: Stage, reason: str) -> None:
    """A stage that this machine cannot run is NOT REHEARSED; the run continues."""
    for promise, tick in promises.ticks(run, stage.number).items():
        if not tick.at:
            promises.tick(run, promise.id, Status.NOT_REHEARSED, note=reason)
    run.event("stage-end", stage=stage.number, not_rehearsed=reason)
    print(f"Stage {stage.number} is NOT REHEARSED: {reason}", flush=True)


@contextmanager
def _owned(run: Run, *, keep: bool) -> Iterator[None]:
    """Tie the run's processes to this one unless `keep`; SIGTERM and SIGHUP interrupt it."""
    lock = run.folder / LOCK  # beside the manifest, whose hash is part of the evidence
    holder = lock.read_text() if lock.is_file() else ""
    if holder and watcher.owner_is_alive(holder):
        raise Problem(
            f"Run {run.run_id} is being run by process {holder.partition(':')[0]}.",
            f"Wait for it, or stop it with: workbook down {run.run_id}",
        )
    mark = processes.owner_mark(os.getpid())
    run.write(LOCK, mark)
    os.environ |= {processes.MARK: run.mark, processes.OWNER: "" if keep else mark}
    interrupt = signal.default_int_handler
    before = {kind: signal.signal(kind, interrupt) for kind in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
        for name in (processes.MARK, processes.OWNER):
            os.environ.pop(name, None)
        lock.unlink(missing_ok=True)
