"""Terraform as a process that survives its notebook, its progress, and its errors in plain words.

It runs in a session of its own with a file for output: a killed kernel does not end it. An
interrupt reaches it once, as SIGINT: it then completes the operations in progress.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import psutil
import yaml

from helpers.cloud.account import LOG_IN, REFUSALS, ROLE, Account, masked
from helpers.errors import Problem
from helpers.processes import MARK, owner_mark
from helpers.run import Run, write_atomically
from helpers.watcher import owner_is_alive

CODE = "infra"  # the copy of the code, in the run's folder `terraform/`
RECORD = "process.json"  # the running Terraform, so that a later call finds an orphan
POLL_S, QUERY_TIMEOUT_S = 0.1, 120
SETTLE_S = 900.0  # AWS may take that long to complete what was started
REPORT_S, STILL_S = 10, 30  # how often Terraform reports a slow resource, and we mention it
DOING = {"create": "created", "update": "changed", "delete": "destroyed", "replace": "replaced"}
AGAIN = "Repeat the step: Terraform goes on from its state."
LONGEST = 400  # characters of Terraform's own words
STATE, KEPT, BACKUP = "terraform.tfstate", "terraform.tfstate.kept", "terraform.tfstate.backup"


@cache
def next_steps() -> tuple[tuple[str, str], ...]:
    """Patterns of Terraform's errors with the next step; the first that matches counts."""
    table = yaml.safe_load(Path(__file__).with_name("terraform_errors.yaml").read_text())
    # the provider's texts hold the same codes of AWS as boto3's errors
    known = [
        {"match": rf"\b(?:{'|'.join(filter(str.isalpha, row['codes']))})\b"} | row
        for row in REFUSALS.values()
    ]
    words = {"log_in": LOG_IN, "role": ROLE, "again": AGAIN}
    rows = (*table["first"], *known, *table["then"])
    return tuple((row["match"], row["next_step"].format(**words)) for row in rows)


class InUse(Problem):
    """Something that Terraform does not manage uses what it was to remove."""


@dataclass
class Progress:
    """What a command has reported so far."""

    total: int = 0  # how many resources it will change
    done: int = 0  # how many it has completed
    errors: list[dict[str, Any]] = field(default_factory=list)  # Terraform's diagnostics
    other: list[str] = field(default_factory=list)  # lines outside its protocol, as of a crash

    def read(self, line: str) -> str:
        """Take one line of output; returns what to show of it, empty for nothing."""
        try:
            message = json.loads(line)
            kind = message["type"]
        except (ValueError, TypeError, KeyError):
            self.other += filter(None, [line.strip()])
            return ""
        hook = message.get("hook", {})
        address = str(hook.get("resource", {}).get("addr", ""))
        seconds = float(hook.get("elapsed_seconds", 0))
        match kind:
            case "diagnostic" if message["diagnostic"]["severity"] == "error":
                self.errors.append(message["diagnostic"])
            case "apply_progress" if hook["action"] in DOING:
                if seconds >= STILL_S and seconds % STILL_S < REPORT_S:
                    return f"{address} is still being {DOING[hook['action']]} after {seconds:.0f} s"
            case "apply_complete" if hook["action"] in DOING:  # not for a read
                self.done += 1
                count = f"[{self.done}/{self.total}]"
                return f"{count} {address} {DOING[hook['action']]} in {seconds:.0f} s"
            case "apply_errored":
                return f"{address} failed after {seconds:.0f} s"
        return ""

    def problem(self, doing: str, log: str) -> Problem:
        """Why it could not do it, as a sentence with Terraform's words and the next step."""
        if not self.errors:
            words = _short(" ".join(self.other[-3:]) or "it gave no reason")
            return Problem(f"Terraform could not {doing}: {words}.", f"Its log is {log}.")
        first, count = self.errors[0], len(self.errors)
        detail = " ".join(first.get("detail", "").split())
        words = _short(first["summary"].rstrip(".") + (f": {detail}" if detail else ""))
        address = first.get("address", "")
        where = f" [{address}]" if address and address not in first["summary"] else ""
        more = f" ({count - 1} more errors in {log})" if count > 1 else ""
        text = "".join(f"{error['summary']}\n{error.get('detail', '')}\n" for error in self.errors)
        steps = (step for known, step in next_steps() if re.search(known, text, re.IGNORECASE))
        step = next(steps, f"Its log is {log}. {AGAIN}")
        kind = InUse if "DependencyViolation" in text else Problem
        return kind(f"Terraform could not {doing}: {words}{where}{more}.", step)


def _short(text: str) -> str:
    text = masked(text).strip().rstrip(".")
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rstrip()}…"


@dataclass(frozen=True)
class Terraform:
    """Terraform in a run's folder: the run, its account, and the program."""

    run: Run
    account: Account
    program: Path

    @property
    def folder(self) -> Path:
        """The run's folder `terraform/`."""
        return self.run.folder / "terraform"

    @property
    def code(self) -> Path:
        """The copy of `infra/` in which Terraform runs."""
        return self.folder / CODE

    def execute(
        self,
        doing: str,
        *arguments: str,
        total: int = 0,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Run a command that may take long, and print its progress.

        `doing` is said when it fails; `total`: how many resources it will change.
        After an interrupt the state is written, unless a second one comes: then Terraform goes on
        alone, and `settle` waits for it.
        """
        progress, record = Progress(total), self.folder / RECORD
        log = self.folder / f"{arguments[0]}.log"
        log.unlink(missing_ok=True)
        log.touch(mode=0o600)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [self.program, *arguments],
                cwd=self.code,
                env=self._environment() | dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,
            )
        noted = {"process": owner_mark(process.pid), "owner": owner_mark(os.getpid())}
        write_atomically(record, json.dumps({"pid": process.pid, **noted}))
        with log.open(errors="replace") as lines:
            try:
                self._follow(process, lines, progress)
            except KeyboardInterrupt:
                print("Interrupted: Terraform completes what it started, and writes its state.")
                process.send_signal(signal.SIGINT)
                self._follow(process, lines, progress)
                record.unlink(missing_ok=True)
                raise
        record.unlink(missing_ok=True)
        if process.returncode:
            raise progress.problem(doing, f"{self.folder.name}/{log.name}")

    def query(self, doing: str, *arguments: str) -> str:
        """Run a command that ends quickly, and return its output."""
        ended = subprocess.run(
            [self.program, *arguments],
            cwd=self.code,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=QUERY_TIMEOUT_S,
        )
        if ended.returncode:
            words = " ".join(ended.stderr.replace("│", " ").split())
            raise Progress(other=[words]).problem(doing, self.folder.name)
        return ended.stdout

    def settle(self) -> None:
        """End what a killed notebook left running, and repair the state if it is torn."""
        record = self.folder / RECORD
        noted = json.loads(record.read_text()) if record.is_file() else None
        if noted and owner_is_alive(noted["process"]):
            orphan = psutil.Process(noted["pid"])
            if owner_is_alive(noted["owner"]):
                raise Problem(
                    f"Terraform is working on this run in another notebook (process {orphan.pid}).",
                    "Wait for it, or interrupt that notebook's kernel.",
                )
            print(f"Terraform without notebook (process {orphan.pid}) is asked to save its state.")
            orphan.send_signal(signal.SIGINT)
            if psutil.wait_procs([orphan], timeout=SETTLE_S)[1]:
                raise Problem(
                    f"An earlier Terraform (process {orphan.pid}) runs on after {SETTLE_S:g} s.",
                    "Wait for it, and repeat the step; its log is in the run's folder terraform/.",
                )
        record.unlink(missing_ok=True)
        repair_state(self.folder)

    def _environment(self) -> dict[str, str]:
        """Without the user's own settings of Terraform, except its CLI configuration."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
        if Path(configuration := os.environ.get("TF_CLI_CONFIG_FILE", "")).is_file():
            kept["TF_CLI_CONFIG_FILE"] = configuration
        ours = {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", MARK: self.run.mark}
        return self.account.surroundings(kept) | ours

    def _follow(
        self, process: "subprocess.Popen[bytes]", output: IO[str], progress: Progress
    ) -> None:
        """Show whole lines until the process has ended and everything is read."""
        part, ended = "", False
        while not ended:
            ended = process.poll() is not None
            *lines, part = (part + output.read()).split("\n")
            for line in [*lines, part] if ended else lines:
                done = progress.done
                if text := progress.read(line):
                    print(text, flush=True)
                if progress.done > done:
                    keep_state(self.folder)
            if not ended:
                time.sleep(POLL_S)


def keep_state(folder: Path) -> None:
    """Copy the local state if it is whole; called after each completed resource."""
    if _serial(folder / STATE) >= 0:
        temporary = folder / f".{KEPT}.tmp"
        shutil.copy(folder / STATE, temporary)
        if _serial(temporary) >= 0:  # Terraform may have been writing meanwhile
            temporary.replace(folder / KEPT)


def repair_state(folder: Path) -> None:
    """Restore the newest whole copy if a kill tore the state, and say so."""
    state = folder / STATE
    if not state.exists() or _serial(state) >= 0:
        return
    best = max((folder / KEPT, folder / BACKUP), key=_serial)
    if _serial(best) < 0:
        print("The state is torn and has no whole copy: only the leftover scan shows what exists.")
        return
    state.replace(folder / f"{STATE}.torn")
    shutil.copy(best, state)
    print(
        f"The state was torn by a kill; its copy of serial {_serial(best)} is restored. "
        "Terraform detects what has changed since; the leftover scan finds the rest."
    )


def _serial(path: Path) -> int:
    """The serial number of a whole state; -1 where there is none."""
    try:
        return int(json.loads(path.read_text())["serial"])
    except (OSError, ValueError, KeyError, TypeError):
        return -1
