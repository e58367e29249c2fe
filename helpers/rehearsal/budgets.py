"""Budgets: tags, who is told, changes."""

from collections.abc import Mapping
from datetime import UTC
from typing import Any

from moto.budgets.responses import BudgetsResponse

from helpers.rehearsal.moto_extension import Call, Operations, Refusal, add

GLOBAL = "aws"
# What tells one notification of a budget from another.
_NOTIFICATION = ("NotificationType", "ComparisonOperator", "Threshold", "ThresholdType")


def create_budget(call: Call) -> dict[str, Any]:
    """Moto makes the budget and forgets its tags."""
    account, budget = call.params["AccountId"], _as_sent(call.params["Budget"])
    notifications = call.params.get("NotificationsWithSubscribers", [])
    call.backend("budgets", GLOBAL).create_budget(account, budget, notifications)
    made = _budget(call, budget["BudgetName"])
    made.tags = {tag["Key"]: tag["Value"] for tag in call.params.get("ResourceTags", [])}
    return {}


def describe_subscribers(call: Call) -> dict[str, Any]:
    """Who is told when a notification's threshold is passed."""
    wanted = _identity(call.params["Notification"])
    for one in _budget(call, call.params["BudgetName"]).notifications:
        if _identity(one.details) == wanted:
            return {"Subscribers": one.subscribers}
    raise Refusal("NotFoundException", "The notification does not exist.")


def list_tags_for_resource(call: Call) -> dict[str, Any]:
    """The tags of a budget."""
    return {"ResourceTags": [{"Key": key, "Value": value} for key, value in _tags(call).items()]}


def _as_sent(budget: Mapping[str, Any]) -> dict[str, Any]:
    """With times as the numbers that moto keeps."""
    period = budget.get("TimePeriod", {}).items()
    times = {key: moment.replace(tzinfo=UTC).timestamp() for key, moment in period}
    return {**budget, **({"TimePeriod": times} if times else {})}


def _identity(notification: Any) -> tuple[str, ...]:
    threshold = {"Threshold": float(notification["Threshold"])}
    kind = {"ThresholdType": notification.get("ThresholdType", "PERCENTAGE")}
    return tuple(str((notification | threshold | kind)[key]) for key in _NOTIFICATION)


def _budget(call: Call, name: str) -> Any:
    for of_account in call.backend("budgets", GLOBAL).budgets.values():
        if name in of_account:
            return of_account[name]
    raise Refusal("NotFoundException", f"Unable to get budget: {name} - the budget doesn't exist.")


def _tags(call: Call) -> dict[str, str]:
    budget = _budget(call, call.params["ResourceARN"].partition(":budget/")[2])
    tags: dict[str, str] = budget.tags
    return tags


OPERATIONS: Operations = {
    "CreateBudget": create_budget,
    "DescribeSubscribersForNotification": describe_subscribers,
    "ListTagsForResource": list_tags_for_resource,
}


def install() -> None:
    """Add the operations to moto."""
    add(BudgetsResponse, OPERATIONS)
