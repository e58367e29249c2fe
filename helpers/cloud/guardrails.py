"""What protects the account's money: the gates before an apply, the dead man's switch, the alarms.

The switch is a one-shot schedule in AWS that scales GPU nodes to zero; Terraform ignores its time.
"""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import pandas as pd

from helpers import promises
from helpers.cloud.account import GLOBAL_REGION, Account, asking, identity
from helpers.cloud.plan import PlanFacts, read_plan
from helpers.cloud.stack import Stack
from helpers.errors import Problem
from helpers.promises import Tick
from helpers.run import Record, Run, now
from helpers.scenario import Settings

REQUIRED_TAGS = ("project", "owner", "run")
NOTICES = ("ACTUAL 50 %", "ACTUAL 80 %", "ACTUAL 100 %", "FORECASTED 100 %")


class ReadinessVerdict(StrEnum):
    """What a finding means for creating the stack."""

    OK = "ok"
    WARN = "warn"
    BLOCKS = "blocks"


OK, WARN, BLOCKS = ReadinessVerdict
SIGNS = {OK: "✔", WARN: "!", BLOCKS: "✘"}


class ReadinessFinding(Settings):
    """The result of a check; `command` changes what blocks, or checks again what is fine."""

    name: str  # short and fixed, such as `quota-spot-gpu`
    title: str
    found: str
    verdict: ReadinessVerdict
    command: str


class Readiness(Record, stage="00", name="readiness"):
    """Everything that was checked: by whom (without the account's number), when (UTC), where."""

    emulated: bool
    region: str
    asked: str
    identity: str
    findings: tuple[ReadinessFinding, ...]

    @property
    def blocking(self) -> tuple[ReadinessFinding, ...]:
        """What forbids creating anything."""
        return tuple(item for item in self.findings if item.verdict is BLOCKS)

    @property
    def summary(self) -> str:
        """One sentence: how many findings of which verdict."""
        counts = {v: sum(item.verdict is v for item in self.findings) for v in ReadinessVerdict}
        text = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
        state = "not green" if self.blocking else "green"
        return f"{state}: {text}{' (EMULATED account)' if self.emulated else ''}"

    def allows(self, prefix: str) -> bool:
        """Whether findings with this prefix exist, and none of them blocks."""
        findings = self.about(prefix)
        return bool(findings) and not any(item.verdict is BLOCKS for item in findings)

    def explain(self, prefix: str) -> str:
        """What was found about it; where it was not even checked, why."""
        findings = self.about(prefix)
        text = "; ".join(f"{item.title}: {item.found}" for item in findings or self.blocking)
        return text if findings else f"not checked ({text})"

    def about(self, prefix: str) -> tuple[ReadinessFinding, ...]:
        """The findings whose name has this prefix."""
        return tuple(item for item in self.findings if item.name.startswith(prefix))


def admit(run: Run, facts: PlanFacts) -> None:
    """Raise a `Problem` unless readiness, prices and the cost of a session allow an apply."""
    if not facts.changes:
        return
    report, cost = run.find(Readiness), facts.cost
    if not run.profile.infrastructure.override_readiness:
        if report is None:
            raise Problem(
                "`apply` is blocked: the account has not been checked.",
                "Run 00-setup for this run: it writes the readiness report.",
            )
        if report.blocking:
            names = "; ".join(f"{item.title}: {item.found}" for item in report.blocking)
            raise Problem(
                f"`apply` is blocked until all readiness checks pass ({names}).",
                f"Next: {report.blocking[0].command} — then run 00-setup again, or begin a run "
                "with infrastructure.override_readiness=true.",
            )
    if cost.unpriced:
        raise Problem(
            f"`apply` is blocked: no price is known for {', '.join(cost.unpriced)}.",
            "Add it to helpers/cloud/price_tables: a price, or the reason why it is free.",
        )
    if cost.session_most_usd > cost.budget_usd:
        raise Problem(
            f"`apply` is blocked: a session of {cost.session_hours:g} h may cost "
            f"${cost.session_most_usd:.2f}, and kpis.cost_usd allows ${cost.budget_usd:.2f}.",
            "Shorten infrastructure.ttl_hours, lower infrastructure.gpu.max_nodes or "
            "max_price_usd, or raise kpis.cost_usd.",
        )


class DeadMan(Record, stage="01", name="dead-man"):
    """The dead man's switch as it is set: what it calls, and when (UTC)."""

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
        """Whether it will still fire."""
        return self.enabled and self.fires > datetime.now(UTC)

    @property
    def summary(self) -> str:
        """One sentence: when it fires."""
        when = f"{self.fires:%Y-%m-%d %H:%M} UTC"
        state = f"fires at {when}" if self.armed else f"fired or disarmed ({when})"
        return f"{self.schedule} {state}{' (EMULATED)' if self.emulated else ''}"


def read_dead_man(run: Run, account: Account) -> DeadMan:
    """Read the switch, and store what was read."""
    schedule = _schedule(account, stack := run.load(Stack))
    record = DeadMan(
        emulated=account.emulated,
        schedule=stack.dead_man_schedule,
        group=stack.dead_man_schedule_group,
        target=schedule["Target"]["Arn"],
        expires=schedule["ScheduleExpression"].removeprefix("at(").replace(")", "Z"),
        enabled=schedule["State"] == "ENABLED",
        seen=now(),
    )
    return run.save(record)


def require_armed(run: Run, account: Account | None = None) -> None:
    """Raise a `Problem` if the switch has fired: no GPU node would ever come.

    In a rehearsal only a given account is asked: its emulator may have begun anew since 01.
    """
    if account is None:
        if run.profile.target != "aws":
            return
        account = Account(run.profile.region)
    switch, name = read_dead_man(run, account), run.load(Stack).gpu_asg_name
    with asking("the GPU node group"):
        groups = account.client("autoscaling").describe_auto_scaling_groups(
            AutoScalingGroupNames=[name]
        )["AutoScalingGroups"]
    most = groups[0]["MaxSize"] if groups else 0
    if not switch.armed or not most:
        raise Problem(
            f"No GPU node can start: {switch.summary}; the maximum of {name} is {most}.",
            "01 renews the switch and opens the group: "
            f"'workbook run --only 01 --run {run.run_id}', then this stage again; or end with 06.",
        )
    print(switch.summary)


def renew_dead_man(run: Run, account: Account) -> DeadMan:
    """Let the switch fire a session's hours from now; one that has fired is armed again.

    Then the GPU group gets its sizes back: `apply` restores all but the desired one.
    """
    before = read_dead_man(run, account)
    schedule, client = _schedule(account, run.load(Stack)), account.client("scheduler")
    # what an update does not repeat, the service drops
    settable = client.meta.service_model.operation_model("UpdateSchedule").input_shape.members
    kept = {name: value for name, value in schedule.items() if name in settable}
    fires = datetime.now(UTC) + timedelta(hours=run.profile.infrastructure.ttl_hours)
    with asking("the renewal of the dead man's switch"):
        client.update_schedule(**kept | {"ScheduleExpression": f"at({fires:%Y-%m-%dT%H:%M:%S})"})
    after = read_dead_man(run, account)
    run.event("dead-man-renewed", stage="01", expires=after.expires, source="EventBridge Scheduler")
    if before.enabled and not before.armed:
        gpu = run.profile.infrastructure.gpu
        with asking("the opening of the GPU node group"):
            account.client("autoscaling").update_auto_scaling_group(
                AutoScalingGroupName=run.load(Stack).gpu_asg_name, MinSize=gpu.min_nodes,
                DesiredCapacity=gpu.desired_nodes, MaxSize=gpu.max_nodes,
            )  # fmt: skip
        print(f"It had fired ({before.expires}): the GPU group gets its nodes back.")
    return after


def _schedule(account: Account, stack: Stack) -> dict[str, Any]:
    client = account.client("scheduler")
    wanted = {"GroupName": stack.dead_man_schedule_group, "Name": stack.dead_man_schedule}
    with asking("the dead man's switch"):
        try:
            return client.get_schedule(**wanted)  # type: ignore[no-any-return]
        except client.exceptions.ResourceNotFoundException as error:
            raise Problem(
                f"The dead man's switch {stack.dead_man_schedule} is gone.",
                "Run 01 again: it is created before the GPU nodes; or end the run with 06.",
            ) from error


class Guardrails(Record, stage="01", name="guardrails"):
    """What protects the money, read back from the account."""

    emulated: bool
    budget_usd: float  # limit of the account-wide budget
    notices: tuple[str, ...]  # shares of it at which people are notified
    alarm_usd: float  # charges above which the alarm goes off
    alarm_sees: bool = False  # whether AWS publishes the charges that it watches
    told: int  # addresses that are notified
    tagged: int  # resources that have all required tags
    untagged: tuple[str, ...]  # those that could, and have not
    gpu_max_price: float  # US dollars an hour of a GPU node; 0 without a cap
    api_cidr: str  # who reaches the cluster's API; on AWS not shown
    dead_man: str  # when the GPU nodes are scaled to zero, UTC
    caller: str  # who created the stack

    def has_limit(self, usd: float) -> bool:
        """Whether budget and alarm have this limit, one notifies at every step, the other sees."""
        limits = self.budget_usd == self.alarm_usd == usd and {*NOTICES} <= {*self.notices}
        return limits and self.alarm_sees

    @property
    def money(self) -> str:
        """One sentence: budget and alarm."""
        notices = ", ".join(self.notices)
        blind = "" if self.alarm_sees else ", which sees no charges (stage 00 says why)"
        return f"budget ${self.budget_usd:g} ({notices}), alarm above ${self.alarm_usd:g}{blind}"

    @property
    def tags(self) -> str:
        """One sentence: which resources have the tags."""
        without = f"; without: {', '.join(self.untagged)}" if self.untagged else ""
        return f"{self.tagged} resources have the tags {', '.join(REQUIRED_TAGS)}{without}"


def charges_are_published(account: Account) -> bool:
    """Whether CloudWatch has the metric that the billing alarm watches, with data of two weeks."""
    wanted = {"Namespace": "AWS/Billing", "MetricName": "EstimatedCharges"}
    currency = [{"Name": "Currency", "Value": "USD"}]
    with asking("the metric of the billing alarm"):
        watch = account.client("cloudwatch", GLOBAL_REGION)
        found = watch.list_metrics(**wanted, Dimensions=currency)["Metrics"]
    # those of a service have a dimension more
    return any(metric["Dimensions"] == currency for metric in found)


def read(run: Run, account: Account) -> Guardrails:
    """Read the guardrails back from the account, and store them."""
    stack, who = run.load(Stack), identity(account)
    tagged = {
        resource.address: {*REQUIRED_TAGS} <= {*resource.tags}
        for resource in read_plan(run).resources
        if resource.type == "aws_autoscaling_group" or "tags_all" in resource.values
    }
    budget = {"AccountId": who.account_id, "BudgetName": f"{stack.stack_name}-account"}
    name = f"{stack.stack_name}-estimated-charges"
    services = ("budgets", "cloudwatch", "sns")
    budgets, watch, sns = (account.client(service, GLOBAL_REGION) for service in services)
    with asking("the budget"):
        limit = budgets.describe_budget(**budget)["Budget"]["BudgetLimit"]["Amount"]
        notices = budgets.describe_notifications_for_budget(**budget)["Notifications"]
    with asking("the billing alarm"):
        alarms = watch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    if not alarms:
        raise Problem(f"The billing alarm {name} does not exist.", "Run 01 again.")
    with asking("who is notified"):
        topic = sns.list_subscriptions_by_topic(TopicArn=stack.alerts_topic_arn)
    record = Guardrails(
        emulated=account.emulated,
        budget_usd=float(limit),
        notices=tuple(sorted(f"{n['NotificationType']} {n['Threshold']:g} %" for n in notices)),
        alarm_usd=float(alarms[0]["Threshold"]),
        alarm_sees=charges_are_published(account),
        told=len(topic["Subscriptions"]),
        tagged=sum(tagged.values()),
        untagged=tuple(sorted(address for address, complete in tagged.items() if not complete)),
        gpu_max_price=stack.gpu_max_price,
        api_cidr=stack.api_cidr if account.emulated else "this machine's address",
        dead_man=read_dead_man(run, account).expires,
        caller=who.shown,
    )
    return run.save(record)


def tick_role(run: Run, report: Readiness) -> Tick:
    """Tick the least-privilege role: VERIFIED where IAM allows it all of a run, and no more."""
    note = "the emulator grants everything; a test replays a rehearsal's calls against the policy"
    if not report.emulated:
        note = report.explain("privilege")
    decided = any(item.verdict in (OK, BLOCKS) for item in report.about("privilege"))
    return promises.claim(run, "00.iam", holds=report.allows("privilege"), evidence=report.path(),
                          note=note, absent="" if decided else note)  # fmt: skip


def frame(guardrails: Guardrails) -> pd.DataFrame:
    """What protects the money, for people."""
    notices = ", ".join(guardrails.notices)
    cap = f"${guardrails.gpu_max_price:g} an hour" if guardrails.gpu_max_price else "none"
    facts = {
        "Budget, account-wide": f"${guardrails.budget_usd:g} a month: {notices}",
        "Billing alarm": f"charges above ${guardrails.alarm_usd:g}",
        "Addresses that are notified": str(guardrails.told),
        "Price cap of a GPU node": cap,
        "Dead man's switch": f"GPU nodes to zero at {guardrails.dead_man}",
        "Cluster API open to": guardrails.api_cidr,
        "Tags": guardrails.tags,
        "Created by": guardrails.caller,
    }
    table = pd.DataFrame(facts.items(), columns=["Guardrail", "Found"])
    return table.assign(label="EMULATED" if guardrails.emulated else "AWS")
