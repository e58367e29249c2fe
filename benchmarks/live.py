"""CPU cost of the live chart, in the kernel that draws it next to the load."""

import json
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from benchmarks import machine
from benchmarks.figures import Result
from benchmarks.server import temporary_run
from helpers.errors import Problem
from helpers.load.engine import MOST_POINTS
from helpers.paths import ROOT

REPETITIONS = 5
REDRAWS = 10  # in each repetition, one a second, as the engine reports them
GOAL = "<= 2"
START_S = 60

# The kernel runs it as a cell of notebook 05, so that a chart is drawn instead of a line of text.
PREPARED = f"""
import json, time
from helpers.load.engine import display
from helpers.load.request import Second

def second(number):
    late = number % 17
    return Second(float(number), "steady", 200.0 + late, 199.0 - late, 3, number // 9, 0.01,
                  5.0 + late / 10, 9.0 + late / 5, 20.0 + late, 90.0)

show = display("soak")
for number in range({MOST_POINTS}):
    show("second", second(number))
"""
MEASURED = f"""
cpu_s, begin = time.process_time(), time.monotonic()
for number in range({REDRAWS}):
    show("second", second(number))
    time.sleep(1)
print(json.dumps([time.process_time() - cpu_s, time.monotonic() - begin]))
"""


def measure() -> Result:
    """Redraw a full chart once a second, and measure the kernel's CPU seconds.

    Raises:
        Problem: The kernel failed, or has drawn no chart.
    """
    with temporary_run("quick") as run:
        result = Result("live", machine.described(run.manifest()))
    shares, sizes = _shares(result)
    result.add(
        f"CPU of the live chart, {MOST_POINTS} seconds in it, redrawn once a second", shares,
        "% of a core", GOAL,
        f"all threads of the kernel, idle ones too; {REDRAWS} redraws a repetition; the browser's "
        "share is not in it",
    )  # fmt: skip
    result.add("what a redraw sends to the browser", sizes, "kB")
    return result


def _shares(result: Result) -> tuple[list[float], list[float]]:
    """Per cent of a core, and kB a redraw, for each repetition."""
    manager = KernelManager(transport="ipc")
    manager.start_kernel(cwd=str(ROOT))
    client = manager.blocking_client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=START_S)
        _execute(client, PREPARED)
        shares, sizes = [], []
        for _ in range(REPETITIONS):
            before = machine.snapshot([])
            printed, drawn = _execute(client, MEASURED)
            cpu_s, seconds = json.loads(printed)
            if len(drawn) != REDRAWS:
                raise Problem(f"The kernel redrew the chart {len(drawn)} times, not {REDRAWS}.")
            shares.append(100 * cpu_s / seconds)
            sizes.append(sum(map(len, drawn)) / len(drawn) / 1000)
            others = machine.conditions(before, machine.snapshot([]))
            result.conditions.setdefault("repetition", []).append(others)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return shares, sizes


def _execute(client: BlockingKernelClient, code: str) -> tuple[str, list[str]]:
    """What a cell printed, and the charts that it redrew."""
    printed, drawn = [], []

    def hear(message: dict[str, Any]) -> None:
        content = message["content"]
        match message["msg_type"]:
            case "stream":
                printed.append(content["text"])
            case "update_display_data":
                drawn.append(content["data"]["text/html"])

    reply = client.execute_interactive(code, allow_stdin=True, output_hook=hear, timeout=START_S)
    if reply["content"]["status"] != "ok":
        raise Problem(f"The kernel failed: {reply['content'].get('evalue', 'no reason given')}")
    return "".join(printed), [image for image in drawn if "<svg" in image]
