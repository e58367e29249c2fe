"""The dead man's switch: a one-shot schedule inside AWS that scales the GPU nodes to zero.

Terraform makes it and removes it; here it is read and renewed. Renewing changes nothing but its
hour, which Terraform ignores.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from helpers.cloud.account import Account, asking
from helpers.cloud.reports import Stack
from helpers.errors import Problem
from helpers.run import Record, Run, now

# What an update must repeat, or the service forgets it.
KEPT = ("GroupName", "Name", "Description", "ScheduleExpressionTimezone", "State", "Target",
        "KmsKeyArn", "FlexibleTimeWindow", "ActionAfterCompletion", "StartDate")  # fmt: skip
MOST_HOURS = 24.0  # as infra/variables.tf and the profile allow


class DeadMan(Record, stage="01", name="dead-man"):
    """The switch as it is armed.

    Attributes:
        emulated: Whether it stands in an emulator.
        schedule: Its name.
        group: The schedule group it is in.
        target: What it calls.
        expires: When it fires, UTC.
        enabled: Whether it is armed.
        seen: When this was read, UTC.
    """

    emulated: bool
    schedule: str
    group: str
    target: str
    expires: str
    enabled: bool
    seen: str

    @property
    def fires(self) -> datetime:
        """`expires` as a time."""
        return datetime.fromisoformat(self.expires)

    @property
    def armed(self) -> bool:
        """Whether it still is to fire."""
        return self.enabled and self.fires > datetime.now(UTC)

    @property
    def summary(self) -> str:
        """One sentence: when it fires, and at what."""
        when = f"{self.fires:%Y-%m-%d %H:%M} UTC"
        state = f"fires at {when}" if self.armed else f"fired or disarmed ({when})"
        return f"{self.schedule} {state}{' (EMULATED)' if self.emulated else ''}"


def look(run: Run, account: Account) -> DeadMan:
    """Read the switch, and keep what was read.

    Raises:
        Problem: There is no stack, or its switch is gone.
    """
    stack = run.load(Stack)
    found = _get(account, stack)
    record = DeadMan(
        emulated=account.emulated,
        schedule=stack.dead_man_schedule,
        group=stack.dead_man_schedule_group,
        target=found["Target"]["Arn"],
        expires=_moment(found["ScheduleExpression"]),
        enabled=found["State"] == "ENABLED",
        seen=now(),
    )
    run.save(record)
    return record


def renew(run: Run, account: Account, hours: float | None = None) -> DeadMan:
    """Let the switch fire so many hours from now. One that has fired is armed again.

    Args:
        run: Whose stack it guards.
        account: Where.
        hours: From now on; None takes `infrastructure.ttl_hours`.

    Raises:
        Problem: It is gone, or the time is not between 0 and 24 hours.
    """
    ttl = run.profile.infrastructure.ttl_hours if hours is None else hours
    if not 0 < ttl <= MOST_HOURS:
        raise Problem(
            f"The dead man's switch cannot be set to {ttl:g} hours.",
            f"Choose more than 0 and at most {MOST_HOURS:g}.",
        )
    before = look(run, account)
    _update(account, run.load(Stack), datetime.now(UTC) + timedelta(hours=ttl))
    after = look(run, account)
    run.event("dead-man-renewed", stage="01", expires=after.expires, source="EventBridge Scheduler")
    if before.enabled and not before.armed:
        print(f"It had fired ({before.expires}): the GPU group stays at zero until 01 runs again.")
    return after


def _update(account: Account, stack: Stack, fires: datetime) -> None:
    found = _get(account, stack)
    kept = {name: found[name] for name in KEPT if name in found}
    with asking("the renewal of the dead man's switch"):
        account.client("scheduler").update_schedule(
            **kept, ScheduleExpression=f"at({fires:%Y-%m-%dT%H:%M:%S})"
        )


def _get(account: Account, stack: Stack) -> dict[str, Any]:
    with asking("the dead man's switch"):
        try:
            found: dict[str, Any] = account.client("scheduler").get_schedule(
                GroupName=stack.dead_man_schedule_group, Name=stack.dead_man_schedule
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            raise Problem(
                f"The dead man's switch {stack.dead_man_schedule} is gone.",
                "Run 01 again: it is made before the GPU nodes; or end the run with 06.",
            ) from error
    return found


def _moment(expression: str) -> str:
    """The time of a one-shot expression, UTC.

    >>> _moment("at(2026-11-25T10:00:00)")
    '2026-11-25T10:00:00Z'
    """
    return f"{expression.removeprefix('at(').removesuffix(')')}Z"
