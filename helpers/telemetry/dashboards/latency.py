"""Latency: how long answers take, and in which part of the way."""

from grafana_foundation_sdk.builders import dashboard

from helpers.telemetry import catalogue as series
from helpers.telemetry.dashboards.panels import Choices, Target, board, over_time


def build(choices: Choices) -> dashboard.Dashboard:
    """The dashboard: percentiles against their targets, and queue, compute and network."""
    kpis = choices.kpis
    return (
        board(
            "latency",
            "gpu-e2e · Latency",
            "How long answers take inside Triton: percentiles from its summaries (it keeps "
            "histograms only for models that stream), means from its counters. The client's own "
            "latency, network included, is in the figures of stage 05.",
        )
        .with_panel(over_time(series.P50, target=Target(kpis.p50_ms)))
        .with_panel(over_time(series.P95, target=Target(kpis.p95_ms)))
        .with_panel(over_time(series.P99, target=Target(kpis.p99_ms)))
        .with_panel(
            over_time(
                (series.QUEUE, series.COMPUTE, series.HAND_OVER),
                title="Where the time goes, mean per request",
                names=("queue", "compute", "hand-over"),
            )
        )
        .with_panel(over_time(series.QUEUE_P95))
        .with_panel(over_time(series.INFER_P95))
        .with_panel(over_time(series.QUEUE))
        .with_panel(over_time(series.NETWORK))
    )
