"""The AWS account of a run: the emulated account in a rehearsal, the user's own on target aws."""

import sys

from helpers import processes
from helpers.cloud.account import Account
from helpers.rehearsal.server import HEALTH, HOST
from helpers.run import Run

NAME = "aws"
MODULE = "helpers.rehearsal.server"
START_TIMEOUT_S = 60.0


def account(run: Run) -> Account:
    """The account a run works in; in a rehearsal the emulator's, which is started if needed."""
    if run.profile.target == "aws":
        return Account(run.profile.region)
    service = processes.find(run, NAME)
    if service is None:
        if any(service.name == NAME for service in processes.recorded(run)):
            print("The AWS emulator of this run has ended; a new one starts with an empty account.")
        port = processes.free_port()
        service = processes.start(
            run,
            NAME,
            [sys.executable, "-m", MODULE, str(port)],
            ports={"http": port},
            ready=lambda: processes.ask(f"http://{HOST}:{port}{HEALTH}"),
            timeout_s=START_TIMEOUT_S,
            program=MODULE,
        )
    return Account(run.profile.region, f"http://{HOST}:{service.ports['http']}")
