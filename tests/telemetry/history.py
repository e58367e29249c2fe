"""Six hours of a soak without waiting: samples as blocks of a real Prometheus."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from helpers import programs
from helpers.run import Run
from helpers.telemetry import prometheus
from helpers.telemetry.prometheus_api import Prometheus
from helpers.telemetry.series import Window

HOURS, INTERVAL_S = 6, 5
START = datetime(2026, 11, 23, 6, tzinfo=UTC)
END = START + timedelta(hours=HOURS)
# the alert fires for a minute, the clocks are held down twice
ALERT = (START + timedelta(hours=1), START + timedelta(hours=1, minutes=1))
THROTTLED = ((START + timedelta(hours=2), START + timedelta(hours=2, minutes=1)),
             (START + timedelta(hours=3), START + timedelta(hours=3, minutes=2)))  # fmt: skip
POD = 'namespace="triton",pod="triton-0"'
GROWING = {  # per second
    f'nv_inference_request_success{{model="m",{POD}}}': 100,
    f'nv_inference_request_failure{{model="m",{POD}}}': 1,
    f'nv_inference_count{{model="m",{POD}}}': 200,
    f'nv_inference_exec_count{{model="m",{POD}}}': 50,
    f'nv_inference_queue_duration_us{{model="m",{POD}}}': 100 * 2_000,
    f'nv_inference_compute_input_duration_us{{model="m",{POD}}}': 100 * 500,
    f'nv_inference_compute_infer_duration_us{{model="m",{POD}}}': 100 * 5_000,
    f'nv_inference_compute_output_duration_us{{model="m",{POD}}}': 100 * 500,
    'node_cpu_seconds_total{cpu="0",mode="user"}': 0.75,
    'node_cpu_seconds_total{cpu="0",mode="idle"}': 0.25,
    'gpu_e2e_process_cpu_seconds_total{role="client"}': 0.5,
}  # fmt: skip
GROWING |= {name.replace('"m"', '"idle"'): 0 for name in GROWING if 'model="m"' in name}
NO_GPU = "no memory is reported"
STEADY = {
    f'nv_inference_pending_request_count{{model="m",{POD}}}': 3,
    f'nv_inference_request_summary_us{{model="m",quantile="0.95",{POD}}}': 12_000,
    f'gpu_e2e_gpu_info{{state="absent",detail="{NO_GPU}"}}': 1,
    "node_memory_MemTotal_bytes": 8 * 2**30,
    "node_memory_MemAvailable_bytes": 6 * 2**30,
}
GPU = f'DCGM_FI_DEV_GPU_UTIL{{gpu="0",{POD}}}'  # 70 %, and 10 % in the time named `IDLE`
IDLE = (START + timedelta(hours=4), START + timedelta(hours=4, minutes=1))
TRUTH = {  # of the model "m"
    "requests": 100.0, "failures": 1.0, "error_share": 100 / 101, "inferences": 200.0,
    "queue_time": 2.0, "compute_time": 6.0, "batch_size": 4.0, "pending": 3.0, "latency_p95": 12.0,
}  # fmt: skip


@dataclass(frozen=True)
class History:
    """A Prometheus that holds the past."""

    server: Prometheus
    window: Window


def serve(run: Run) -> History:
    """Make the past, and start a real Prometheus on it."""
    folder = run.folder / "history"
    folder.mkdir()
    text = folder / "samples.txt"
    text.write_text("".join((*lines(), "# EOF\n")))
    make = ["tsdb", "create-blocks-from", "openmetrics", "--quiet"]
    command = [str(programs.need("promtool")), *make, str(text), str(folder / "data")]
    subprocess.run(command, check=True, capture_output=True, timeout=200)
    (folder / "empty.yml").write_text("{}\n")

    def serve_on(port: int) -> list[str | Path]:
        return [programs.need("prometheus"), f"--config.file={folder / 'empty.yml'}",
                f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}",
                "--storage.tsdb.retention.time=100y"]  # fmt: skip

    url = prometheus.start_service(run, "history", serve_on, "/-/ready", program="Prometheus")
    return History(Prometheus(url), Window(START, END, INTERVAL_S))


def lines() -> Iterator[str]:
    """Every sample as OpenMetrics text, series by series."""
    begin = round(START.timestamp())
    seconds = range(0, HOURS * 3600 + 1, INTERVAL_S)
    for name, value in (GROWING | STEADY).items():
        growing = name in GROWING
        yield from (f"{name} {value * at if growing else value} {begin + at}\n" for at in seconds)
    idle = range(*(round((at - START).total_seconds()) for at in IDLE))[1:]
    yield from (f"{GPU} {10 if at in idle else 70} {begin + at}\n" for at in seconds)
    for name, start, end in (
        ('ALERTS{alertname="GpuHot",alertstate="firing",gpu="0"}', *ALERT),
        *((f'DCGM_EXP_CLOCK_EVENTS_COUNT{{clock_event="sw_thermal",gpu="0",{POD}}}', *period)
          for period in THROTTLED),
    ):  # fmt: skip
        span = range(round(start.timestamp()), round(end.timestamp()) + 1, INTERVAL_S)
        yield from (f"{name} 1 {at}\n" for at in span)
        yield f"{name} NaN {span.stop}\n"
