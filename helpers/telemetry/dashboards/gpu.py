"""GPU: what the device does, under the names of the DCGM exporter."""

from grafana_foundation_sdk.builders import dashboard

from helpers.telemetry import catalogue as series
from helpers.telemetry.dashboards.panels import Choices, Target, board, over_time


def build(choices: Choices) -> dashboard.Dashboard:
    """The dashboard: utilisation, memory, power, temperature, clock, throttling, errors."""
    limits = choices.limits
    used = Target(choices.kpis.gpu_utilisation_pct, at_least=True)
    return (
        board(
            "gpu",
            "gpu-e2e · GPU",
            "What the GPU does: from the DCGM exporter in the cluster, from NVML on a laptop with "
            "a GPU. Where there is neither, the panels are empty.",
        )
        .with_panel(over_time(series.GPU, target=used))
        .with_panel(over_time(series.PER_GPU))
        .with_panel(over_time(series.GPU_MEMORY))
        .with_panel(over_time(series.GPU_MEMORY_SHARE, target=Target(limits["gpu_memory_pct"])))
        .with_panel(over_time(series.GPU_POWER))
        .with_panel(
            over_time(series.GPU_TEMPERATURE, target=Target(limits["gpu_temperature_celsius"]))
        )
        .with_panel(over_time(series.GPU_CLOCK, floor=None))
        .with_panel(over_time(series.THROTTLING, target=Target(1)))
        .with_panel(over_time(series.XID, target=Target(1)))
        .with_panel(over_time(series.GPU_NODES))
    )
