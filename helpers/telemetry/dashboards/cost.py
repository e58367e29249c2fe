"""Cost: what it burns, what it has cost, and what an inference costs."""

from grafana_foundation_sdk.builders import dashboard

from helpers.telemetry import catalogue as series
from helpers.telemetry.dashboards.panels import Choices, Target, board, figure, over_time


def build(choices: Choices) -> dashboard.Dashboard:
    """The dashboard: burn, spent, GPU hours, cost of 1,000 inferences, time left."""
    budget = Target(choices.kpis.cost_usd)
    left = Target(choices.limits["ttl_seconds"] / 3600, at_least=True)
    return (
        board(
            "cost",
            "gpu-e2e · Cost",
            "An estimate while it runs: the plan's prices times what is there. The cost report of "
            "stage 06 reconciles it with the bill. A rehearsal is billed nothing.",
        )
        .with_panel(figure(series.BURN, decimals=2))
        .with_panel(figure(series.SPENT, target=budget, decimals=2))
        .with_panel(figure(series.GPU_HOURS, decimals=2))
        .with_panel(figure(series.HOURS_LEFT, target=left))
        .with_panel(over_time(series.BURN))
        .with_panel(over_time(series.SPENT, target=budget))
        .with_panel(over_time(series.PER_1000))
        .with_panel(over_time(series.GPU_NODES))
    )
