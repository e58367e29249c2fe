"""What stage 05 records of a load test.

Table `requests-<scenario>` (parquet), one row a request: `phase` (str), `warmup` (bool),
`intended_s`, `released_s` (when the engine let it go), `sent_s` (when a connection took it),
`done_s` (seconds since `started` of the scenario; NaN where that never happened), `latency_ms`
(done - intended), `service_ms` (done - sent), `outcome` (`ok` or an error class), `bytes` (of the
answer).

Table `seconds-<scenario>` (CSV), one row a second: `second`, `due` (requests meant to leave in it),
`released`, `ok` (good answers that came in it), `errors` (of those due), and `p50_ms`, `p95_ms`,
`p99_ms` (of those due; empty without a good answer).
"""

from helpers.load.report.capacity import Capacity, Step
from helpers.load.report.load import Calibration, LoadReport
from helpers.load.report.phase import Percentile, PhaseReport
from helpers.load.report.scenario import CLIENTS_FAULT, Memory, ScenarioReport, ServerSide, Trend

__all__ = [
    "CLIENTS_FAULT",
    "Calibration",
    "Capacity",
    "LoadReport",
    "Memory",
    "Percentile",
    "PhaseReport",
    "ScenarioReport",
    "ServerSide",
    "Step",
    "Trend",
]
