"""The end of a stack: Terraform's destroy, and the certificate that nothing is left."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from helpers.cloud import leftovers, meter, sweep
from helpers.cloud.account import Account
from helpers.cloud.leftovers import Scan
from helpers.cloud.resource_kinds import Caller, mask_account
from helpers.cloud.stack import Stack
from helpers.cloud.terraform import Workspace
from helpers.cloud.terraform_process import InUse
from helpers.errors import Problem
from helpers.profile import LABEL, Target
from helpers.run import Record, Run, now

# What AWS removes by itself, network interfaces first, is gone within a minute or two.
SCANS, PAUSE_S = 12, 5.0
CLEAN_SCANS = 2
DESTROYS = 3  # attempts at a network that something holds
RESTARTED = "The emulator that held the stack was started again: its account is empty in any case."


class Teardown(Record, stage="06", name="teardown"):
    """What was destroyed."""

    at: str  # when, UTC
    emulated: bool  # whether the account is emulated
    created: bool  # whether this run ever created anything
    destroyed: int  # how many resources the state holds no longer
    standing: tuple[str, ...]  # what the state still holds
    doubt: str  # why this proves nothing; empty where it does
    held: tuple[str, ...] = ()  # what held the network without Terraform, and what became of it
    problem: str = ""  # why it is not complete; empty where it is

    @property
    def holds(self) -> bool:
        """Whether the state is empty."""
        return not self.standing and not self.problem

    @property
    def absent(self) -> str:
        """Why nothing here could show that a stack can be destroyed; empty where it could."""
        return self.doubt or ("" if self.created else "this run has created nothing")

    @property
    def summary(self) -> str:
        """How much was destroyed, what is left and why, and what held it, a line each."""
        if not self.created:
            return "this run has created nothing; there is nothing to destroy"
        left = f"{len(self.standing)} still in the state" if self.standing else "the state is empty"
        label = " (EMULATED)" if self.emulated else ""
        text = f"{self.destroyed} resources destroyed, {left}{label}"
        return "\n".join((text, *filter(None, [self.problem]), *self.held))


def destroy(run: Run, workspace: Workspace, *, doubt: str = "") -> Teardown:
    """Destroy what is left of the stack, also after a failure; `doubt` as in `Teardown`.

    Where something holds the network, what is this run's is removed, and destroy tried again, since
    AWS needs minutes to remove the rest. A failure is in the record: the scan still follows.
    """
    before, held, problem = len(workspace.remaining()), list[str](), ""
    for _ in range(DESTROYS):
        try:
            workspace.destroy()
            problem = ""
            break
        except Problem as reason:
            problem = str(reason)
            if not isinstance(reason, InUse):
                break
        print(f"{problem}\nLooking for what holds the network.", flush=True)
        held += [f"{item.kind} {item.id}: {item.outcome} {item.reason}".strip()
                 for item in sweep.free_network(run, workspace.account)]  # fmt: skip
    standing = workspace.remaining()
    record = Teardown(
        at=now(),
        emulated=workspace.account.emulated,
        created=bool(run.events("stack-apply-start")),
        destroyed=before - len(standing),
        standing=standing,
        doubt=doubt,
        held=tuple(dict.fromkeys(held)),
        problem=problem,
    )
    return run.save(record)


def restart_doubt(run: Run, emulator: str) -> str:
    """Why an empty account proves nothing: the emulator (name of its service) was restarted."""
    exists, doubt = False, ""
    for event in run.events():
        match event:
            case {"kind": "stack-apply-start"}:
                exists, doubt = True, ""
            case {"kind": "stack-destroy-stop", "outcome": "finished"}:
                exists = False
            case {"kind": "service-started", "service": service} if service == emulator and exists:
                doubt = RESTARTED
    return doubt


class Zero(Record, stage="06", name="zero"):
    """The certificate; without `refused` it is issued."""

    run_id: str  # whose resources were looked for
    target: Target  # where the run happened
    label: str  # what the target means for the claim
    region: str  # the stack's region
    identity: str  # who scanned, without the account's number
    looks: int  # number of scans until they were clean, or given up
    passes: tuple[Scan, ...]  # the last scans, oldest first
    state: tuple[str, ...]  # what Terraform's state still holds
    refused: tuple[str, ...]  # why the certificate is not issued, one sentence each
    at: str  # when, UTC
    sha256: str = ""  # over everything else (`checksum`)

    @property
    def issued(self) -> bool:
        """Whether nothing is left, and everything was scanned."""
        return not self.refused

    @property
    def last(self) -> Scan:
        """The newest scan."""
        return self.passes[-1]

    @property
    def summary(self) -> str:
        """One sentence: issued or not, and why."""
        if self.refused:
            return f"not issued: {' '.join(self.refused)}"
        return f"{len(self.passes)} scans in a row are clean ({self.last.summary})"

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
    scans: int = SCANS,
    sleep: Callable[[float], None] = time.sleep,
) -> Zero:
    """Scan until two scans in a row are clean, and certify it, or say why not.

    `state`: what Terraform's state still holds.
    `doubt`: why even clean scans would prove nothing; empty where there is no such reason.
    """
    caller, stack = Caller.identify(account), run.find(Stack)
    vpcs, passes = [stack.vpc_id] if stack else [], list[Scan]()
    for number in range(scans):
        if number:
            sleep(PAUSE_S)
        scan = leftovers.scan(run, account, vpcs=vpcs, caller=caller)
        print(f"Scan {number + 1}: {scan.summary}.", flush=True)
        masked = mask_account(scan.model_dump_json(), caller.account_id)
        passes.append(Scan.model_validate_json(masked))
        if scan.not_scanned or _is_clean(passes):
            break
    zero = Zero(
        run_id=run.run_id,
        target=run.profile.target,
        label=LABEL[run.profile.target],
        region=account.region,
        identity=mask_account(caller.arn, caller.account_id),
        looks=len(passes),
        passes=tuple(passes[-CLEAN_SCANS:]),
        state=tuple(state),
        refused=_refusals(passes, tuple(state), doubt),
        at=now(),
    )
    zero = run.save(zero.model_copy(update={"sha256": zero.checksum}))
    run.event("zero-certificate", stage="06", issued=zero.issued, sha256=zero.sha256)
    return zero


def verify(path: Path) -> Zero:
    """Read a certificate; one that was changed, not issued, or is not clean is a `Problem`."""
    try:
        zero = Zero.model_validate_json(path.read_text())
    except (OSError, ValidationError) as error:
        raise Problem(f"{path.name} is not a zero certificate that can be read.") from error
    if zero.checksum != zero.sha256:
        raise Problem(f"{path.name} was changed after it was written: its checksum differs.")
    refused = zero.refused or _refusals(list(zero.passes), zero.state, "")
    if refused:
        raise Problem(f"The certificate of {zero.run_id} was not issued.", " ".join(refused))
    return zero


def frame(zero: Zero) -> pd.DataFrame:
    """The certificate, for people."""
    refused = " ".join(zero.refused)
    kept = [f"{item.kind} {item.id} ({item.kept})" for item in zero.last.found if item.kept]
    facts = {
        "Verdict": f"NOT ISSUED: {refused}" if refused else "nothing is left",
        "Where": f"{zero.label} Region {zero.region}, by {zero.identity}.",
        "Looked for": "; ".join(zero.last.filters),
        "Scanned": zero.last.summary,
        "Clean scans": ", ".join(scan.at for scan in zero.passes if scan.is_clean) or "none",
        "Kept on purpose": ", ".join(kept) or "nothing",
        "Terraform's state": f"{len(zero.state)} resources" if zero.state else "empty",
        "SHA-256": zero.sha256,
    }
    return pd.DataFrame(facts.items(), columns=["What", "Found"])


def standing(run: Run) -> str:
    """What the run still has in the account, its price and the command that removes it, or ""."""
    certificate, applied = run.readable(Zero), run.events("stack-apply-start")
    scanned = certificate is not None and applied and certificate.at > applied[-1]["at"]
    left = certificate.last.left if certificate and scanned and certificate.passes else ()
    if price := hourly_price(run):
        what, command = f"the stack, {price}", f"workbook run --run {run.run_id} --only 06"
    elif left:
        kinds = ", ".join(dict.fromkeys(item.kind for item in left))
        what, command = f"{len(left)} resources ({kinds})", f"workbook down {run.run_id} --sweep"
    else:
        return ""
    return f"STILL STANDING: {what}. Remove with: {command}"


def hourly_price(run: Run) -> str:
    """The price of an hour of the stack, as a text, as long as it exists; else empty."""
    reading = meter.read(run)
    label = " (EMULATED)" if run.profile.target == "rehearsal" else ""
    return f"about US$ {reading['usd_per_hour']:.2f} an hour{label}" if reading["standing"] else ""


def _is_clean(passes: list[Scan]) -> bool:
    return len(passes) >= CLEAN_SCANS and all(scan.is_clean for scan in passes[-CLEAN_SCANS:])


def _refusals(passes: list[Scan], state: tuple[str, ...], doubt: str) -> tuple[str, ...]:
    if not passes or not passes[-1].looked:
        return ("Nothing was scanned.",)
    last, clean = passes[-1], sum(scan.is_clean for scan in passes)
    kinds = ", ".join(dict.fromkeys(item.kind for item in last.left))
    lists = dict.fromkeys(f"{item.kind}: {item.problem}" for item in last.not_scanned)
    reasons = (
        last.left and f"{len(last.left)} resources are left ({kinds}).",
        lists and f"Not everything could be scanned ({'; '.join(lists)}).",
        last.is_clean and not _is_clean(passes)
        and f"Only {clean} of {CLEAN_SCANS} scans are clean.",
        state and f"Terraform's state still holds {len(state)} resources, {state[0]} among them.",
        doubt,
    )  # fmt: skip
    return tuple(str(reason) for reason in reasons if reason)
