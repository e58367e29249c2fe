"""The exact AWS CLI command that removes a resource, from the same data that removes it."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from botocore import xform_name

from helpers.cloud.leftovers.calls import EXAMPLE_ACCOUNT, Ask, Caller, fill
from helpers.cloud.leftovers.kinds import Kind, Step

CLI_NAMES = {"s3": "s3api"}
OWN_ACCOUNT = "$(aws sts get-caller-identity --query Account --output text)"


def command(caller: Caller, kind: Kind, region: str, facts: Mapping[str, Any]) -> str:
    """One line for a shell. The account's number is asked for where it is needed, never shown.

    Args:
        caller: Who would call; an emulator's address is part of the line.
        kind: The resource's kind.
        region: Where it is.
        facts: What its templates know.
    """
    where = ["--region", region]
    if caller.account.emulated:
        where += ["--endpoint-url", caller.account.endpoint]
    steps = (_step(kind, step, facts, caller.account_id, where) for step in kind.remove)
    return " && ".join(steps)


def _step(
    kind: Kind, step: Step, facts: Mapping[str, Any], account_id: str, where: list[str]
) -> str:
    if step.each is None:
        words = _words(kind.service, step.call, fill(step.arguments, facts), account_id)
        return " ".join([*words, *where])
    listing = _words(kind.service, step.each.call, fill(step.each.arguments, facts), account_id)
    query = ["--query", shlex.quote(step.each.items), "--output", "text"]
    variables = [f"each{place}" for place in range(_width(step.each))]
    arguments = fill(step.arguments, {**facts, "each": [f"${one}" for one in variables]})
    made = _words(kind.service, step.call, arguments, account_id)
    return (
        f"{' '.join([*listing, *query, *where])} | while IFS=$'\\t' read -r {' '.join(variables)}; "
        f"do {' '.join([*made, *where])} </dev/null || break; done"
    )


def _width(ask: Ask) -> int:
    """How many fields a row has: the multi-select list at the end of the path says so."""
    return ask.items.rpartition("[")[2].count(",") + 1


def _words(service: str, call: str, arguments: Mapping[str, Any], account_id: str) -> list[str]:
    words = ["aws", CLI_NAMES.get(service, service), call.replace("_", "-")]
    for name, value in arguments.items():
        option = f"--{xform_name(name, '-')}"
        match value:
            case True:
                words.append(option)
            case list() if all(isinstance(one, str) for one in value):
                words += [option, *(_quoted(one, account_id) for one in value)]
            case list() | dict():
                words += [option, _quoted(json.dumps(value), account_id)]
            case other:
                words += [option, _quoted(str(other), account_id)]
    return words


def _quoted(value: str, account_id: str) -> str:
    """A word that the shell takes as it is, but for a variable of ours and the account."""
    if value.startswith("$each"):
        return f'"{value}"'
    if account_id != EXAMPLE_ACCOUNT and account_id in value:
        return f'"{value.replace(account_id, OWN_ACCOUNT)}"'
    return shlex.quote(value)
