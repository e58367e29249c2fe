"""The emulated account behind a server, with faults and a record of requests.

python -m tests.emulated.server --port 5000
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from moto.core.base_backend import BackendDict
from pydantic import TypeAdapter
from werkzeug.wrappers import Request, Response

from helpers import processes
from helpers.cloud.account import Account
from helpers.errors import Problem
from helpers.rehearsal import emulator
from helpers.rehearsal.moto_extension import NOT_EMULATED
from helpers.rehearsal.server import HEALTH, HOST, Application, serve
from helpers.rehearsal.world import WORLD, World
from helpers.run import Run
from tests.emulated.faults import Fault, Faults
from tests.emulated.recording import Line, read, to_file, watched

MODULE = "tests.emulated.server"
CALLS = "GPU_E2E_TEST_CALLS"  # the file that requests are recorded in
CONTROL = "/test-api/"
_SCOPE = re.compile(r"Credential=[^/]*/\d*/[^/]*/([^/]*)/aws4_request")
_FAULTS = TypeAdapter(list[Fault])


@dataclass(frozen=True)
class Emulator:
    """A running emulator, and the handles to change its account."""

    account: Account
    recorded: Path  # file of what was asked for, one line of JSON each

    def fault(self, *faults: Fault) -> None:
        """Switch faults on."""
        self._ask("POST", "faults", [fault.model_dump() for fault in faults])

    def clear_faults(self) -> None:
        """Switch every fault off."""
        self._ask("DELETE", "faults")

    def reset(self) -> None:
        """Begin an empty account, without faults."""
        self._ask("POST", "reset")

    def calls(self) -> list[Line]:
        """What was asked for, oldest first."""
        return read(self.recorded)

    def _ask(self, method: str, what: str, body: Any = None) -> None:
        url = f"{self.account.endpoint}{CONTROL}{what}"
        with requests.Session() as session:
            session.trust_env = False  # never through a proxy
            session.request(method, url, json=body, timeout=10).raise_for_status()


@contextmanager
def serving(folder: Path, region: str = "us-east-1") -> Iterator[Emulator]:
    """An emulator without a run, for the length of a `with`."""
    port = processes.free_port()
    recorded, log = folder / "aws-calls.jsonl", folder / "aws.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", MODULE, "--port", str(port)],
            stdout=output,
            stderr=output,
            env=os.environ | {CALLS: str(recorded)},
        )
    try:
        deadline = time.monotonic() + emulator.START_TIMEOUT_S
        while not processes.answers(f"http://{HOST}:{port}{HEALTH}"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Problem("The AWS emulator does not start.", processes.log_tail(log))
            time.sleep(0.05)
        yield Emulator(Account(region, f"http://{HOST}:{port}"), recorded)
    finally:
        process.terminate()
        process.wait()


def of_run(run: Run, patch: pytest.MonkeyPatch) -> Emulator:
    """The emulator of a run, as the run itself starts it, with the handles of this module."""
    recorded = run.folder / "services" / "aws-calls.jsonl"
    patch.setenv(CALLS, str(recorded))
    patch.setattr(emulator, "MODULE", MODULE)
    return Emulator(emulator.account(run), recorded)


class Controlled(Application):
    """The emulator's application, with an interface for tests beside that of AWS."""

    def __init__(self, recorded: Path) -> None:
        self._faults, self._record = Faults(), to_file(recorded)
        super().__init__()
        for (owner, name), method in watched(self._record, self._faults).items():
            setattr(owner, name, method)

    def respond(self, request: Request) -> Response:
        """Carry out what a test asks for, or answer as AWS."""
        if not request.path.startswith(CONTROL):
            response = super().respond(request)
            refused = response.headers.get("X-Amzn-ErrorType") == NOT_EMULATED
            signed = _SCOPE.search(request.headers.get("Authorization", ""))
            target = request.headers.get("X-Amz-Target", "")
            if refused and signed and target:  # moto did not see it
                self._record(Line(signed[1], target.rpartition(".")[2], "", "other"))
            return response
        match (request.method, request.path.removeprefix(CONTROL)):
            case ("POST", "faults"):
                self._faults.add(*_FAULTS.validate_python(request.get_json()))
            case ("DELETE", "faults"):
                self._faults.clear()
            case ("POST", "reset"):
                BackendDict.reset()
                self._faults.clear()
                WORLD.become(World())
            case _:
                return Response(json.dumps({"error": "there is no such control"}), 404)
        return Response("{}", content_type="application/json")


if __name__ == "__main__":
    serve(int(sys.argv[-1]), lambda: Controlled(Path(os.environ[CALLS])))
