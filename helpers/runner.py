"""Runs the notebooks headless, one after the other, and always tears down."""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import dropwhile

import papermill
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from helpers import load, processes, promises
from helpers.cloud import account, zero
from helpers.errors import Problem, Unavailable
from helpers.evidence import page
from helpers.paths import NOTEBOOKS
from helpers.promises import Stage, Status
from helpers.rehearsal import emulator
from helpers.run import Run

APPLY, TEARDOWN, EVIDENCE = "01", "06", "07"
FAILED, NOT_KEPT, INTERRUPTED = 1, 3, 130  # exit statuses
AGAIN_S = 10.0  # a second Ctrl-C within this time ends the teardown
KERNEL_START_S = 240  # a cold and busy machine takes longer than the minute of the default
# sockets that only this user can open; the default is a port of this machine
KERNEL = Config({"KernelManager": {"transport": "ipc"}})


@dataclass(frozen=True)
class Outcome:
    """How a sequence of stages ended."""

    code: int = 0  # exit status: 0, 1 (a stage failed), 3 (a promise failed) or 130 (interrupted)
    failures: tuple[str, ...] = ()  # everything that failed, one sentence each


class _Interrupts:
    """SIGINT, SIGTERM and SIGHUP: one ends a stage, two within seconds end the teardown."""

    def __init__(self) -> None:
        self.received = self.ended_teardown = False
        self.warning = ""  # what a second signal leaves behind; empty before the teardown
        self._in_stage, self._warned = False, -AGAIN_S

    @contextmanager
    def stage(self) -> Iterator[None]:
        """Only inside does a signal raise KeyboardInterrupt; elsewhere it is remembered."""
        self._in_stage = True
        try:
            yield
        finally:
            self._in_stage = False

    def handle(self, _number: int, _frame: object) -> None:
        """The signal handler."""
        first, now = not self.received, time.monotonic()
        self.received = True
        if self.warning and now - self._warned > AGAIN_S:
            self._warned = now
            print(self.warning, file=sys.stderr, flush=True)
        elif self._in_stage and (self.warning or first):
            self._in_stage = False  # a later signal must not break into the clean-up of this one
            self.ended_teardown = bool(self.warning)
            raise KeyboardInterrupt


def run_stages(run: Run, stages: list[Stage], *, keep: bool = False) -> Outcome:
    """Run stages in order; whatever happens, tear down and write evidence of what was seen.

    With `keep`, services stay up and the run stays open. So does a run whose resources stand.
    """
    ending = {stage.number: stage for stage in stages if stage.number in (TEARDOWN, EVIDENCE)}
    failures: list[str] = []
    if run.profile.target == "aws":
        account.role_keys()  # asks for an MFA code here, where somebody can type it
    with _owned(run, keep=keep) as interrupts:
        for stage in stages:
            if stage.number not in ending and not failures and not interrupts.received:
                failures += _run_stage(run, stage, interrupts)
        interrupts.warning = (
            f"The run ends now. Press Ctrl-C again within {AGAIN_S:.0f} s to stop it here."
        )
        failures += _attempt("Reading the price", partial(_warn_of_price, run, interrupts))
        if TEARDOWN in ending:
            failures += _run_stage(run, ending[TEARDOWN], interrupts)
        if not keep:
            failures += _attempt("Stopping the services", partial(_stop_services, run))
        if EVIDENCE in ending and not interrupts.ended_teardown:
            failures += _run_stage(run, ending[EVIDENCE], interrupts)
        if not keep:
            failures += _attempt("Closing the run", partial(_close, run))
        # the evidence notebook itself has ended only now
        failures += _attempt("Drawing the page", partial(page.write_index, run))
    code = INTERRUPTED if interrupts.received else FAILED if failures else 0
    not_kept = [
        f"{promise.id} FAILED: {tick.note}"
        for promise, tick in promises.ticks(run).items()
        if tick.status is Status.FAILED
    ]
    return Outcome(code or (NOT_KEPT if not_kept else 0), (*failures, *not_kept))


def unfinished(run: Run) -> list[Stage]:
    """The stages to resume: from the first that began and did not end well; all, if none began.

    Stages that the run left out on purpose before (`--from`) stay left out. Where the stack that
    they need is gone, stage 01 makes it again.
    """
    ended: dict[str, bool] = {}
    applied = False  # whether the stack was made, and not destroyed since
    for event in run.events():
        match event:
            case {"kind": "stage-start" | "stage-failed" | "stage-end" as kind, "stage": stage}:
                ended[stage] = kind == "stage-end"
            case {"kind": "stack-apply-start"}:
                applied = True
            case {"kind": "stack-destroy-stop", "outcome": "finished"}:
                applied = False
    begun = dropwhile(lambda stage: ended and stage.number not in ended, promises.STAGES)
    rest = list(dropwhile(lambda stage: ended.get(stage.number, False), begun))
    lost = run.profile.target == "rehearsal" and not processes.find(run, emulator.NAME)
    gone = APPLY in ended and (lost or not applied)
    if gone and rest and APPLY < rest[0].number < TEARDOWN:
        return list(dropwhile(lambda stage: stage.number < APPLY, promises.STAGES))
    return rest


def _run_stage(run: Run, stage: Stage, interrupts: _Interrupts) -> list[str]:
    """Run one stage; whatever ends it is returned as a sentence."""
    print(f"\n── {stage.number} {stage.title} ──", flush=True)
    try:
        with interrupts.stage():
            _execute_notebook(run, stage)
        if stage.headless:
            executed = f"notebooks/{stage.notebook}"
            note = "executed by papermill from start to end"
            promises.claim(run, stage.headless, holds=True, evidence=executed, note=note)
    except KeyboardInterrupt:
        what = "was interrupted."
        # asyncio would report the notebook client's tasks, whose results nobody awaits any more
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    except PapermillExecutionError as error:
        if error.ename == Unavailable.__name__:
            return _attempt(f"Stage {stage.number}", partial(_skip, run, stage, error.evalue))
        kind = "" if error.ename == Problem.__name__ else f"{error.ename}: "
        what = f"failed: {kind}{error.evalue}"
    except Problem as error:
        what = f"failed: {error}"
    except RuntimeError as error:  # of nbclient
        what = f"failed: the notebook's kernel was killed or did not start: {error}"
    except Exception as error:  # a full disk, a cell's time-out, …: nothing may skip the teardown
        what = f"failed: {type(error).__name__}: {error}"
    else:
        return []
    reason = f"Stage {stage.number} {what}"
    print(reason, file=sys.stderr, flush=True)
    event = partial(run.event, "stage-failed", stage=stage.number, reason=reason)
    return [reason, *_attempt("Recording the failure", event)]


def _attempt(what: str, action: Callable[[], object]) -> list[str]:
    """Do something after which the run goes on even if it fails; the failure as a sentence."""
    try:
        action()
    except Exception as error:
        kind = "" if isinstance(error, Problem) else f"{type(error).__name__}: "
        return [f"{what} failed: {kind}{error}"]
    return []


def _warn_of_price(run: Run, interrupts: _Interrupts) -> None:
    if price := zero.hourly_price(run):
        interrupts.warning += f" That leaves the stack standing, {price}."


def _close(run: Run) -> None:
    processes.down(run)
    if not zero.standing(run):
        run.end()


def _stop_services(run: Run) -> None:
    for name in processes.down(run):
        print(f"Stopped {name}.")
    load.recover(run)


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
    """A stage that this machine cannot run is NOT RUN; the run continues."""
    for promise, tick in promises.ticks(run, stage.number).items():
        if not tick.at:
            promises.tick(run, promise.id, Status.NOT_RUN, note=reason)
    run.event("stage-end", stage=stage.number, not_rehearsed=reason)
    print(f"Stage {stage.number} is NOT RUN: {reason}", flush=True)


@contextmanager
def _owned(run: Run, *, keep: bool) -> Iterator[_Interrupts]:
    """Lock the run, and tie its processes to this one unless `keep`."""
    interrupts = _Interrupts()
    with processes.lock(run):
        mark = processes.owner_mark(os.getpid())
        os.environ |= {processes.MARK: run.mark, processes.OWNER: "" if keep else mark}
        kinds = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {kind: signal.signal(kind, interrupts.handle) for kind in kinds}
        try:
            yield interrupts
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)
            for name in (processes.MARK, processes.OWNER):
                os.environ.pop(name, None)
