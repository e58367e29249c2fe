"""Looks at the account before anything is created in it, and writes the readiness report."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from helpers.cloud import preflight_account, preflight_capacity, preflight_cluster
from helpers.cloud.account import Account, identity
from helpers.cloud.question import Question
from helpers.cloud.readiness import Finding, Readiness, Verdict
from helpers.errors import Problem, Unavailable
from helpers.run import Run, now

Look = Callable[[Question], Iterable[Finding]]


@dataclass(frozen=True)
class Check:
    """One thing to look at.

    Attributes:
        name: As its finding is called when it cannot be looked at.
        title: What people read.
        look: Asks, and yields what it finds.
        vital: Whether not knowing it forbids to create anything.
    """

    name: str
    title: str
    look: Look
    vital: bool = True


CHECKS = (
    Check("plan", "Account plan", preflight_account.free_plan, vital=False),
    Check("caller", "This machine's address", preflight_account.caller_address),
    Check("roles", "Service-linked roles", preflight_account.linked_roles, vital=False),
    Check("alerts", "Budget and alarm", preflight_account.alerts),
    Check("state", "Terraform's state", preflight_account.state_bucket),
    Check("quota", "Service quotas", preflight_capacity.quotas),
    Check("offered", "Instance types in the zones", preflight_capacity.offered),
    Check("spot", "Spot price", preflight_capacity.spot_price),
    Check("version", "Kubernetes version", preflight_cluster.version),
    Check("free-name", "Cluster name", preflight_cluster.name_is_free),
)


def examine(
    run: Run, account: Account, gpu_types: Sequence[str], checks: Iterable[Check] = CHECKS
) -> Readiness:
    """Look at everything, and keep the report with the run. Nothing is created.

    A check that AWS does not answer becomes a finding with the sentence and the next step; where
    the credentials do not hold, nothing else is asked.

    Args:
        run: Its profile says what the stack needs.
        account: Where it is to stand.
        gpu_types: Instance types of the GPU nodes, first choice first.
        checks: What to look at.
    """
    question = Question(run, account, tuple(gpu_types))
    who, first = _identify(question)
    findings = [first]
    if first.verdict is not Verdict.BLOCKS:
        findings += [finding for check in checks for finding in _looked(check, question)]
    report = Readiness(
        emulated=account.emulated,
        region=account.region,
        asked=now(),
        identity=who,
        findings=tuple(findings),
    )
    run.save(report)
    return report


def _identify(question: Question) -> tuple[str, Finding]:
    title, command = "Identity", "aws sts get-caller-identity"
    try:
        who = identity(question.account)
    except Problem as problem:
        found = problem.what
        return "", Finding(
            name="identity",
            title=title,
            found=found,
            verdict=Verdict.BLOCKS,
            command="aws sso login",
        )
    found = f"{who.shown} in account {who.masked_id}, region {question.account.region}"
    return who.shown, Finding(
        name="identity", title=title, found=found, verdict=Verdict.OK, command=command
    )


def _looked(check: Check, question: Question) -> list[Finding]:
    try:
        return list(check.look(question))
    except Unavailable as reason:
        return [_unknown(check, f"not emulated: {reason.what}", Verdict.WARN, reason)]
    except Problem as problem:
        verdict = Verdict.BLOCKS if check.vital else Verdict.WARN
        return [_unknown(check, problem.what, verdict, problem)]


def _unknown(check: Check, found: str, verdict: Verdict, problem: Problem) -> Finding:
    return Finding(
        name=check.name,
        title=check.title,
        found=found,
        verdict=verdict,
        command=problem.next_step or "Run 00-setup on AWS.",
    )
