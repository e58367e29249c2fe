"""Overview: what a stranger looks at first."""

from grafana_foundation_sdk.builders import dashboard

from helpers.telemetry import catalogue as series
from helpers.telemetry.dashboards.panels import WIDE, Choices, Target, board, figure, over_time


def build(choices: Choices) -> dashboard.Dashboard:
    """The dashboard: is it up, is it fast, does it fail, is the GPU used, what does it cost."""
    kpis = choices.kpis
    return (
        board(
            "overview",
            "gpu-e2e · Overview",
            "Is the service up, fast and free of errors; is the GPU used; what does it cost. "
            "Lines across a panel are the profile's targets.",
        )
        .with_panel(figure(series.UP, target=Target(1, at_least=True), decimals=0))
        .with_panel(figure(series.ALERTS, target=Target(1), decimals=0))
        .with_panel(figure(series.REQUESTS))
        .with_panel(figure(series.ERROR_SHARE, target=Target(kpis.error_rate_pct), decimals=2))
        .with_panel(figure(series.P95, target=Target(kpis.p95_ms)))
        .with_panel(
            figure(series.GPU, target=Target(kpis.gpu_utilisation_pct, at_least=True), decimals=0)
        )
        .with_panel(figure(series.BURN, decimals=2))
        .with_panel(figure(series.SPENT, target=Target(kpis.cost_usd), decimals=2))
        .with_panel(
            over_time(series.REQUESTS, target=Target(kpis.throughput_rps, at_least=True), span=WIDE)
        )
        .with_panel(over_time(series.P95, target=Target(kpis.p95_ms)))
        .with_panel(over_time(series.GPU, target=Target(kpis.gpu_utilisation_pct, at_least=True)))
        .with_panel(over_time(series.CPU))
        .with_panel(over_time(series.PENDING))
    )
