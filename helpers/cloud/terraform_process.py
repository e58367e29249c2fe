"""Terraform as a process that survives its notebook, its progress, and its errors in plain words.

Terraform runs in a session of its own, and its output goes to a file, not a pipe: when the
notebook's kernel is killed, Terraform goes on and writes its state. An interrupt reaches it
once, as SIGINT: it then completes the operations in progress.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

from helpers.cloud.account import (
    DENIED,
    EXPIRED,
    LOG_IN,
    QUOTA,
    ROLE,
    THROTTLED,
    UNKNOWN_KEY,
    Account,
    masked,
)
from helpers.errors import Problem
from helpers.processes import MARK, owner_mark
from helpers.run import write_atomically
from helpers.watcher import owner_is_alive

CODE = "infra"  # the copy of the code, in the run's folder `terraform/`
RECORD = "process.json"  # the running Terraform, so that a later call finds an orphan
POLL_S, READ_TIMEOUT_S = 0.1, 120
SETTLE_S = 900.0  # AWS may take that long to complete what was started
STILL_S = 30  # how often a slow resource is mentioned
DOING = {"create": "created", "update": "changed", "delete": "destroyed", "replace": "replaced"}
AGAIN = "Repeat the step: Terraform goes on from its state."
LONGEST = 400  # characters of Terraform's own words
STATE, KEPT, BACKUP = "terraform.tfstate", "terraform.tfstate.kept", "terraform.tfstate.backup"


def _codes(*groups: tuple[str, ...]) -> str:
    codes = (code for group in groups for code in group if not code.isdigit())
    return rf"\b(?:{'|'.join(codes)})\b"


# The first match counts. The provider's texts hold the same codes of AWS as boto3's errors.
NEXT_STEPS = (
    (r"acquiring the state lock",
     "Another Terraform may be working on this state: wait for it. If it was killed, remove its "
     "lock with Workspace.unlock and the id above, and repeat the step."),
    (_codes(EXPIRED) + r"|token.* expired|expired.* token|SSO session", LOG_IN),
    (_codes(UNKNOWN_KEY) + r"|No valid credential sources", LOG_IN),
    (_codes(DENIED) + r"|not authorized to perform", ROLE),
    (_codes(QUOTA) + r"|exceed.* (?:limit|quota)|vCPU (?:limit|capacity)",
     "A service quota is too small: 00-setup gives the command that requests more."),
    (_codes(THROTTLED) + r"|rate exceeded", f"AWS throttles: wait a minute. {AGAIN}"),
    (r"already ?exists|AlreadyOwnedByYou|Duplicate\w*|ResourceInUseException",
     "An earlier run left it: run 06 of that run, or choose another infrastructure.name."),
    (r"DependencyViolation|has (?:a )?dependen|still has|DeleteConflict",
     "Something that Terraform does not manage still uses it, often a load balancer: run 06 "
     "again, which removes load balancers first."),
    (r"saved plan is stale|plan file .*(?:stale|different)", "Plan again, then apply."),
    (r"provider packages?|plugin|lock file|registry\.terraform\.io",
     "The provider is not available in the version that infra/.terraform.lock.hcl pins: go "
     "online, or name a mirror in TF_PROVIDER_MIRROR."),
    (r"backend|NoSuchBucket|S3 bucket .*does not exist",
     "Check infrastructure.state_bucket: the bucket must exist in the run's region."),
    (r"no such host|connection refused|dial tcp|i/o timeout|connection reset|EOF",
     f"AWS (or its emulator) cannot be reached: check that, then repeat the step. {AGAIN}"),
    (r"NotEmulated|not emulat", "Only AWS itself can show this."),
    (r"Invalid value for variable|Invalid (?:value|configuration)", "Correct the profile."),
)  # fmt: skip


def next_step(text: str) -> str:
    """What to do about an error text; empty for an unknown error."""
    steps = (step for pattern, step in NEXT_STEPS if re.search(pattern, text, re.IGNORECASE))
    return next(steps, "")


@dataclass
class Progress:
    """What a command has reported so far."""

    total: int = 0  # how many resources it will change; 0 where that is not known
    done: int = 0  # how many it has completed
    # Terraform's error diagnostics: `summary`, `detail`, `address`
    errors: list[dict[str, Any]] = field(default_factory=list)
    # lines outside Terraform's protocol: a crash, or an error before the start
    other: list[str] = field(default_factory=list)
    _mentioned: dict[str, float] = field(default_factory=dict)

    def read(self, line: str) -> str:
        """Take one line of output; returns what to show of it, empty for nothing."""
        try:
            message = json.loads(line)
        except json.JSONDecodeError:
            message = None
        if not isinstance(message, dict) or "type" not in message:
            self.other += [line.strip()] if line.strip() else []
            return ""
        hook = message.get("hook", {})
        address = str(hook.get("resource", {}).get("addr", ""))
        seconds = float(hook.get("elapsed_seconds", 0))
        match message["type"]:
            case "diagnostic" if message["diagnostic"]["severity"] == "error":
                self.errors.append(message["diagnostic"])
            case "change_summary" if message["changes"]["operation"] == "plan":
                counts = message["changes"]
                self.total = self.total or sum(counts[one] for one in ("add", "change", "remove"))
            case "apply_progress" if hook["action"] in DOING:
                if seconds - self._mentioned.get(address, 0) >= STILL_S:
                    self._mentioned[address] = seconds
                    return f"{address} is still being {DOING[hook['action']]} after {seconds:.0f} s"
            case "apply_complete" if hook["action"] in DOING:  # not for a read
                self.done += 1
                count = f"[{self.done}/{self.total}]" if self.total else f"[{self.done}]"
                return f"{count} {address} {DOING[hook['action']]} in {seconds:.0f} s"
            case "apply_errored":
                return f"{address} failed after {seconds:.0f} s"
        return ""

    def problem(self, doing: str, log: str) -> Problem:
        """The failure of the command as a sentence with Terraform's words and the next step.

        `doing`: what it was to do, such as `apply the plan`.
        """
        if not self.errors:
            words = _short(" ".join(self.other[-3:]) or "it gave no reason")
            return Problem(f"Terraform could not {doing}: {words}.", f"Its log is {log}.")
        first, text = self.errors[0], ""
        for error in self.errors:
            text += f"{error['summary']}\n{error.get('detail', '')}\n"
        detail = " ".join(first.get("detail", "").split())
        words = _short(first["summary"].rstrip(".") + (f": {detail}" if detail else ""))
        address = first.get("address", "")
        where = f" [{address}]" if address and address not in first["summary"] else ""
        more = f" ({len(self.errors) - 1} more errors in {log})" if len(self.errors) > 1 else ""
        step = next_step(text) or f"Its log is {log}. {AGAIN}"
        return Problem(f"Terraform could not {doing}: {words}{where}{more}.", step)


def _short(text: str) -> str:
    text = masked(text).strip().rstrip(".")
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rstrip()}…"


@dataclass(frozen=True)
class Terraform:
    """The program, the run's folder `terraform/`, the account, and the mark of its processes."""

    program: Path
    folder: Path
    account: Account
    mark: str

    @property
    def code(self) -> Path:
        """The copy of `infra/` in which Terraform runs."""
        return self.folder / CODE

    def execute(
        self,
        doing: str,
        arguments: Sequence[str],
        progress: Progress,
        environment: dict[str, str] | None = None,
    ) -> None:
        """Run a command that may take long, and print its progress.

        `doing`: what it is to do, for the sentence when it fails.
        `arguments`: command and options; `-json` among them.

        Raises:
            Problem: It failed; the sentence has Terraform's own words.
            KeyboardInterrupt: The caller was interrupted; the state is written.
        """

        def show(line: str) -> None:
            done = progress.done
            if text := progress.read(line):
                print(text, flush=True)
            if progress.done > done:
                keep_state(self.folder)

        log = f"{arguments[0]}.log"
        command = [str(self.program), *arguments]
        variables = self._environment() | (environment or {})
        record = self.folder / RECORD
        if run_process(command, self.code, variables, self.folder / log, record, show):
            raise progress.problem(doing, f"{self.folder.name}/{log}")

    def query(self, doing: str, arguments: Sequence[str]) -> str:
        """Run a command that ends quickly, and return its output."""
        ended = subprocess.run(
            [self.program, *arguments],
            cwd=self.code,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=READ_TIMEOUT_S,
        )
        if ended.returncode:
            words = " ".join(ended.stderr.replace("│", " ").split())
            raise Progress(other=[words]).problem(doing, self.folder.name)
        return ended.stdout

    def settle(self) -> None:
        """End what a killed notebook left running, and repair the state if it is torn.

        Raises:
            Problem: Terraform works on this run for another notebook, or does not end.
        """
        settle_process(self.folder / RECORD)
        if message := repair_state(self.folder):
            print(message)

    def _environment(self) -> dict[str, str]:
        """Without the user's own settings of Terraform, except its CLI configuration."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
        configuration = os.environ.get("TF_CLI_CONFIG_FILE", "")
        if configuration and Path(configuration).is_file():
            kept["TF_CLI_CONFIG_FILE"] = configuration
        ours = {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", MARK: self.mark}
        return self.account.surroundings(kept) | ours


def run_process(
    command: Sequence[str],
    folder: Path,
    environment: dict[str, str],
    log: Path,
    record: Path,
    show: Callable[[str], None],
) -> int:
    """Run a command to its end; returns its exit status.

    `record`: where its process is noted while it runs.
    `show`: called with each line of output.

    Raises:
        KeyboardInterrupt: The caller was interrupted; Terraform has ended properly before,
            unless a second interrupt came: then it goes on alone, and `settle_process` waits.
    """
    log.unlink(missing_ok=True)
    log.touch(mode=0o600)
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            env=environment,
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
            _follow(process, lines, show)
        except KeyboardInterrupt:
            print("Interrupted: Terraform completes what it started and writes its state; wait.")
            process.send_signal(signal.SIGINT)
            _follow(process, lines, show)
            record.unlink(missing_ok=True)
            raise
    record.unlink(missing_ok=True)
    return process.returncode


def _follow(
    process: "subprocess.Popen[bytes]", output: IO[str], show: Callable[[str], None]
) -> None:
    """Hand on whole lines until the process has ended and everything is read."""
    part = ""
    while True:
        ended = process.poll() is not None
        if chunk := output.read():
            *lines, part = (part + chunk).split("\n")
            for line in lines:
                show(line)
        elif ended:
            break
        else:
            time.sleep(POLL_S)
    if part:
        show(part)


def settle_process(record: Path) -> bool:
    """End a Terraform whose notebook was killed; True where there was one.

    Raises:
        Problem: It works for a notebook that is alive, or does not end in time.
    """
    noted = json.loads(record.read_text()) if record.is_file() else None
    if noted is None or not owner_is_alive(noted["process"]):
        record.unlink(missing_ok=True)
        return False
    orphan = psutil.Process(noted["pid"])
    if owner_is_alive(noted["owner"]):
        raise Problem(
            f"Terraform is working on this run in another notebook (process {orphan.pid}).",
            "Wait for it, or interrupt that notebook's kernel.",
        )
    print(f"A Terraform without notebook (process {orphan.pid}) is asked to write its state.")
    orphan.send_signal(signal.SIGINT)
    _, alive = psutil.wait_procs([orphan], timeout=SETTLE_S)
    if alive:
        raise Problem(
            f"An earlier Terraform (process {orphan.pid}) has not ended within {SETTLE_S:g} s.",
            "Wait for it, and repeat the step; its log is in the run's folder terraform/.",
        )
    record.unlink(missing_ok=True)
    return True


def keep_state(folder: Path) -> None:
    """Copy the local state if it is whole; called after each completed resource."""
    if _serial(folder / STATE) >= 0:
        temporary = folder / f".{KEPT}.tmp"
        shutil.copy(folder / STATE, temporary)
        if _serial(temporary) >= 0:  # Terraform may have been writing meanwhile
            temporary.replace(folder / KEPT)
        else:
            temporary.unlink()


def repair_state(folder: Path) -> str:
    """Restore the newest whole copy if a kill tore the state; returns what was done."""
    state = folder / STATE
    if not state.exists() or _serial(state) >= 0:
        return ""
    best = max((folder / KEPT, folder / BACKUP), key=_serial)
    if _serial(best) < 0:
        return "The state is torn and has no whole copy: only the leftover scan shows what exists."
    state.replace(folder / f"{STATE}.torn")
    shutil.copy(best, state)
    return (
        f"The state was torn by a kill; its copy of serial {_serial(best)} is restored. "
        "Terraform detects what has changed since; the leftover scan finds the rest."
    )


def _serial(path: Path) -> int:
    """The serial number of a whole state; -1 where there is none."""
    try:
        return int(json.loads(path.read_text())["serial"])
    except (OSError, ValueError, KeyError, TypeError):
        return -1
