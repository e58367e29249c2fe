"""The sampler tells what this machine really does, and what it has not got."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import psutil
import pynvml
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from helpers import processes
from helpers.telemetry import sampler
from helpers.telemetry.sampler import ProcessUsage, Sampler, command_role

BURN = "import time\nwhile time.process_time() < 0.5: pass"
CHILD = "import subprocess; subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL)"
WAIT = "import time; time.sleep(60)"


def exposed(run_id: str) -> dict[str, dict[tuple[str, ...], float]]:
    """What Prometheus reads: sample name → label values, by their labels' names → value."""
    registry = CollectorRegistry()
    registry.register(Sampler(run_id))
    samples: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            samples.setdefault(sample.name, {})[labels] = sample.value
    return samples


Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def tritonserver(tmp_path: Path) -> Iterator[Start]:
    """Starts stand-ins of Triton that run some code and carry the mark `tmp_path.name`."""
    started = []

    def start(code: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            ["/opt/tritonserver", "-c", f"{code}\nprint('ready', flush=True)\n{WAIT}"],
            executable=sys.executable, stdout=subprocess.PIPE, text=True,
            env=os.environ | {processes.MARK: tmp_path.name},
        )  # fmt: skip
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        for child in psutil.Process(process.pid).children() if process.poll() is None else []:
            child.kill()
        process.kill()
        process.communicate()


def test_host_figures_are_those_of_the_system() -> None:
    samples, memory = exposed("no-such-run"), psutil.virtual_memory()
    assert samples["node_cpu_seconds_total"] == {
        (str(core), mode): pytest.approx(seconds, abs=2)
        for core, times in enumerate(psutil.cpu_times(percpu=True))
        for mode, seconds in times._asdict().items()
        if mode not in ("guest", "guest_nice")  # Linux includes them in user and nice
    }
    assert samples["node_memory_MemTotal_bytes"][()] == memory.total
    available = samples["node_memory_MemAvailable_bytes"][()]
    assert available == pytest.approx(memory.available, rel=0.3)
    assert "gpu_e2e_process_cpu_seconds_total" not in samples


@pytest.mark.parametrize(
    ("command", "role"),
    [
        (["/x/.tools/bin/prometheus", "--config.file=a"], "prometheus"),
        (["tritonserver"], "tritonserver"),
        (["python", "-m", "helpers.telemetry.sampler", "--port", "1"], "sampler"),
        (["python", "-m", "helpers.load.worker"], "client"),
        (["python", "-m", "helpers.loader"], ""),
        (["python", "-m"], ""),
        ([], ""),
    ],
)
def test_a_command_has_a_role(command: list[str], role: str) -> None:
    assert command_role(command) == role


def test_a_child_counts_for_the_nearest_ancestor_with_a_role(
    tritonserver: Start, tmp_path: Path
) -> None:
    server, mark = tritonserver(CHILD), tmp_path.name
    (child,) = psutil.Process(server.pid).children()
    assert {process.pid for process in sampler.process_roles(mark)} == {server.pid, child.pid}
    samples = exposed(mark)
    assert set(samples["gpu_e2e_process_cpu_seconds_total"]) == {("tritonserver",)}
    assert samples["gpu_e2e_process_resident_memory_bytes"]["tritonserver",] > 2**20
    assert "gpu_e2e_process_cpu_seconds_total" not in exposed(f"{mark}-other")


def test_cpu_time_is_what_was_used_and_never_falls(
    tritonserver: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "RESCAN_S", 0.0)
    usage, first = ProcessUsage(tmp_path.name), tritonserver(BURN)
    usage.update()
    usage.update()  # what was counted is not counted twice
    used = usage.cpu_s["tritonserver"]
    assert used == pytest.approx(0.5, abs=0.1)  # by the process's own clock
    first.kill()
    first.wait()
    usage.update()
    assert (usage.cpu_s, usage.memory) == ({"tritonserver": used}, {"tritonserver": 0})
    tritonserver("")
    usage.update()
    assert used < usage.cpu_s["tritonserver"] < used + 1


def test_a_counter_does_not_fall_by_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    # 0.1 + 0.7 - 0.1 is less than 0.7: Prometheus would take the fall for a restart
    usage_of = {"cpu_times.return_value.system": 0.0, "memory_info.return_value.rss": 1}
    first, second = MagicMock(**usage_of), MagicMock(**usage_of)
    monkeypatch.setattr(sampler, "process_roles", lambda _: {first: "client", second: "client"})
    usage, counted = ProcessUsage("mark"), [0.0]
    for step in range(1000):
        first.cpu_times().user, second.cpu_times().user = step // 7 * 0.1, step // 11 * 0.07
        usage.update()
        counted.append(usage.cpu_s["client"])
    assert counted == sorted(counted)
    assert counted[-1] == pytest.approx(first.cpu_times().user + second.cpu_times().user)


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Two GPUs in the units of NVML's manual: bytes, milliwatts, MHz, °C; device 1 lacks sensors.

    Only functions that the real library has can be replaced.
    """

    def of_device_0(value: int) -> Callable[[int], int]:
        def read(device: int) -> int:
            if device:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            return value

        return read

    reasons = pynvml.nvmlClocksEventReasonSwPowerCap | pynvml.nvmlClocksEventReasonGpuIdle
    memory = SimpleNamespace(total=16 * 2**30, used=3 * 2**30, free=13 * 2**30)
    for name, function in {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetName": lambda device: "Tesla T4",
        "nvmlDeviceGetUtilizationRates": lambda device: SimpleNamespace(gpu=70 + device, memory=5),
        "nvmlDeviceGetMemoryInfo": lambda device: memory,
        "nvmlDeviceGetPowerUsage": of_device_0(62_500),
        "nvmlDeviceGetTemperature": lambda _, sensor: {pynvml.NVML_TEMPERATURE_GPU: 55}[sensor],
        "nvmlDeviceGetCurrentClocksEventReasons": of_device_0(reasons),
        "nvmlDeviceGetClockInfo": lambda device, clock: {pynvml.NVML_CLOCK_SM: 1590}[clock],
    }.items():
        monkeypatch.setattr(pynvml, name, function)
    return monkeypatch


def test_gpus_bear_the_names_and_units_of_dcgm(nvml: pytest.MonkeyPatch) -> None:
    samples = exposed("no-such-run")
    values = {name: labels for name, labels in samples.items() if name.startswith("DCGM_")}
    first, second = ("0", "Tesla T4"), ("1", "Tesla T4")
    assert values == {
        "DCGM_FI_DEV_GPU_UTIL": {first: 70, second: 71},
        "DCGM_FI_DEV_FB_USED": {first: 3072, second: 3072},
        "DCGM_FI_DEV_FB_FREE": {first: 13312, second: 13312},
        "DCGM_FI_DEV_POWER_USAGE": {first: 62.5},
        "DCGM_FI_DEV_GPU_TEMP": {first: 55, second: 55},
        "DCGM_FI_DEV_SM_CLOCK": {first: 1590, second: 1590},
        "DCGM_EXP_CLOCK_EVENTS_COUNT": {
            (word, *first): float(word == "power_cap") for word in sampler.CLOCK_EVENTS.values()
        },
    }
    assert samples["gpu_e2e_gpu_info"] == {("Tesla T4", "present"): 1}


NO_LIBRARY = MagicMock(side_effect=pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND))


@pytest.mark.parametrize(
    ("name", "function", "reason"),
    [
        ("nvmlDeviceGetCount", lambda: 0, "NVML finds none"),
        ("nvmlInit", NO_LIBRARY, "NVML Shared Library Not Found"),
    ],
)
def test_a_machine_without_gpu_says_why(
    nvml: pytest.MonkeyPatch, name: str, function: Callable[[], object], reason: str
) -> None:
    nvml.setattr(pynvml, name, function)
    samples = exposed("no-such-run")
    absence = f"no NVIDIA GPU on this machine ({reason})"
    assert list(samples["gpu_e2e_gpu_info"]) == [(absence, "absent")]
    assert not any(name.startswith("DCGM_") for name in samples)
