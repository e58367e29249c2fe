"""Exposes this machine to Prometheus: host, the run's processes, and NVIDIA GPUs.

Host metrics have the names of the node exporter and GPU metrics those of the DCGM exporter, so
that the same queries work on a laptop and in a cluster. Values are read at the time of a scrape.
The sampler is a process of its own and must start fast: it imports little.

    python -m helpers.telemetry.sampler --port 9100 --mark MARK
"""

import argparse
import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import psutil
import pynvml as nvml
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

ADDRESS = "127.0.0.1"
GUEST = ("guest", "guest_nice")  # Linux includes them in user and nice
MARK = "GPU_E2E_RUN"  # as in helpers.processes, which imports more than a sampler needs
PROGRAMS = ("tritonserver", "prometheus")
MODULES = {"helpers.load": "client", "helpers.telemetry.sampler": "sampler"}
RESCAN_S = 3.0
MIB = 2**20
GPU_LABELS = ("gpu", "modelName")

GAUGES: tuple[tuple[str, str, Callable[[Any], float]], ...] = (
    ("DCGM_FI_DEV_GPU_UTIL", "GPU utilization (in %).",
     lambda device: nvml.nvmlDeviceGetUtilizationRates(device).gpu),
    ("DCGM_FI_DEV_FB_USED", "Framebuffer memory used (in MiB), with what the driver reserves.",
     lambda device: nvml.nvmlDeviceGetMemoryInfo(device).used / MIB),
    ("DCGM_FI_DEV_FB_FREE", "Framebuffer memory free (in MiB).",
     lambda device: nvml.nvmlDeviceGetMemoryInfo(device).free / MIB),
    ("DCGM_FI_DEV_POWER_USAGE", "Power draw (in W).",
     lambda device: nvml.nvmlDeviceGetPowerUsage(device) / 1000),
    ("DCGM_FI_DEV_GPU_TEMP", "GPU temperature (in C).",
     lambda device: nvml.nvmlDeviceGetTemperature(device, nvml.NVML_TEMPERATURE_GPU)),
    ("DCGM_FI_DEV_SM_CLOCK", "SM clock frequency (in MHz).",
     lambda device: nvml.nvmlDeviceGetClockInfo(device, nvml.NVML_CLOCK_SM)),
)  # fmt: skip

# NVML's bit for a reduced clock → the DCGM exporter's name of the reason
CLOCK_EVENTS = {
    "nvmlClocksEventReasonSwPowerCap": "power_cap",
    "nvmlClocksThrottleReasonHwSlowdown": "hw_slowdown",
    "nvmlClocksEventReasonSwThermalSlowdown": "sw_thermal",
    "nvmlClocksThrottleReasonHwThermalSlowdown": "hw_thermal",
    "nvmlClocksThrottleReasonHwPowerBrakeSlowdown": "hw_power_brake",
}


class Sampler(Collector):
    """Reads all values once per scrape; the run's processes have the mark given."""

    def __init__(self, mark: str) -> None:
        self._usage = ProcessUsage(mark)
        self._gpus = find_gpus()
        self._lock = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        """All metric families, as prometheus_client expects them."""
        with self._lock:  # two scrapes may arrive at the same time
            self._usage.update()
            return [*_host_families(), *self._usage.families(), *self._gpus.families()]


def _host_families() -> Iterator[Metric]:
    text = "Seconds the CPUs spent in each mode."
    cpu = CounterMetricFamily("node_cpu_seconds", text, labels=["cpu", "mode"])
    for core, times in enumerate(psutil.cpu_times(percpu=True)):
        for mode, seconds in times._asdict().items():
            if mode not in GUEST:
                cpu.add_metric([str(core), mode], seconds)
    yield cpu
    memory = psutil.virtual_memory()
    yield GaugeMetricFamily("node_memory_MemTotal_bytes", "Memory installed.", memory.total)
    yield GaugeMetricFamily(
        "node_memory_MemAvailable_bytes", "Memory available to programs.", memory.available
    )


class ProcessUsage:
    """CPU and memory of the run's processes, by role.

    Reading the environment of every process is expensive, so the list of processes is renewed only
    every `RESCAN_S` seconds; a process with a shorter life can be missed. CPU seconds never fall:
    those of an ended process stay counted.
    """

    def __init__(self, mark: str) -> None:
        self.cpu_s: dict[str, float] = {}  # role → CPU seconds used so far
        self.memory: dict[str, int] = {}  # role → resident bytes; shared pages count for each
        self._mark = mark
        self._scanned = float("-inf")
        self._roles: dict[psutil.Process, str] = {}
        self._used: dict[psutil.Process, float] = {}

    def update(self) -> None:
        """Bring `cpu_s` and `memory` up to date."""
        if time.monotonic() - self._scanned >= RESCAN_S:
            self._scanned = time.monotonic()
            self._roles = process_roles(self._mark)
            self._used = {p: used for p, used in self._used.items() if p in self._roles}
        self.memory = dict.fromkeys(self.cpu_s, 0)
        for process, role in self._roles.items():
            try:
                with process.oneshot():
                    times, memory = process.cpu_times(), process.memory_info().rss
            except psutil.Error:  # it has ended since the last scan
                continue
            used = times.user + times.system
            # add differences: a sum with varying rounding can fall by a tiny amount, which
            # Prometheus takes for a restart of the counter
            added = max(0.0, used - self._used.get(process, 0.0))
            self.cpu_s[role] = self.cpu_s.get(role, 0.0) + added
            self._used[process] = used
            self.memory[role] = self.memory.get(role, 0) + memory

    def families(self) -> Iterator[Metric]:
        """CPU seconds and resident memory by role."""
        text = "CPU seconds of the run's processes."
        cpu = CounterMetricFamily("gpu_e2e_process_cpu_seconds", text, labels=["role"])
        name = "gpu_e2e_process_resident_memory_bytes"
        text = "Resident memory of the run's processes; shared pages count for each."
        memory = GaugeMetricFamily(name, text, labels=["role"])
        for role, seconds in self.cpu_s.items():
            cpu.add_metric([role], seconds)
            memory.add_metric([role], self.memory[role])
        yield from (cpu, memory)


def process_roles(mark: str) -> dict[psutil.Process, str]:
    """The living processes of a run that have a role; children have the role of their parent."""
    marked: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                marked[process.pid] = process
    roles = {}
    for process in marked.values():
        ancestor: psutil.Process | None = process
        with contextlib.suppress(psutil.Error):
            while ancestor is not None:
                if role := command_role(ancestor.cmdline()):
                    roles[process] = role
                    break
                ancestor = marked.get(ancestor.ppid())
    return roles


def command_role(command: list[str]) -> str:
    """The role of a command in a run; empty if it has none."""
    if not command:
        return ""
    if (name := PurePath(command[0]).name) in PROGRAMS:
        return name
    if "-m" not in command[:-1]:
        return ""
    module = command[command.index("-m") + 1]
    roles = (role for root, role in MODULES.items() if f"{module}.".startswith(f"{root}."))
    return next(roles, "")


@dataclass(frozen=True)
class Gpus:
    """The GPUs of this machine, or why there are none."""

    devices: tuple[tuple[Any, str], ...]  # handle and name of each GPU
    absence: str  # why there is no GPU; empty if there is one

    def families(self) -> Iterator[GaugeMetricFamily]:
        """Whether there is a GPU, and one family for each gauge that at least one GPU has."""
        text = "Whether NVML finds a GPU, and which."
        info = GaugeMetricFamily("gpu_e2e_gpu_info", text, labels=["state", "detail"])
        names = ", ".join(dict.fromkeys(name for _, name in self.devices))
        info.add_metric(["absent", self.absence] if self.absence else ["present", names], 1)
        yield info
        for metric, text, read in GAUGES:
            family = GaugeMetricFamily(metric, text, labels=GPU_LABELS)
            for index, (device, name) in enumerate(self.devices):
                # a laptop's GPU may lack a sensor: then there is no value, not a zero
                with contextlib.suppress(nvml.NVMLError):
                    family.add_metric((str(index), name), read(device))
            if family.samples:
                yield family
        text = "Clock events (1 while the reason applies); the DCGM exporter counts in a window."
        labels = (*GPU_LABELS, "clock_event")
        events = GaugeMetricFamily("DCGM_EXP_CLOCK_EVENTS_COUNT", text, labels=labels)
        for index, (device, name) in enumerate(self.devices):
            with contextlib.suppress(nvml.NVMLError):
                reasons = nvml.nvmlDeviceGetCurrentClocksEventReasons(device)
                for bit, word in CLOCK_EVENTS.items():
                    applies = bool(reasons & getattr(nvml, bit))
                    events.add_metric((str(index), name, word), float(applies))
        if events.samples:
            yield events


def find_gpus() -> Gpus:
    """The GPUs that NVML finds on this machine; without any, `absence` says why."""
    try:
        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByIndex(n) for n in range(nvml.nvmlDeviceGetCount())]
        devices = tuple((handle, str(nvml.nvmlDeviceGetName(handle))) for handle in handles)
    except nvml.NVMLError as error:
        return Gpus((), f"no NVIDIA GPU on this machine ({error})")
    return Gpus(devices, "" if devices else "no NVIDIA GPU on this machine (NVML finds none)")


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve /metrics on 127.0.0.1 until terminated."""
    parser = argparse.ArgumentParser(prog="helpers.telemetry.sampler", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mark", required=True)
    options = parser.parse_args(arguments)
    registry = CollectorRegistry()
    registry.register(Sampler(options.mark))
    _, thread = start_http_server(options.port, addr=ADDRESS, registry=registry)
    print(f"sampling on http://{ADDRESS}:{options.port}/metrics", flush=True)
    thread.join()


if __name__ == "__main__":
    main()
