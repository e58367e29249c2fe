"""The address this machine is seen under, for which alone the cluster's API is opened."""

import ipaddress
import json

import requests

from helpers.cloud.account import Account
from helpers.errors import Problem
from helpers.run import Run

SERVICE = "https://checkip.amazonaws.com"
TIMEOUT_S = 10
EMULATED = "203.0.113.7"  # RFC 5737: reserved for documentation, never anybody's
STORED = "terraform/caller.json"  # not a record: it is nobody's business where the user sits


def address(run: Run, account: Account, *, anew: bool = False) -> str:
    """The public IPv4 address of this machine; in a rehearsal the one of the documentation.

    Args:
        run: It remembers the answer.
        account: Tells whether AWS is real.
        anew: Ask again, for a machine that has moved.

    Raises:
        Problem: Nobody tells the address.
    """
    if account.emulated:
        return EMULATED
    stored = run.folder / STORED
    if stored.is_file() and not anew:
        return str(json.loads(stored.read_text())["address"])
    found = _ask()
    stored.parent.mkdir(mode=0o700, exist_ok=True)
    run.write(STORED, json.dumps({"address": found}) + "\n").chmod(0o600)
    return found


def cidr(run: Run, account: Account) -> str:
    """Who may reach the cluster's API: what the profile says, else this machine alone.

    Raises:
        Problem: Nobody tells the address.
    """
    return run.profile.infrastructure.api_cidr or f"{address(run, account)}/32"


def shown(found: str) -> str:
    """An address as it may be shown.

    >>> shown("198.51.100.7")
    '198.51.100.x'
    """
    return f"{found.rpartition('.')[0]}.x"


def _ask() -> str:
    next_step = "Set infrastructure.api_cidr in the profile to your address, such as x.x.x.x/32."
    try:
        answer = requests.get(SERVICE, timeout=TIMEOUT_S)
        answer.raise_for_status()
        return str(ipaddress.IPv4Address(answer.text.strip()))
    except requests.RequestException as error:
        raise Problem(
            f"This machine's public address cannot be found: {SERVICE} does not answer "
            f"({type(error).__name__}).",
            next_step,
        ) from error
    except ValueError as error:
        raise Problem(
            f"This machine's public address cannot be found: {SERVICE} answers no IPv4 address.",
            next_step,
        ) from error
