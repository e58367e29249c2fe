"""The sampler tells what this machine really does, and what it has not got."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import psutil
import pynvml
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from helpers import processes
from helpers.telemetry import sampler
from helpers.telemetry.sampler import ProcessUsage, Sampler, command_role

BURN = "import time\nwhile time.process_time() < 0.5: pass\n"
READY = "print('ready', flush=True)\n"
WAIT = "import time; time.sleep(60)\n"


def exposed(run_id: str) -> dict[str, dict[tuple[str, ...], float]]:
    """What Prometheus reads: sample name → label values, by their labels' names → value."""
    registry = CollectorRegistry()
    registry.register(Sampler(run_id))
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


@pytest.fixture
def marked(tmp_path: Path) -> Iterator["Marked"]:
    made = Marked(tmp_path, f"test-{tmp_path.name}-{os.getpid()}")
    yield made
    made.end()


class Marked:
    """Starts stand-ins that carry a run's mark under the command lines of the real parts."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self.folder = folder
        self.run_id = run_id
        self.started: list[subprocess.Popen[str]] = []

    def tritonserver(self, code: str) -> "subprocess.Popen[str]":
        return self._start(["/opt/tritonserver", "-c", READY + code])

    def client(self, code: str) -> "subprocess.Popen[str]":
        module = self.folder / "helpers" / "load" / "worker.py"
        module.parent.mkdir(parents=True, exist_ok=True)
        for package in (module.parent, module.parent.parent):
            (package / "__init__.py").touch()  # a package goes before the real one
        module.write_text(READY + code)
        return self._start([sys.executable, "-m", "helpers.load.worker"])

    def _start(self, command: list[str]) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            command,
            executable=sys.executable,
            cwd=self.folder,
            env=os.environ | {processes.MARK: self.run_id},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        return process

    def end(self) -> None:
        for process in self.started:
            for child in psutil.Process(process.pid).children() if process.poll() is None else []:
                child.kill()
            process.kill()
            process.communicate()


# ── host ──────────────────────────────────────────────────────────────────────────────────────


def test_host_figures_are_those_of_the_system() -> None:
    found = exposed("no-such-run")
    times = psutil.cpu_times(percpu=True)
    seconds = found["node_cpu_seconds_total"]
    assert {core for core, _ in seconds} == {str(core) for core in range(len(times))}
    for core, expected in enumerate(times):
        assert seconds[str(core), "idle"] == pytest.approx(expected.idle, abs=2)
        assert seconds[str(core), "user"] == pytest.approx(expected.user, abs=2)
    assert not any(mode.startswith("guest") for _, mode in seconds)
    assert found["node_memory_MemTotal_bytes"][()] == psutil.virtual_memory().total
    available = found["node_memory_MemAvailable_bytes"][()]
    assert available == pytest.approx(psutil.virtual_memory().available, rel=0.3)
    assert "gpu_e2e_process_cpu_seconds_total" not in found


# ── processes ─────────────────────────────────────────────────────────────────────────────────


def test_the_mark_is_the_one_that_services_put_on_a_process() -> None:
    assert sampler.MARK == processes.MARK


@pytest.mark.parametrize(
    ("command", "role"),
    [
        (["/x/.tools/bin/prometheus", "--config.file=a"], "prometheus"),
        (["tritonserver"], "tritonserver"),
        (["python", "-m", "helpers.telemetry.sampler", "--port", "1"], "sampler"),
        (["python", "-m", "helpers.load.worker"], "client"),
        (["python", "-m", "helpers.loader"], ""),
        (["python", "-m", "helpers.watcher", '{"command": ["prometheus"]}'], ""),
        (["python", "-m"], ""),
        ([], ""),
    ],
)
def test_a_command_has_a_role(command: list[str], role: str) -> None:
    assert command_role(command) == role


def test_a_marked_process_is_exposed_under_its_role(marked: Marked) -> None:
    marked.client(WAIT)
    found = exposed(marked.run_id)
    assert set(found["gpu_e2e_process_cpu_seconds_total"]) == {("client",)}
    assert found["gpu_e2e_process_resident_memory_bytes"]["client",] > 2**20
    assert "gpu_e2e_process_cpu_seconds_total" not in exposed(f"{marked.run_id}-other")


def test_a_child_counts_for_the_nearest_ancestor_with_a_role(marked: Marked) -> None:
    code = "import subprocess; subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL)\n"
    server = marked.tritonserver(code + WAIT)
    deadline = time.monotonic() + 10
    while len(found := sampler.process_roles(marked.run_id)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    (child,) = psutil.Process(server.pid).children()
    assert {one.pid: role for one, role in found.items()} == {
        server.pid: "tritonserver",
        child.pid: "tritonserver",
    }


def test_cpu_time_is_what_was_used_and_never_falls(
    marked: Marked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "RESCAN_S", 0.0)
    followed = ProcessUsage(marked.run_id)
    first = marked.client(BURN + READY + WAIT)
    assert first.stdout is not None and first.stdout.readline() == "ready\n"
    times = psutil.Process(first.pid).cpu_times()
    followed.update()
    followed.update()  # what was counted is not counted twice
    used = followed.cpu_s["client"]
    assert used == pytest.approx(times.user + times.system, abs=0.1)
    assert used > 0.3
    first.kill()
    first.wait()
    followed.update()
    assert followed.cpu_s == {"client": used}
    assert followed.memory == {"client": 0}
    marked.client(WAIT)
    followed.update()
    assert used < followed.cpu_s["client"] < used + 1


def test_a_counter_does_not_fall_by_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    # 0.1 + 0.7 - 0.1 is less than 0.7: Prometheus would take the fall for a restart
    class Busy:
        used = 0.0

        def oneshot(self) -> contextlib.nullcontext[None]:
            return contextlib.nullcontext()

        def cpu_times(self) -> SimpleNamespace:
            return SimpleNamespace(user=self.used, system=0.0)

        def memory_info(self) -> SimpleNamespace:
            return SimpleNamespace(rss=1)

    one, other = Busy(), Busy()
    monkeypatch.setattr(sampler, "process_roles", lambda _: {one: "client", other: "client"})
    followed, seen = ProcessUsage("mark"), [0.0]
    for step in range(1000):
        one.used, other.used = step // 7 * 0.1, step // 11 * 0.07
        followed.update()
        seen.append(followed.cpu_s["client"])
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(one.used + other.used)


# ── GPU ───────────────────────────────────────────────────────────────────────────────────────

DOCUMENTED = {  # dcgm-exporter, etc/default-counters.csv
    "DCGM_FI_DEV_GPU_UTIL": "GPU utilization (in %).",
    "DCGM_FI_DEV_FB_USED": "Framebuffer memory used (in MiB).",
    "DCGM_FI_DEV_FB_FREE": "Framebuffer memory free (in MiB).",
    "DCGM_FI_DEV_POWER_USAGE": "Power draw (in W).",
    "DCGM_FI_DEV_GPU_TEMP": "GPU temperature (in C).",
    "DCGM_FI_DEV_SM_CLOCK": "SM clock frequency (in MHz).",
}


class FakeNvml(ModuleType):
    """NVML's functions with the units that its manual gives: bytes, milliwatts, MHz, °C.

    Device 1 has no power sensor.
    """

    NVMLError = pynvml.NVMLError
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU
    NVML_CLOCK_SM = pynvml.NVML_CLOCK_SM
    devices = 2

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return self.devices

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, device: int) -> str:
        return "Tesla T4"

    def nvmlDeviceGetUtilizationRates(self, device: int) -> SimpleNamespace:
        return SimpleNamespace(gpu=70 + device, memory=5)

    def nvmlDeviceGetMemoryInfo(self, device: int) -> SimpleNamespace:
        return SimpleNamespace(total=16 * 2**30, used=3 * 2**30, free=13 * 2**30)

    def nvmlDeviceGetPowerUsage(self, device: int) -> int:
        if device == 1:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return 62_500

    def nvmlDeviceGetTemperature(self, device: int, sensor: int) -> int:
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        return 55

    nvmlClocksEventReasonSwPowerCap = pynvml.nvmlClocksEventReasonSwPowerCap
    nvmlClocksThrottleReasonHwSlowdown = pynvml.nvmlClocksThrottleReasonHwSlowdown
    nvmlClocksEventReasonSwThermalSlowdown = pynvml.nvmlClocksEventReasonSwThermalSlowdown
    nvmlClocksThrottleReasonHwThermalSlowdown = pynvml.nvmlClocksThrottleReasonHwThermalSlowdown
    nvmlClocksThrottleReasonHwPowerBrakeSlowdown = (
        pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown
    )

    def nvmlDeviceGetCurrentClocksEventReasons(self, device: int) -> int:
        if device == 1:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return int(pynvml.nvmlClocksEventReasonSwPowerCap | pynvml.nvmlClocksEventReasonGpuIdle)

    def nvmlDeviceGetClockInfo(self, device: int, clock: int) -> int:
        assert clock == pynvml.NVML_CLOCK_SM
        return 1590


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml("pynvml")
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def test_gpus_bear_the_names_and_units_of_dcgm(nvml: FakeNvml) -> None:
    found = exposed("no-such-run")
    values = {name: labels for name, labels in found.items() if name.startswith("DCGM_")}
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
    assert found["gpu_e2e_gpu_info"] == {("Tesla T4", "present"): 1}


def test_the_units_said_are_those_that_dcgm_documents(nvml: FakeNvml) -> None:
    said = {family.name: family.documentation for family in sampler.find_gpus().families()}
    assert said.keys() == {*DOCUMENTED, "DCGM_EXP_CLOCK_EVENTS_COUNT", "gpu_e2e_gpu_info"}
    assert all(said[name].startswith(text.rstrip(".")) for name, text in DOCUMENTED.items())


def test_the_fake_has_only_what_the_real_library_has() -> None:
    names = [name for name in vars(FakeNvml) if name.lower().startswith("nvml")]
    assert len(names) == 18
    assert all(hasattr(pynvml, name) for name in names)


def test_a_driver_without_gpu_is_said(nvml: FakeNvml) -> None:
    nvml.devices = 0
    found = exposed("no-such-run")
    assert list(found["gpu_e2e_gpu_info"]) == [
        ("no NVIDIA GPU on this machine (NVML finds none)", "absent")
    ]
    assert not any(name.startswith("DCGM_") for name in found)


def test_a_missing_driver_is_said(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(nvml, "nvmlInit", refuse)
    assert (
        sampler.find_gpus().absence
        == "no NVIDIA GPU on this machine (NVML Shared Library Not Found)"
    )


def test_a_missing_binding_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert sampler.find_gpus() == sampler.Gpus(None, (), "nvidia-ml-py is not installed")
