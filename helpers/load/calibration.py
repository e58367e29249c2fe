"""What the client adds to a latency: the engine against a server whose delay is known."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

from helpers.errors import Problem
from helpers.load import delay_server, engine
from helpers.load.report import Calibration
from helpers.paths import ROOT
from helpers.scenario import Scenario
from helpers.serving.endpoint import Endpoint

DELAY_MS = 5.0
RATE, SECONDS, WARMUP_S = 400.0, 2.0, 0.5  # samples enough for a P99
END_S = 5.0


async def measure(wire: str) -> Calibration:
    """Fire at a server on this machine that answers after 5 ms, and compare.

    Args:
        wire: `http` or `grpc`.

    Raises:
        Problem: The server did not start, or a request to it failed.
    """
    steady = {"arrivals": "poisson", "rate": RATE}
    scenario = Scenario.model_validate(
        {
            "name": f"calibration-{wire}",
            "model": delay_server.MODEL, "protocol": wire, "inputs": 1,
            "phases": [
                {"name": "warm-up", **steady, "duration_s": WARMUP_S, "warmup": True},
                {"name": "steady", **steady, "duration_s": SECONDS},
            ],
        }
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, _Server(wire) as server:
        result = await engine.run(
            scenario, server.endpoint, folder=Path(folder), told=lambda kind, what: None
        )
        truth = server.end()
    measured = result.report.measured
    if measured.errors or "p99" not in measured.latency:
        raise Problem(f"The load engine could not be calibrated: {measured.errors or 'too slow'}.")
    return Calibration(
        wire=wire,
        delay_ms=DELAY_MS,
        rate=RATE,
        requests=measured.ok,
        added_p50_ms=measured.latency["p50"].ms - truth["p50_ms"],
        added_p99_ms=measured.latency["p99"].ms - truth["p99_ms"],
        send_error_p99_ms=measured.send_error_p99_ms,
    )


class _Server:
    def __init__(self, wire: str) -> None:
        self._wire = wire

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "helpers.load.delay_server", f"{DELAY_MS}", self._wire],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Problem("The server for the calibration did not start.")
        ports = json.loads(line)
        url = f"http://127.0.0.1:{ports['http']}"
        self.endpoint = Endpoint(
            http=url,
            grpc=f"127.0.0.1:{ports.get('grpc', 0)}",
            metrics=f"{url}/metrics",
            server="known delay",
        )
        return self

    def end(self) -> dict[str, float]:
        """Let it end; how long its answers took, `p50_ms` and `p99_ms`."""
        told, _ = self._process.communicate(timeout=END_S)
        truth: dict[str, float] = json.loads(told)
        return truth

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
