"""Exposes this machine to Prometheus: host, the run's processes, and NVIDIA GPUs.

Host metrics bear the names of the node exporter and GPU metrics those of the DCGM exporter, so
one query serves a laptop and a cluster. Values are read when they are scraped, so that counters
and the scrape's time stamp belong together.

    python -m helpers.telemetry.sampler --port 9100 --mark MARK
"""

import argparse
import threading
from collections.abc import Iterable, Iterator, Sequence

import psutil
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from helpers.telemetry import gpu
from helpers.telemetry.process_usage import Processes

ADDRESS = "127.0.0.1"
GUEST = ("guest", "guest_nice")  # Linux counts them within user and nice already


class Sampler(Collector):
    """Reads everything once per scrape.

    Args:
        mark: What the run's processes carry.
    """

    def __init__(self, mark: str) -> None:
        self._processes = Processes(mark)
        self._gpus = gpu.find()
        self._lock = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        """All metric families, as prometheus_client asks for them."""
        with self._lock:  # two readers may come at once
            self._processes.look()
            return [
                *host(),
                *by_role(self._processes),
                gpu_info(self._gpus),
                *self._gpus.families(),
            ]


def host() -> Iterator[Metric]:
    """CPU seconds by core and mode, and memory of this machine."""
    cpu = CounterMetricFamily(
        "node_cpu_seconds", "Seconds the CPUs spent in each mode.", labels=["cpu", "mode"]
    )
    for core, times in enumerate(psutil.cpu_times(percpu=True)):
        for mode, seconds in times._asdict().items():
            if mode not in GUEST:
                cpu.add_metric([str(core), mode], seconds)
    yield cpu
    memory = psutil.virtual_memory()
    yield GaugeMetricFamily("node_memory_MemTotal_bytes", "Memory installed.", memory.total)
    yield GaugeMetricFamily(
        "node_memory_MemAvailable_bytes", "Memory that programs can still have.", memory.available
    )


def by_role(processes: Processes) -> Iterator[Metric]:
    """CPU seconds and memory of the run's processes, by the part they play."""
    cpu = CounterMetricFamily(
        "gpu_e2e_process_cpu_seconds", "CPU seconds of the run's processes.", labels=["role"]
    )
    memory = GaugeMetricFamily(
        "gpu_e2e_process_resident_memory_bytes",
        "Resident memory of the run's processes; pages they share count for each.",
        labels=["role"],
    )
    for role, seconds in processes.cpu_s.items():
        cpu.add_metric([role], seconds)
        memory.add_metric([role], processes.memory[role])
    yield from (cpu, memory)


def gpu_info(gpus: gpu.Gpus) -> Metric:
    """Whether this machine has a GPU; `detail` is its name, or why there is none."""
    info = GaugeMetricFamily(
        "gpu_e2e_gpu_info", "Whether NVML finds a GPU, and which.", labels=["state", "detail"]
    )
    info.add_metric(["absent", gpus.absent] if gpus.absent else ["present", gpus.name], 1)
    return info


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve /metrics on 127.0.0.1 until ended."""
    parser = argparse.ArgumentParser(prog="helpers.telemetry.sampler", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mark", required=True)
    asked = parser.parse_args(arguments)
    registry = CollectorRegistry()
    registry.register(Sampler(asked.mark))
    _, thread = start_http_server(asked.port, addr=ADDRESS, registry=registry)
    print(f"sampling on http://{ADDRESS}:{asked.port}/metrics", flush=True)
    thread.join()


if __name__ == "__main__":
    main()
