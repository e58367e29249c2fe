"""Throughput: how much is answered, in which batches, and what waits or fails."""

from grafana_foundation_sdk.builders import dashboard

from helpers.telemetry import catalogue as series
from helpers.telemetry.dashboards.panels import Choices, Target, board, over_time


def build(choices: Choices) -> dashboard.Dashboard:
    """The dashboard: requests, images, batches, errors, queue depth, and who uses the CPU."""
    kpis, limits = choices.kpis, choices.limits
    return (
        board(
            "throughput",
            "gpu-e2e · Throughput",
            "How much is answered, how well requests are batched, what waits and what fails.",
        )
        .with_panel(over_time(series.REQUESTS, target=Target(kpis.throughput_rps, at_least=True)))
        .with_panel(over_time(series.INFERENCES))
        .with_panel(over_time(series.BATCH_SIZE))
        .with_panel(over_time(series.PENDING, target=Target(limits["pending_requests"])))
        .with_panel(over_time(series.FAILURES))
        .with_panel(over_time(series.ERROR_SHARE, target=Target(kpis.error_rate_pct)))
        .with_panel(over_time(series.MEMORY))
        .with_panel(over_time(series.CPU_BY_ROLE))
    )
