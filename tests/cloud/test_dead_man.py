"""The dead man's switch is read, renewed from anywhere, and changes nothing but its hour."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from helpers.cloud import guardrails
from helpers.cloud.stack import Stack
from helpers.errors import Problem
from helpers.run import Run
from tests import emulated
from tests.emulated import Emulated

SCHEDULE = {"GroupName": "gpu-e2e", "Name": "gpu-e2e-dead-man"}
TARGET = "arn:aws:scheduler:::aws-sdk:autoscaling:updateAutoScalingGroup"
OUTPUTS = {
    **{name: "made-up" for name, field in Stack.model_fields.items() if field.annotation is str},
    "emulated": False, "gpu_max_price": 0.3, "role_arns": {},
    "gpu_instance_types": (), "private_subnet_ids": (), "public_subnet_ids": (), "tags": {},
    "dead_man_schedule": SCHEDULE["Name"], "dead_man_schedule_group": SCHEDULE["GroupName"],
}  # fmt: skip


@pytest.fixture
def aws(run: Run) -> Iterator[Emulated]:
    """An account in which a run's switch fires in an hour."""
    run.save(Stack.model_validate(OUTPUTS))
    with emulated.installed() as aws:
        aws.account.client("scheduler").create_schedule_group(Name="gpu-e2e")
        arm(aws, datetime.now(UTC) + timedelta(hours=1))
        yield aws


def arm(aws: Emulated, fires: datetime) -> None:
    aws.account.client("scheduler").create_schedule(
        **SCHEDULE,
        Description="kept",
        ScheduleExpression=f"at({fires:%Y-%m-%dT%H:%M:%S})",
        ScheduleExpressionTimezone="UTC",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": TARGET, "RoleArn": "arn:aws:iam::123456789012:role/x", "Input": "{}"},
    )


def stored(aws: Emulated) -> dict[str, Any]:
    return aws.account.client("scheduler").get_schedule(**SCHEDULE)  # type: ignore[no-any-return]


def test_renewing_moves_its_hour_and_nothing_else(run: Run, aws: Emulated) -> None:
    before = stored(aws)
    switch = guardrails.renew_dead_man(run, aws.account)
    chosen = run.profile.infrastructure.ttl_hours
    late = switch.fires - (datetime.now(UTC) + timedelta(hours=chosen))
    assert abs(late) < timedelta(minutes=1)
    assert switch.armed and switch.target == TARGET and "fires at" in switch.summary
    after = stored(aws)
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {"ScheduleExpression", "LastModificationDate", "ResponseMetadata"}
    (event,) = run.events("dead-man-renewed")
    assert event["expires"] == switch.expires and run.load(guardrails.DeadMan) == switch


def test_one_that_is_gone_is_named(run: Run, aws: Emulated) -> None:
    aws.account.client("scheduler").delete_schedule(**SCHEDULE)
    with pytest.raises(Problem, match=r"is gone.*Run 01 again"):
        guardrails.renew_dead_man(run, aws.account)
