"""The figures of a run as tables, JSON and CSV."""

from typing import Any

import pandas as pd

from helpers import promises
from helpers.evidence import kpis, redaction
from helpers.evidence.kpis import Kpi
from helpers.load.records import Capacity, LoadReport, PhaseReport, ScenarioReport
from helpers.profile import LABEL
from helpers.run import DRAWS, Run, code_digest
from helpers.scenario import Settings
from helpers.telemetry.records import Telemetry


class PromiseResult(Settings):
    """The result for one promise; `evidence` is the run's file that shows it, or empty."""

    wording: str
    status: str
    note: str
    evidence: str


class Results(Settings):
    """Everything that a run measured and checked; `results.json`."""

    run_id: str
    target: str
    label: str  # what figures of this target stand for
    status: str
    started: str  # UTC, ISO 8601
    git: dict[str, str | bool | None]
    versions: dict[str, str]
    machine: dict[str, str | int]
    code: dict[str, str]  # SHA-256 of the sources that measured, and of those that drew
    profile: dict[str, Any]
    kpis: tuple[Kpi, ...]
    scenarios: tuple[ScenarioReport, ...]
    capacity: Capacity | None
    telemetry: Telemetry | None
    promises: dict[str, PromiseResult]


def frame(run: Run) -> pd.DataFrame:
    """One row per scenario, and one for each of its measured phases where there are several."""
    rows = []
    for scenario in run.load(LoadReport).scenarios:
        phases = [phase for phase in scenario.phases if not phase.warmup]
        rows.append(_row(scenario.name, "all measured", scenario.measured, scenario.invalid))
        if len(phases) > 1:
            rows += [_row(scenario.name, phase.name, phase, phase.invalid) for phase in phases]
    return pd.DataFrame(rows)


def latency_split(run: Run) -> pd.DataFrame:
    """Where the mean latency of each scenario was spent, in milliseconds."""
    rows = []
    for scenario in run.load(LoadReport).scenarios:
        server, drift, trend = scenario.server, scenario.drift, "too short"
        if drift:
            trend = f"{drift.per_minute:+.3f} ({drift.low:+.3f} to {drift.high:+.3f})"
        figures = {
            "mean latency ms": scenario.all_mean_ms,
            "queue ms": server.queue_ms if server else None,
            "compute ms": server.compute_ms if server else None,
            "network and client ms": scenario.network_and_client_ms,
            "images per execution": server.mean_batch if server else None,
        }
        shown = {name: "–" if value is None else f"{value:.2f}" for name, value in figures.items()}
        rows.append({"scenario": scenario.name, **shown, "drift of P50, ms per minute": trend})
    return pd.DataFrame(rows)


def write(run: Run) -> None:
    """Write `evidence/results.json` (everything) and `evidence/results.csv` (the figures)."""
    report, manifest, ticks = run.readable(LoadReport), run.manifest(), promises.ticks(run)
    scenarios = report.scenarios if report else ()
    results = Results(
        run_id=run.run_id, target=run.profile.target, label=LABEL[run.profile.target],
        status=promises.summary(run), started=manifest["started"],
        git=manifest["git"], versions=manifest["versions"], machine=manifest["machine"],
        code={"measures": manifest.get("measured_by", ""), "draws": code_digest(DRAWS)},
        profile=run.profile.model_dump(mode="json"),
        kpis=kpis.judge(run).kpis,
        scenarios=scenarios, capacity=run.readable(Capacity), telemetry=run.readable(Telemetry),
        promises={
            promise.id: PromiseResult(wording=promise.wording, status=str(tick.status),
                                      note=tick.note, evidence=tick.evidence)
            for promise, tick in ticks.items()
        },
    )  # fmt: skip
    text = redaction.redact(results.model_dump_json(indent=2), redaction.private_words(run))
    run.write("evidence/results.json", text + "\n")
    if report:
        rows = [_csv_row(scenario.name, phase) for scenario in scenarios
                for phase in (*scenario.phases, scenario.measured)]  # fmt: skip
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
    valid = "valid; server overloaded" if phase.overloaded else "valid"
    return {
        "scenario": scenario, "phase": name, "requests": f"{phase.requests}",
        "requested /s": "closed loop" if asked is None else f"{asked:.1f}",
        "answered /s": f"{phase.throughput_rps:.1f}", **percentiles,
        "errors %": f"{phase.error_rate_pct:.2f}", "validity": "; ".join(invalid) or valid,
    }  # fmt: skip


def _csv_row(scenario: str, phase: PhaseReport) -> dict[str, Any]:
    figures = phase.model_dump(mode="json", exclude={"latency", "errors", "invalid"})
    for name, percentile in phase.latency.items():
        figures |= {f"{name}_{key}": value for key, value in percentile.model_dump().items()}
    errors = "; ".join(f"{kind} {count}" for kind, count in phase.errors.items())
    return {"scenario": scenario, **figures, "errors": errors,
            "invalid": "; ".join(phase.invalid)}  # fmt: skip
