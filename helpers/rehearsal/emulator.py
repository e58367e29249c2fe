"""The AWS account of a run: the emulated one in a rehearsal, the user's own on target aws.

For tests that need a server but no run:

    with emulator.serving(tmp_path) as aws:
        aws.account                                       # its environment is for Terraform
        aws.fault(Fault(kind="slow", service="eks", operation="DeleteCluster", delay_s=60))
        aws.clear_faults()
        aws.change({"quotas": {"L-3819A6DF": 0}})         # a part of double.World
        aws.reset()                                       # an empty account again
        aws.calls()                                       # which actions were asked for
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from helpers import processes
from helpers.cloud.account import Account
from helpers.errors import Problem
from helpers.processes import answers
from helpers.rehearsal.double import Fault, recording
from helpers.run import Run

NAME = "aws"
CALLS_FILE = "services/aws-calls.jsonl"
MODULE = "helpers.rehearsal.aws_server"
START_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 10.0
POLL_S = 0.05


@dataclass(frozen=True)
class Emulator:
    """A running emulator, and the handles to change its account.

    Attributes:
        account: For boto3; its `environment` for every other program.
        recorded: File of what was asked for, one line of JSON each.
    """

    account: Account
    recorded: Path

    def fault(self, *faults: Fault) -> None:
        """Switch faults on."""
        self._ask("POST", "faults", [one.model_dump() for one in faults])

    def clear_faults(self) -> None:
        """Switch every fault off."""
        self._ask("DELETE", "faults")

    def change(self, world: dict[str, Any]) -> None:
        """Change a part of the account's world; mappings are merged."""
        self._ask("PATCH", "world", world)

    def reset(self) -> None:
        """Begin an empty account, without faults."""
        self._ask("POST", "reset")

    def calls(self) -> list[recording.Line]:
        """What was asked for, oldest first."""
        return recording.read(self.recorded)

    def _ask(self, method: str, what: str, body: Any = None) -> Any:
        answer = _http(method, f"{self.account.endpoint}/rehearsal-api/{what}", body)
        if not answer.ok:
            raise Problem(f"The AWS emulator refuses {method} {what}: {answer.text.strip()}.")
        return answer.json()


def account(run: Run) -> Account:
    """The account a run works in.

    In a rehearsal the run's emulator is started, or found where it runs; its account is empty
    when it starts, and what was made in it is gone when it ends.

    Raises:
        Problem: The emulator does not start.
    """
    if run.profile.target == "aws":
        return Account(run.profile.region)
    return of(run).account


def of(run: Run) -> Emulator:
    """The emulator of a rehearsal, started where it does not run.

    Raises:
        Problem: It does not start.
    """
    service = processes.find(run, NAME) or _start(run)
    return Emulator(
        Account(run.profile.region, _url(service.ports["http"])), run.folder / CALLS_FILE
    )


@contextmanager
def serving(folder: Path, region: str = "us-east-1") -> Iterator[Emulator]:
    """An emulator without a run, for the length of a `with`.

    Args:
        folder: Where its log and the record of what was asked go.
        region: Region of the account's stack.

    Raises:
        Problem: It does not start.
    """
    port = processes.free_port()
    recorded, log = folder / "aws-calls.jsonl", folder / "aws.log"
    with log.open("wb") as output:
        process = subprocess.Popen(_command(port, recorded), stdout=output, stderr=output)
    try:
        _await(process, port, log)
        yield Emulator(Account(region, _url(port)), recorded)
    finally:
        process.terminate()
        process.wait()


def _start(run: Run) -> processes.Service:
    if any(one.name == NAME for one in processes.recorded(run)):
        print("The AWS emulator of this run has ended; a new one starts with an empty account.")
    port = processes.free_port()
    return processes.start(
        run,
        NAME,
        _command(port, run.folder / CALLS_FILE),
        ports={"http": port},
        ready=lambda: answers(_health(port)),
        timeout_s=START_TIMEOUT_S,
        program=MODULE,
    )


def _command(port: int, calls: Path) -> list[str | Path]:
    return [sys.executable, "-m", MODULE, "--port", str(port), "--calls", calls]


def _await(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not answers(_health(port)):
        if process.poll() is not None or time.monotonic() > deadline:
            raise Problem("The AWS emulator does not start.", processes.log_tail(log))
        time.sleep(POLL_S)


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _health(port: int) -> str:
    return f"{_url(port)}/rehearsal-api/health"


def _http(method: str, url: str, body: Any = None) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False  # never through a proxy
        return session.request(method, url, json=body, timeout=ANSWER_TIMEOUT_S)
