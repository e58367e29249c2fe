"""The promises of the eight stages, and their status in a run."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import yaml

from helpers.errors import Problem
from helpers.run import Run, now


class Status(StrEnum):
    """How strong the evidence for a claim is; shown wherever the claim is made."""

    VERIFIED = "VERIFIED"
    RAN = "RAN"
    EMULATED = "EMULATED"
    CHECKED = "CHECKED"
    NOT_RUN = "NOT RUN"
    FAILED = "FAILED"


VERIFIED, RAN, EMULATED, CHECKED, NOT_RUN, FAILED = Status
MEANING = {
    VERIFIED: "seen on AWS",
    RAN: "the real component ran, on this machine",
    EMULATED: "done against the AWS emulator",
    CHECKED: "rendered or planned and checked; nothing ran",
    NOT_RUN: "nothing in this run shows it; the note gives the reason",
    FAILED: "tested, and it did not hold",
}
OLD = {"STATIC": CHECKED, "NOT REHEARSED": NOT_RUN, "NOT CHECKED": NOT_RUN, "REAL": RAN}


@dataclass(frozen=True)
class Stage:
    """One of the eight stages; its notebook is `notebooks/<number>-<name>.ipynb`."""

    number: str  # two digits, in order
    name: str  # as in the notebook's file name
    title: str  # what people read
    headless: str = ""  # the promise that a run of the notebook without a person keeps

    @property
    def notebook(self) -> str:
        """File name of the stage's notebook."""
        return f"{self.number}-{self.name}.ipynb"


@dataclass(frozen=True)
class Promise:
    """One thing a stage delivers."""

    id: str  # starts with the stage's number
    wording: str  # what people read
    rehearsed: Status = RAN  # what it is at best in a rehearsal

    @property
    def stage(self) -> str:
        """The stage's number."""
        return self.id.partition(".")[0]


@dataclass(frozen=True, repr=False)
class Tick:
    """The status of a promise in a run."""

    status: Status  # how strong the evidence is
    evidence: str = ""  # a file of the run that shows it, relative to the run's folder
    note: str = ""  # what was observed, or why nothing was
    at: str = ""  # when, UTC; empty if the promise was not tested

    def __repr__(self) -> str:
        return f"{self.status}: {self.note}"


STAGES = (
    Stage("00", "setup", "Setup"),
    Stage("01", "infrastructure", "Infrastructure"),
    Stage("02", "gpu-nodes", "GPU nodes"),
    Stage("03", "triton-serving", "Triton serving"),
    Stage("04", "observability", "Observability"),
    Stage("05", "load-testing", "Load testing", headless="05.headless"),
    Stage("06", "teardown-cost-audit", "Teardown and cost audit"),
    Stage("07", "evidence", "Evidence"),
)
LAST = STAGES[-1]

PROMISES = tuple(
    Promise(row["id"], row["wording"], Status(row.get("rehearsed", RAN)))
    for row in yaml.load(Path(__file__).with_suffix(".yaml").read_text(), yaml.CSafeLoader)
)
BY_ID = {promise.id: promise for promise in PROMISES}


def stage(number: str) -> Stage:
    """The stage with this number, such as `"03"`; a Problem if there is none."""
    stages = {stage.number: stage for stage in STAGES}
    if number not in stages:
        raise Problem(f"Stage '{number}' does not exist.", f"Choose one of: {', '.join(stages)}.")
    return stages[number]


def promises(number: str = "") -> tuple[Promise, ...]:
    """All promises, or those of one stage."""
    return tuple(promise for promise in PROMISES if number in ("", promise.stage))


def tick(run: Run, promise_id: str, status: Status, *, evidence: str = "", note: str = "") -> Tick:
    """Store the status of a promise; a later tick replaces an earlier one.

    Every status except NOT RUN and FAILED needs evidence: a file of the run. Those two
    need a note: what was observed, or why nothing was. Otherwise it is a ValueError.
    """
    if promise_id not in BY_ID:
        raise ValueError(f"there is no promise {promise_id!r}")
    positive = status not in (NOT_RUN, FAILED)
    if positive and not (evidence and (run.folder / evidence).exists()):
        raise ValueError(f"{promise_id}: the evidence {evidence!r} is not in the run")
    if not positive and not note:
        raise ValueError(f"{promise_id}: {status} needs a reason")
    if status is VERIFIED and run.profile.target != "aws":
        raise ValueError(f"{promise_id}: only a run on AWS can be VERIFIED")
    new = Tick(status, evidence, note, now())
    checklist = {name: asdict(tick) for name, tick in (_stored(run) | {promise_id: new}).items()}
    run.write("checklist.json", json.dumps(checklist, indent=2) + "\n")
    return new


def claim(
    run: Run, promise_id: str, *, holds: bool, evidence: str, note: str, absent: str = ""
) -> Tick:
    """Tick a promise that the run has tested: VERIFIED on AWS, as `Promise` says here, or FAILED.

    `absent` says why nothing here can show it; the status is then NOT RUN.
    """
    if absent:
        return tick(run, promise_id, NOT_RUN, evidence=evidence, note=absent)
    kept = VERIFIED if run.profile.target == "aws" else BY_ID[promise_id].rehearsed
    return tick(run, promise_id, kept if holds else FAILED, evidence=evidence, note=note)


def ticks(run: Run, number: str = "") -> dict[Promise, Tick]:
    """Every promise (of one stage) with its status in the run."""
    stored = _stored(run)
    return {
        promise: stored.get(promise.id)
        or Tick(NOT_RUN, note=f"stage {promise.stage} has not shown it in this run")
        for promise in promises(number)
    }


def shown(run: Run) -> dict[Promise, Tick]:
    """Every promise but those of the last stage, which draws what the others have shown."""
    return {promise: tick for promise, tick in ticks(run).items() if promise.stage != LAST.number}


def summary(run: Run) -> str:
    """How many promises have which status, such as `20 ran · 12 emulated · 8 wait for AWS`.

    PARTIAL names stages that did not test all of theirs.
    """
    ticked = shown(run)
    untested = dict.fromkeys(promise.stage for promise, tick in ticked.items() if not tick.at)
    words = {status: str(status).lower() for status in Status} | {FAILED: "FAILED"}
    if run.profile.target == "rehearsal" and not untested:
        words[NOT_RUN] = "wait for AWS"
    counts = Counter(tick.status for tick in ticked.values())
    text = " · ".join(f"{counts[status]} {words[status]}" for status in Status if counts[status])
    return f"PARTIAL, incomplete stages {', '.join(untested)}: {text}" if untested else text


def _stored(run: Run) -> dict[str, Tick]:
    path = run.folder / "checklist.json"
    checklist = json.loads(path.read_text()) if path.is_file() else {}
    return {
        name: Tick(**tick | {"status": current(tick["status"], BY_ID[name].rehearsed)})
        for name, tick in checklist.items()
        if name in BY_ID
    }


def current(word: str, rehearsed: Status = RAN) -> Status:
    """A status, also in the words of runs before November 2026 (`REHEARSED`, `STATIC`, …)."""
    return rehearsed if word == "REHEARSED" else OLD.get(word) or Status(word)
