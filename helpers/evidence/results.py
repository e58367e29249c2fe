"""The figures of a run as tables, JSON and CSV."""

from typing import Any

import pandas as pd

from helpers import promises
from helpers.evidence import kpis, redaction
from helpers.evidence.kpis import Kpi
from helpers.load.records import Capacity, LoadReport, PhaseReport, ScenarioReport
from helpers.profile import LABEL
from helpers.run import Run, drawing_code
from helpers.scenario import Settings
from helpers.telemetry.report import Telemetry


class PromiseResult(Settings):
    """The result for one promise; `evidence` is the run's file that shows it, or empty."""

    wording: str
    status: str
    note: str
    evidence: str


class Results(Settings):
    """Everything that a run measured and checked; `results.json`.

    Attributes:
        label: What figures of this target stand for.
        started: UTC, ISO 8601.
        code: SHA-256 of the sources of what measured and what drew.
        profile: Every setting.
        capacity: The rates that were tried; None where none was.
        telemetry: The series that were read back; None without a Prometheus.
        promises: Promise → its result.
    """

    run_id: str
    target: str
    label: str
    status: str
    started: str
    git: dict[str, str | bool | None]
    versions: dict[str, str]
    machine: dict[str, str | int]
    code: dict[str, str]
    profile: dict[str, Any]
    kpis: tuple[Kpi, ...]
    scenarios: tuple[ScenarioReport, ...]
    capacity: Capacity | None
    telemetry: Telemetry | None
    promises: dict[str, PromiseResult]


def frame(run: Run) -> pd.DataFrame:
    """One row per scenario, and one for each of its measured phases where there are several.

    Raises:
        Problem: The run has no load report.
    """
    rows = []
    for scenario in run.load(LoadReport).scenarios:
        phases = [phase for phase in scenario.phases if not phase.warmup]
        rows.append(_row(scenario.name, "all measured", scenario.measured, scenario.invalid))
        if len(phases) > 1:
            rows += [_row(scenario.name, phase.name, phase, phase.invalid) for phase in phases]
    return pd.DataFrame(rows)


def latency_split(run: Run) -> pd.DataFrame:
    """Where the mean latency of each scenario was spent, in milliseconds.

    Raises:
        Problem: The run has no load report.
    """

    def shown(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    rows = []
    for scenario in run.load(LoadReport).scenarios:
        server, drift = scenario.server, scenario.drift
        rows.append(
            {
                "scenario": scenario.name,
                "mean latency ms": shown(scenario.all_mean_ms),
                "queue ms": shown(server.queue_ms if server else None),
                "compute ms": shown(server.compute_ms if server else None),
                "network and client ms": shown(scenario.network_and_client_ms),
                "images per execution": shown(server.mean_batch if server else None),
                "drift of P50, ms per minute": "too short"
                if drift is None
                else f"{drift.per_minute:+.3f} ({drift.low:+.3f} to {drift.high:+.3f})",
            }
        )
    return pd.DataFrame(rows)


def write(run: Run) -> None:
    """Write `evidence/results.json` (everything) and `evidence/results.csv` (the figures)."""
    report, manifest, ticks = run.readable(LoadReport), run.manifest(), promises.ticks(run)
    scenarios = report.scenarios if report else ()
    results = Results(
        run_id=run.run_id,
        target=run.profile.target,
        label=LABEL[run.profile.target],
        status=str(promises.overall_status(ticks.values())),
        started=manifest["started"],
        git=manifest["git"],
        versions=manifest["versions"],
        machine=manifest["machine"],
        code={"measures": manifest.get("measured_by", ""), "draws": drawing_code()},
        profile=run.profile.model_dump(mode="json"),
        kpis=kpis.judge(run).kpis,
        scenarios=scenarios,
        capacity=run.readable(Capacity),
        telemetry=run.readable(Telemetry),
        promises={
            promise.id: PromiseResult(
                wording=promise.wording, status=str(tick.status), note=tick.note,
                evidence=tick.evidence,
            )
            for promise, tick in ticks.items()
        },
    )  # fmt: skip
    text = redaction.redact(results.model_dump_json(indent=2), redaction.private_words(run))
    run.write("evidence/results.json", text + "\n")
    if report:
        rows = [
            _csv_row(scenario.name, phase)
            for scenario in scenarios
            for phase in (*scenario.phases, scenario.measured)
        ]
        run.write("evidence/results.csv", pd.DataFrame(rows).to_csv(index=False))


def _row(scenario: str, name: str, phase: PhaseReport, invalid: tuple[str, ...]) -> dict[str, str]:
    percentiles = {}
    for key in ("p50", "p95", "p99"):
        percentile, text = phase.latency.get(key), "too few"
        if percentile:
            text = f"{percentile.ms:.1f}"
            if percentile.low_ms is not None and percentile.high_ms is not None:
                text += f" ({percentile.low_ms:.1f}–{percentile.high_ms:.1f})"
        percentiles[f"{key.upper()} ms"] = text
    asked = phase.requested_rps
    return {
        "scenario": scenario,
        "phase": name,
        "requests": f"{phase.requests}",
        "requested /s": "closed loop" if asked is None else f"{asked:.1f}",
        "answered /s": f"{phase.throughput_rps:.1f}",
        **percentiles,
        "errors %": f"{phase.error_rate_pct:.2f}",
        "validity": "; ".join(invalid)
        or ("valid; server overloaded" if phase.overloaded else "valid"),
    }


def _csv_row(scenario: str, phase: PhaseReport) -> dict[str, Any]:
    figures = phase.model_dump(mode="json", exclude={"latency", "errors", "invalid"})
    for name, percentile in phase.latency.items():
        figures |= {f"{name}_{key}": value for key, value in percentile.model_dump().items()}
    errors = "; ".join(f"{kind} {count}" for kind, count in phase.errors.items())
    return {"scenario": scenario, **figures, "errors": errors,
            "invalid": "; ".join(phase.invalid)}  # fmt: skip
