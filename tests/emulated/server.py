"""The emulated account behind a server, with faults and a record of requests.

python -m tests.emulated.server --port 5000
"""

import os
import re
import sys
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
from helpers.profile import Profile
from helpers.rehearsal import emulator
from helpers.rehearsal.moto_extension import NOT_EMULATED
from helpers.rehearsal.server import Application, serve
from helpers.rehearsal.world import WORLD, World
from helpers.run import Run
from tests.emulated.faults import Fault, Faults
from tests.emulated.recording import Line, read, to_file, watched

MODULE = "tests.emulated.server"
CALLS = "GPU_E2E_TEST_CALLS"  # the file that requests are recorded in
CONTROL = "/test-api"
_SCOPE = re.compile(r"Credential=[^/]*/\d*/[^/]*/([^/]*)/aws4_request")
_FAULTS = TypeAdapter(list[Fault])


@dataclass(frozen=True)
class Emulator:
    """A running emulator, and the handles to change its account."""

    account: Account
    recorded: Path  # file of what was asked for, one line of JSON each

    def fault(self, *faults: Fault) -> None:
        """Switch these faults on, and the others off."""
        self._ask("PUT", [fault.model_dump() for fault in faults])

    def clear_faults(self) -> None:
        """Switch every fault off."""
        self.fault()

    def reset(self) -> None:
        """Begin an empty account, without faults."""
        self._ask("DELETE", [])

    def calls(self) -> list[Line]:
        """What was asked for, oldest first."""
        return read(self.recorded)

    def _ask(self, method: str, faults: Any) -> None:
        with requests.Session() as session:
            session.trust_env = False  # never through a proxy
            url = f"{self.account.endpoint}{CONTROL}"
            session.request(method, url, json=faults, timeout=10).raise_for_status()


@contextmanager
def serving(folder: Path) -> Iterator[Emulator]:
    """An emulator for the length of a `with`."""
    run = Run.create(Profile.load_named("quick"), folder)
    with pytest.MonkeyPatch.context() as patch:
        aws = of_run(run, patch)
    try:
        yield aws
    finally:
        processes.down(run)


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
        if request.path == CONTROL:
            self._faults.clear()
            self._faults.add(*_FAULTS.validate_python(request.get_json()))
            if request.method == "DELETE":
                BackendDict.reset()
                WORLD.become(World())
            return Response("{}", content_type="application/json")
        response = super().respond(request)
        refused = response.headers.get("X-Amzn-ErrorType") == NOT_EMULATED
        signed = _SCOPE.search(request.headers.get("Authorization", ""))
        target = request.headers.get("X-Amz-Target", "")
        if refused and signed and target:  # moto did not see it
            self._record(Line(signed[1], target.rpartition(".")[2], "", "other"))
        return response


if __name__ == "__main__":
    serve(int(sys.argv[-1]), lambda: Controlled(Path(os.environ[CALLS])))
