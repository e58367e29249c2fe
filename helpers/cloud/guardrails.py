"""What guards the account's money once the stack stands, read back from the account."""

import pandas as pd

from helpers import promises
from helpers.cloud import dead_man
from helpers.cloud.account import Account, asking, identity, masked
from helpers.cloud.plan import PLAN_JSON, Plan
from helpers.cloud.reports import Stack
from helpers.errors import Problem
from helpers.promises import Status
from helpers.run import Record, Run

BILLING_REGION = "us-east-1"  # where AWS publishes charges
DEPLOYER = "deployer"  # in the name of the role that infra/bootstrap makes
REQUIRED_TAGS = ("project", "owner", "run")
NOTICES = ("ACTUAL 50 %", "ACTUAL 80 %", "ACTUAL 100 %", "FORECASTED 100 %")
ROLE_PROMISE = "00.iam"


class Guardrails(Record, stage="01", name="guardrails"):
    """What guards the money.

    Attributes:
        emulated: Whether it stands in an emulator.
        budget_usd: Limit of the account-wide budget.
        notices: At which shares of it somebody is told, such as `ACTUAL 50 %`.
        alarm_usd: Charges above which the alarm goes off.
        told: How many addresses are subscribed.
        tagged: Resources that carry all required tags.
        untagged: Those that could and do not.
        gpu_max_price: Most that an hour of a GPU node may cost; 0 without a cap.
        api_cidr: Who reaches the cluster's API; on AWS not shown.
        dead_man: When the GPU nodes are scaled to zero, UTC.
        caller: Who made the stack.
    """

    emulated: bool
    budget_usd: float
    notices: tuple[str, ...]
    alarm_usd: float
    told: int
    tagged: int
    untagged: tuple[str, ...]
    gpu_max_price: float
    api_cidr: str
    dead_man: str
    caller: str

    @property
    def by_deployer(self) -> bool:
        """Whether the deployer role of `infra/bootstrap` made the stack."""
        _, assumed, role = self.caller.partition(":assumed-role/")
        return bool(assumed) and DEPLOYER in role.partition("/")[0]

    def watches(self, limit_usd: float) -> bool:
        """Whether budget and alarm have this limit, and the budget tells at every step."""
        return self.budget_usd == self.alarm_usd == limit_usd and {*NOTICES} <= {*self.notices}

    @property
    def money(self) -> str:
        """One sentence: budget and alarm."""
        notices = ", ".join(self.notices)
        return f"budget ${self.budget_usd:g} ({notices}), alarm above ${self.alarm_usd:g}"

    @property
    def tags(self) -> str:
        """One sentence: which resources carry the tags."""
        without = f"; without: {', '.join(self.untagged)}" if self.untagged else ""
        return f"{self.tagged} resources carry {', '.join(REQUIRED_TAGS)}{without}"


def look(run: Run, account: Account) -> Guardrails:
    """Read the guardrails back, and keep them with the run.

    Raises:
        Problem: There is no stack, a guardrail is missing, or AWS does not answer.
    """
    stack, who = run.load(Stack), identity(account)
    tagged = {
        resource.address: {*REQUIRED_TAGS} <= {*resource.tags}
        for resource in Plan.read(run.folder / PLAN_JSON).resources
        if resource.type == "aws_autoscaling_group" or "tags_all" in resource.values
    }
    budget, notices = _budget(account, who.account_id, f"{stack.stack_name}-account")
    record = Guardrails(
        emulated=account.emulated,
        budget_usd=budget,
        notices=notices,
        alarm_usd=_alarm(account, stack),
        told=_told(account, stack.alerts_topic_arn),
        tagged=sum(tagged.values()),
        untagged=tuple(sorted(address for address, has in tagged.items() if not has)),
        gpu_max_price=stack.gpu_max_price,
        api_cidr=stack.api_cidr if account.emulated else "this machine's address",
        dead_man=dead_man.look(run, account).expires,
        caller=masked(who.arn, who.account_id),
    )
    run.save(record)
    return record


def tick_role(run: Run, found: Guardrails) -> None:
    """Tick the promise of the least-privilege role: only AWS can show that it suffices."""
    if not found.emulated and found.by_deployer:
        note = f"the stack was made by {found.caller}"
        promises.tick(run, ROLE_PROMISE, Status.VERIFIED, evidence=found.path(), note=note)
        return
    note = (
        "the emulator grants everything; a test replays a rehearsal's calls against the policy"
        if found.emulated
        else f"the stack was made by {found.caller}, not by the deployer role of infra/bootstrap"
    )
    promises.tick(run, ROLE_PROMISE, Status.NOT_REHEARSED, note=note)


def frame(found: Guardrails) -> pd.DataFrame:
    """What guards the money, for people."""
    cap = f"${found.gpu_max_price:g} an hour" if found.gpu_max_price else "none (managed-spot)"
    facts = {
        "Budget, account-wide": f"${found.budget_usd:g} a month: {', '.join(found.notices)}",
        "Billing alarm": f"charges above ${found.alarm_usd:g}",
        "Addresses that are told": str(found.told),
        "Price cap of a GPU node": cap,
        "Dead man's switch": f"GPU nodes to zero at {found.dead_man}",
        "Cluster API open to": found.api_cidr,
        "Tags": found.tags,
        "Made by": found.caller,
    }
    label = "EMULATED" if found.emulated else "AWS"
    return pd.DataFrame({"Guardrail": list(facts), "Found": list(facts.values()), "label": label})


def _budget(account: Account, account_id: str, name: str) -> tuple[float, tuple[str, ...]]:
    client = account.client("budgets", BILLING_REGION)
    named = {"AccountId": account_id, "BudgetName": name}
    with asking("the budget"):
        limit = client.describe_budget(**named)["Budget"]["BudgetLimit"]["Amount"]
        found = client.describe_notifications_for_budget(**named)["Notifications"]
    notices = (f"{one['NotificationType']} {one['Threshold']:g} %" for one in found)
    return float(limit), tuple(sorted(notices))


def _alarm(account: Account, stack: Stack) -> float:
    name = f"{stack.stack_name}-estimated-charges"
    with asking("the billing alarm"):
        client = account.client("cloudwatch", BILLING_REGION)
        found = client.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    if not found:
        raise Problem(f"The billing alarm {name} does not exist.", "Run 01 again.")
    return float(found[0]["Threshold"])


def _told(account: Account, topic: str) -> int:
    with asking("who is told"):
        client = account.client("sns", BILLING_REGION)
        return len(client.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"])
