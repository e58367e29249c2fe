"""Terraform's plan as facts: which resources, what is done to them, nothing secret."""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from helpers.cloud import plan_cost, spot
from helpers.cloud.account import Account
from helpers.cloud.prices import PriceTable
from helpers.cloud.reports import Action, PlanCost, PlanFacts, PlannedResource
from helpers.cloud.spot import SpotHistory
from helpers.run import Run

ACTIONS: dict[tuple[str, ...], Action] = {
    ("create",): "create",
    ("update",): "update",
    ("delete",): "delete",
    ("delete", "create"): "replace",
    ("create", "delete"): "replace",
    ("no-op",): "none",
}
SECRET = "(sensitive)"
# Where a plan holds values, and where it says which of them are secret.
MARKED = (("before", "before_sensitive"), ("after", "after_sensitive"))


def resources(planned: Mapping[str, Any]) -> tuple[PlannedResource, ...]:
    """Every managed resource of a plan (`terraform show -json`), by address."""
    found = (
        PlannedResource(
            address=one["address"],
            type=one["type"],
            action=ACTIONS[tuple(one["change"]["actions"])],
        )
        for one in planned.get("resource_changes", ())
        if one["mode"] == "managed" and tuple(one["change"]["actions"]) in ACTIONS
    )
    return tuple(sorted(found, key=lambda one: one.address))


def instance_types(planned: Mapping[str, Any]) -> tuple[str, ...]:
    """The instance types of spot nodes in a plan."""
    return tuple(
        kind for group in plan_cost.node_groups(planned) if group.spot for kind in group.types
    )


def spot_prices(run: Run, account: Account, planned: Mapping[str, Any]) -> SpotHistory:
    """The recorded spot prices where they cover the plan's types, else the last week's.

    Raises:
        Problem: AWS does not answer.
    """
    wanted = set(instance_types(planned))
    recorded = run.find(SpotHistory)
    if recorded and wanted <= {one.instance_type for one in recorded.points}:
        return recorded
    return spot.record(run, account, wanted)


def cost(run: Run, planned: Mapping[str, Any], prices: PriceTable, market: SpotHistory) -> PlanCost:
    """What the plan costs an hour and a session, against the profile's budget.

    Raises:
        Problem: A price that the plan needs is not in the table.
    """
    return plan_cost.reckon(
        planned,
        prices,
        market,
        session_hours=run.profile.infrastructure.ttl_hours,
        budget_usd=run.profile.kpis.cost_usd,
    )


def frame(facts: PlanFacts) -> pd.DataFrame:
    """Resource, count, price: one row for each kind that costs something, and the totals."""
    cost, hours = facts.cost, facts.cost.session_hours
    rows = [
        {
            "resource": one.what,
            "count": f"{one.count:g}" + ("" if one.count == one.most else f", up to {one.most:g}"),
            "each, US$/h": f"{one.usd_per_hour:.4f}",
            "US$/h": f"{one.hourly:.4f}",
            "at most": f"{one.hourly_most:.4f}",
            "source": one.source,
            "note": one.note,
        }
        for one in cost.lines
    ]
    totals = (
        ("Total per hour", cost.hourly, cost.hourly_most),
        (f"Total per session of {hours:g} h", cost.session_usd, cost.session_most_usd),
    )
    for title, begun, most in totals:
        row = dict.fromkeys(("count", "each, US$/h", "source", "note"), "")
        rows.append(row | {"resource": title, "US$/h": f"{begun:.2f}", "at most": f"{most:.2f}"})
    frame = pd.DataFrame(rows)
    return frame.assign(label="EMULATED" if facts.emulated else "AWS")


def kinds(facts: PlanFacts) -> pd.DataFrame:
    """How many resources of each type the plan touches, and how."""
    table = pd.DataFrame([one.model_dump() for one in facts.resources])
    counted = table.groupby(["type", "action"], as_index=False).size()
    return counted.rename(columns={"size": "count"})


def masked(planned: Mapping[str, Any], hide: Mapping[str, str]) -> str:
    """The plan as JSON without secrets, and without the texts that are to be hidden.

    Args:
        planned: As `terraform show -json` gives it. What stood before is left out.
        hide: Text → what stands in its place, such as an account's id.
    """
    kept = {name: part for name, part in planned.items() if name != "prior_state"}
    text = json.dumps(_without_secrets(kept), indent=1)
    for secret, word in hide.items():
        if secret:
            text = text.replace(secret, word)
    return text + "\n"


def _without_secrets(part: Any) -> Any:
    """Values that Terraform marks as sensitive, beside them, are replaced."""
    if isinstance(part, list):
        return [_without_secrets(one) for one in part]
    if not isinstance(part, dict):
        return part
    clean = {name: _without_secrets(one) for name, one in part.items()}
    for values, marks in (*MARKED, ("values", "sensitive_values")):
        if values in part and marks in part:
            clean[values] = _hidden(part[values], part[marks])
    if part.get("sensitive") is True and "value" in part:
        clean["value"] = SECRET
    return clean


def _hidden(value: Any, mark: Any) -> Any:
    if mark is True:
        return SECRET
    if isinstance(value, dict) and isinstance(mark, dict):
        return {name: _hidden(one, mark.get(name)) for name, one in value.items()}
    if isinstance(value, list) and isinstance(mark, list):
        marks = [*mark, *[None] * (len(value) - len(mark))]
        return [_hidden(one, beside) for one, beside in zip(value, marks, strict=False)]
    return value
