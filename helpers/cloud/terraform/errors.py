"""What Terraform complains of, in one sentence with its own words, and what to do next."""

import re

from helpers.cloud.account import (
    DENIED,
    EXPIRED,
    LOG_IN,
    QUOTA,
    ROLE,
    THROTTLED,
    UNKNOWN_KEY,
    masked,
)
from helpers.cloud.terraform.progress import Diagnostic, Progress
from helpers.errors import Problem

AGAIN = "Repeat the step: Terraform goes on from its state."
LONGEST = 400  # characters of Terraform's own words


def _codes(*groups: tuple[str, ...]) -> str:
    codes = (code for group in groups for code in group if not code.isdigit())
    return rf"\b(?:{'|'.join(codes)})\b"


# First match counts. Codes of AWS stand in the provider's texts as in boto3's errors.
RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), step)
    for pattern, step in (
        (
            r"acquiring the state lock",
            "Another Terraform may be at work on this state: wait for it. If it was killed, "
            "remove its lock with Workspace.unlock and the id above, and repeat the step.",
        ),
        (_codes(EXPIRED) + r"|token.* expired|expired.* token|SSO session", LOG_IN),
        (_codes(UNKNOWN_KEY) + r"|No valid credential sources", LOG_IN),
        (_codes(DENIED) + r"|not authorized to perform", ROLE),
        (
            _codes(QUOTA) + r"|exceed.* (?:limit|quota)|vCPU (?:limit|capacity)",
            "A service quota is too small: 00-setup gives the command that asks for more.",
        ),
        (_codes(THROTTLED) + r"|rate exceeded", f"AWS throttles: wait a minute. {AGAIN}"),
        (
            r"already ?exists|AlreadyOwnedByYou|Duplicate\w*|ResourceInUseException",
            "An earlier run left it: run 06 of that run, or choose another infrastructure.name.",
        ),
        (
            r"DependencyViolation|has (?:a )?dependen|still has|DeleteConflict",
            "Something that Terraform does not own still uses it, often a load balancer: run 06 "
            "again, which removes load balancers first.",
        ),
        (r"saved plan is stale|plan file .*(?:stale|different)", "Plan again, then apply."),
        (
            r"provider packages?|plugin|lock file|registry\.terraform\.io",
            "The provider cannot be had in the version that infra/.terraform.lock.hcl pins: go "
            "online, or name a mirror in TF_PROVIDER_MIRROR.",
        ),
        (
            r"backend|NoSuchBucket|S3 bucket .*does not exist",
            "Check infrastructure.state_bucket: the bucket must exist in the run's region.",
        ),
        (
            r"no such host|connection refused|dial tcp|i/o timeout|connection reset|EOF",
            f"AWS (or its emulator) cannot be reached: check that, then repeat the step. {AGAIN}",
        ),
        (r"NotEmulated|not emulat", "Only AWS itself can show this."),
        (r"Invalid value for variable|Invalid (?:value|configuration)", "Correct the profile."),
    )
)


def problem(doing: str, progress: Progress, log: str) -> Problem:
    """The failure of a command.

    Args:
        doing: What it was to do, such as `apply the plan`.
        progress: What it said.
        log: Its log, relative to the run's folder.
    """
    errors = progress.errors
    if not errors:
        said = " ".join(progress.other[-3:]) or "it said nothing"
        return Problem(f"Terraform could not {doing}: {_short(said)}.", f"Its log is {log}.")
    others = f" ({len(errors) - 1} more errors in {log})" if len(errors) > 1 else ""
    return Problem(
        f"Terraform could not {doing}: {_sentence(errors[0])}{others}.",
        next_step("\n".join(one.text for one in errors)) or f"Its log is {log}. {AGAIN}",
    )


def next_step(text: str) -> str:
    """What to do about an error text; empty where no rule knows it."""
    return next((step for pattern, step in RULES if pattern.search(text)), "")


def _sentence(error: Diagnostic) -> str:
    detail = " ".join(error.detail.split())
    where = f" [{error.address}]" if error.address and error.address not in error.summary else ""
    said = error.summary.rstrip(".") + (f": {detail}" if detail else "")
    return f"{_short(said)}{where}"


def _short(text: str) -> str:
    text = masked(text).strip().rstrip(".")
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rstrip()}…"
