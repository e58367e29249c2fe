"""GPU gauges through NVML, under the names and units of the DCGM exporter."""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import GaugeMetricFamily

MIB = 2**20
LABELS = ("gpu", "modelName")

Read = Callable[[Any, Any], float]
GAUGES: tuple[tuple[str, str, Read], ...] = (
    (
        "DCGM_FI_DEV_GPU_UTIL",
        "GPU utilization (in %).",
        lambda nvml, device: nvml.nvmlDeviceGetUtilizationRates(device).gpu,
    ),
    (
        "DCGM_FI_DEV_FB_USED",
        "Framebuffer memory used (in MiB), with what the driver reserves.",
        lambda nvml, device: nvml.nvmlDeviceGetMemoryInfo(device).used / MIB,
    ),
    (
        "DCGM_FI_DEV_FB_FREE",
        "Framebuffer memory free (in MiB).",
        lambda nvml, device: nvml.nvmlDeviceGetMemoryInfo(device).free / MIB,
    ),
    (
        "DCGM_FI_DEV_POWER_USAGE",
        "Power draw (in W).",
        lambda nvml, device: nvml.nvmlDeviceGetPowerUsage(device) / 1000,
    ),
    (
        "DCGM_FI_DEV_GPU_TEMP",
        "GPU temperature (in C).",
        lambda nvml, device: nvml.nvmlDeviceGetTemperature(device, nvml.NVML_TEMPERATURE_GPU),
    ),
    (
        "DCGM_FI_DEV_SM_CLOCK",
        "SM clock frequency (in MHz).",
        lambda nvml, device: nvml.nvmlDeviceGetClockInfo(device, nvml.NVML_CLOCK_SM),
    ),
)

# NVML's bits of what holds the clocks down → the words of the DCGM exporter
CLOCK_EVENTS = {
    "nvmlClocksEventReasonSwPowerCap": "power_cap",
    "nvmlClocksThrottleReasonHwSlowdown": "hw_slowdown",
    "nvmlClocksEventReasonSwThermalSlowdown": "sw_thermal",
    "nvmlClocksThrottleReasonHwThermalSlowdown": "hw_thermal",
    "nvmlClocksThrottleReasonHwPowerBrakeSlowdown": "hw_power_brake",
}


@dataclass(frozen=True)
class Gpus:
    """The GPUs of this machine, or why there are none.

    Attributes:
        nvml: The `pynvml` module; None where it does not work.
        devices: A handle and a name for each GPU.
        absent: Why there is none; empty where there is one.
    """

    nvml: Any
    devices: tuple[tuple[Any, str], ...]
    absent: str

    @property
    def name(self) -> str:
        """What people call them: the distinct names; empty where there is none."""
        return ", ".join(dict.fromkeys(name for _, name in self.devices))

    def families(self) -> Iterator[GaugeMetricFamily]:
        """One family for each gauge that at least one GPU answers."""
        for metric, text, read in GAUGES:
            family = GaugeMetricFamily(metric, text, labels=LABELS)
            for index, (device, name) in enumerate(self.devices):
                # a laptop's GPU may lack a sensor: no value then, and never a zero
                try:
                    family.add_metric((str(index), name), read(self.nvml, device))
                except self.nvml.NVMLError:
                    continue
            if family.samples:
                yield family
        yield from self._clock_events()

    def _clock_events(self) -> Iterator[GaugeMetricFamily]:
        """What holds the clocks down now: 1 for each reason that holds, 0 for the others."""
        family = GaugeMetricFamily(
            "DCGM_EXP_CLOCK_EVENTS_COUNT",
            "Clock events now; the DCGM exporter counts them within a window.",
            labels=(*LABELS, "clock_event"),
        )
        for index, (device, name) in enumerate(self.devices):
            try:
                held = self.nvml.nvmlDeviceGetCurrentClocksEventReasons(device)
            except self.nvml.NVMLError:
                continue
            for bit, word in CLOCK_EVENTS.items():
                holds = bool(held & getattr(self.nvml, bit))
                family.add_metric((str(index), name, word), float(holds))
        if family.samples:
            yield family


def find() -> Gpus:
    """Ask NVML for the GPUs of this machine; where there is none, `absent` says why."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return Gpus(None, (), "nvidia-ml-py is not installed")
    try:
        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByIndex(n) for n in range(nvml.nvmlDeviceGetCount())]
        devices = tuple((handle, str(nvml.nvmlDeviceGetName(handle))) for handle in handles)
    except nvml.NVMLError as error:
        return Gpus(None, (), f"no NVIDIA GPU on this machine ({error})")
    return Gpus(nvml, devices, "" if devices else "no NVIDIA GPU on this machine (NVML finds none)")
