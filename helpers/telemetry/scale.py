"""What watching itself costs: series, samples, CPU, memory."""

import pandas as pd

from helpers.run import Run
from helpers.telemetry.answers import Window
from helpers.telemetry.report import Scale
from helpers.telemetry.server import Server

MIB = 2**20


def measure(run: Run, server: Server, window: Window) -> Scale:
    """Ask Prometheus about itself and the sampler over a time, and record it.

    Raises:
        Problem: Prometheus does not answer.
    """
    seconds = round((window.end - window.start).total_seconds())

    def one(promql: str) -> float | None:
        found = server.query(promql, window.end)
        return None if found.empty else float(found["value"].iloc[0])

    def cpu_pct(role: str) -> float | None:
        total = f'gpu_e2e_process_cpu_seconds_total{{role="{role}"}}'
        return one(f"100 * sum(rate({total}[{seconds}s]))")

    memory = one('sum(gpu_e2e_process_resident_memory_bytes{role="prometheus"})')
    scale = Scale(
        scrape_interval_s=window.interval_s,
        retention=server.retention(),
        series=server.series_count(),
        samples_per_second=(one("sum(scrape_samples_scraped)") or 0.0) / window.interval_s,
        sampler_cpu_pct=cpu_pct("sampler"),
        prometheus_cpu_pct=cpu_pct("prometheus"),
        prometheus_memory_mib=None if memory is None else memory / MIB,
    )
    run.save(scale)
    return scale


def measure_where_possible(run: Run, server: Server | None, window: Window) -> pd.DataFrame:
    """As `measure`, for people; an empty table where nobody watched.

    Raises:
        Problem: Prometheus does not answer.
    """
    return pd.DataFrame() if server is None else frame(measure(run, server, window))


def frame(scale: Scale) -> pd.DataFrame:
    """What it costs, for people."""

    def told(value: float | None, unit: str) -> str:
        return "not sampled" if value is None else f"{value:.2f} {unit}"

    facts = {
        "Scraped every": f"{scale.scrape_interval_s:g} s",
        "Kept for": scale.retention,
        "Series": f"{scale.series:,}",
        "Samples": f"{scale.samples_per_second:,.0f} a second",
        "Sampler's CPU": told(scale.sampler_cpu_pct, "% of one core"),
        "Prometheus's CPU": told(scale.prometheus_cpu_pct, "% of one core"),
        "Prometheus's memory": told(scale.prometheus_memory_mib, "MiB"),
    }
    return pd.DataFrame({"What": list(facts), "Found": list(facts.values())})
