"""The zero certificate: what was looked for, what was found, when and by whom; checksummed."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from helpers.cloud import leftovers
from helpers.cloud.account import Account
from helpers.cloud.leftovers import Scan
from helpers.cloud.leftovers.calls import Caller
from helpers.cloud.reports import Stack
from helpers.errors import Problem
from helpers.profile import LABEL, Target
from helpers.run import Record, Run, now

# What AWS removes on its own, network interfaces first, is gone within a minute or two.
LOOKS, PAUSE_S = 12, 5.0
CLEAN_LOOKS = 2


class Zero(Record, stage="06", name="zero"):
    """The certificate; without `refused` it is issued.

    Attributes:
        run_id: Whose resources were looked for.
        target: Where the run happened.
        label: What the target makes of the claim.
        region: The stack's region.
        identity: Who looked, without the account's number.
        looks: How often was looked until it was clean, or given up.
        passes: The last looks, oldest first.
        state: What Terraform's state still holds; empty where it holds nothing.
        refused: Why the certificate is not issued, one sentence each.
        at: When, UTC.
        sha256: Over everything else (`checksum`).
    """

    run_id: str
    target: Target
    label: str
    region: str
    identity: str
    looks: int
    passes: tuple[Scan, ...]
    state: tuple[str, ...]
    refused: tuple[str, ...]
    at: str
    sha256: str = ""

    @property
    def issued(self) -> bool:
        """Whether nothing is left, and everything was looked at."""
        return not self.refused

    @property
    def last(self) -> Scan:
        """The newest look."""
        return self.passes[-1]

    @property
    def summary(self) -> str:
        """One sentence: issued or not, and why."""
        if self.refused:
            return f"not issued: {' '.join(self.refused)}"
        return f"{len(self.passes)} looks in a row are clean ({self.last.summary})"

    @property
    def checksum(self) -> str:
        """SHA-256 over the canonical content: sorted keys, no spaces, UTF-8, without `sha256`."""
        content = self.model_dump(mode="json", exclude={"sha256"})
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def certify(
    run: Run,
    account: Account,
    *,
    state: Iterable[str] = (),
    doubt: str = "",
    looks: int = LOOKS,
    pause_s: float = PAUSE_S,
    sleep: Callable[[float], None] = time.sleep,
) -> Zero:
    """Look until two looks in a row find nothing, and certify it, or say why not.

    Args:
        run: Whose resources are looked for; the certificate is stored with it.
        account: Where.
        state: What Terraform's state still holds.
        doubt: Why even clean looks would prove nothing; empty where there is no such reason.
        looks: How often to look at most.
        pause_s: How long to wait between two looks, seconds.
        sleep: How that is waited out.

    Raises:
        Problem: The credentials are missing or have expired, or AWS cannot be reached.
    """
    caller = Caller.of(account, sleep)
    stack = run.find(Stack)
    passes: list[Scan] = []
    for number in range(looks):
        if number:
            sleep(pause_s)
        seen = leftovers.scan(run, account, vpcs=[stack.vpc_id] if stack else [], caller=caller)
        print(f"Look {number + 1}: {seen.summary}.", flush=True)
        passes.append(seen.without(caller.account_id))
        if seen.not_scanned or _is_clean(passes):
            break
    made = Zero(
        run_id=run.run_id,
        target=run.profile.target,
        label=LABEL[run.profile.target],
        region=account.region,
        identity=caller.masked_arn,
        looks=len(passes),
        passes=tuple(passes[-CLEAN_LOOKS:]),
        state=tuple(state),
        refused=tuple(_refusals(passes, tuple(state), doubt)),
        at=now(),
    )
    made = made.model_copy(update={"sha256": made.checksum})
    run.save(made)
    run.event("zero-certificate", stage="06", issued=made.issued, sha256=made.sha256)
    return made


def verify(path: Path) -> Zero:
    """Read a certificate, and hold it against its own checksum and content.

    Raises:
        Problem: It cannot be read, was changed, was never issued, or its looks are not clean.
    """
    try:
        found = Zero.model_validate_json(path.read_text())
    except (OSError, ValidationError) as error:
        raise Problem(f"{path.name} is not a zero certificate that can be read.") from error
    if found.checksum != found.sha256:
        raise Problem(f"{path.name} was changed after it was written: its checksum differs.")
    refused = found.refused or tuple(_refusals(found.passes, found.state, ""))
    if refused:
        raise Problem(f"The certificate of {found.run_id} was not issued.", " ".join(refused))
    return found


def frame(made: Zero) -> pd.DataFrame:
    """The certificate, for people."""
    last = made.last
    facts = {
        "Verdict": "nothing is left" if made.issued else "NOT ISSUED: " + " ".join(made.refused),
        "Where": f"{made.label} Region {made.region}, by {made.identity}.",
        "Looked for": "; ".join(last.filters),
        "Looked at": last.summary,
        "Clean looks": ", ".join(one.at for one in made.passes if one.is_clean) or "none",
        "Kept on purpose": ", ".join(f"{one.kind} {one.id} ({one.kept})" for one in last.kept)
        or "nothing",
        "Terraform's state": f"{len(made.state)} resources" if made.state else "empty",
        "SHA-256": made.sha256,
    }
    return pd.DataFrame({"What": list(facts), "Found": list(facts.values())})


def _is_clean(passes: list[Scan]) -> bool:
    return len(passes) >= CLEAN_LOOKS and all(one.is_clean for one in passes[-CLEAN_LOOKS:])


def _refusals(passes: Iterable[Scan], state: tuple[str, ...], doubt: str) -> Iterator[str]:
    seen = list(passes)
    if not seen or not seen[-1].looked:
        yield "Nothing was looked at."
        return
    last = seen[-1]
    if last.left:
        kinds = ", ".join(dict.fromkeys(one.kind for one in last.left))
        yield f"{len(last.left)} resources are left ({kinds})."
    if last.not_scanned:
        missing = "; ".join(dict.fromkeys(f"{one.kind}: {one.problem}" for one in last.not_scanned))
        yield f"Not everything could be looked at ({missing})."
    if not last.left and not last.not_scanned and not _is_clean(seen):
        yield f"Only {sum(one.is_clean for one in seen)} of {CLEAN_LOOKS} looks are clean."
    if state:
        yield f"Terraform's state still holds {len(state)} resources, {state[0]} among them."
    if doubt:
        yield doubt
