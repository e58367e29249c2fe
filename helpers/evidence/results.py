"""The figures of a run as tables, JSON and CSV."""

from typing import Any

import pandas as pd

from helpers import promises
from helpers.evidence import kpis, masking
from helpers.evidence.kpis import Kpi
from helpers.load.report import Capacity, LoadReport, PhaseReport, ScenarioReport, Trend
from helpers.profile import LABEL
from helpers.run import Run, drawing_code
from helpers.scenario import Settings
from helpers.telemetry.report import Telemetry


def frame(run: Run) -> pd.DataFrame:
    """One row a scenario, and one for each of its measured phases, as people read them.

    Raises:
        Problem: The run has no load report.
    """
    rows = []
    for one in run.load(LoadReport).scenarios:
        measured = [phase for phase in one.phases if not phase.warmup]
        rows.append(_row(one.name, "all measured", one.measured, one.invalid))
        rows += [
            _row(one.name, phase.name, phase, phase.invalid) for phase in measured[1:] and measured
        ]
    return pd.DataFrame(rows)


def split(run: Run) -> pd.DataFrame:
    """Where the mean latency of each scenario was spent, in milliseconds, as people read it.

    Raises:
        Problem: The run has no load report.
    """
    rows = []
    for one in run.load(LoadReport).scenarios:
        server, rest = one.server, one.network_and_client_ms
        rows.append(
            {
                "scenario": one.name,
                "mean latency ms": _told(one.all_mean_ms),
                "queue ms": _told(server.queue_ms if server else None),
                "compute ms": _told(server.compute_ms if server else None),
                "network and client ms": _told(rest),
                "images per execution": _told(server.mean_batch if server else None),
                "drift of P50, ms per minute": _trend(one.drift),
            }
        )
    return pd.DataFrame(rows)


def _told(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _trend(trend: Trend | None) -> str:
    if trend is None:
        return "too short"
    return f"{trend.per_minute:+.3f} ({trend.low:+.3f} to {trend.high:+.3f})"


class PromiseResult(Settings):
    """What became of a promise.

    Attributes:
        wording: What was promised.
        status: VERIFIED, REHEARSED, STATIC, NOT REHEARSED or FAILED.
        note: What was seen, or why it was not.
        evidence: The run's file that shows it; may be empty.
    """

    wording: str
    status: str
    note: str
    evidence: str


class Results(Settings):
    """Everything that a run found, as `results.json` holds it.

    Attributes:
        run_id: UTC time and profile.
        target: `rehearsal` or `aws`.
        label: What the target makes of the figures.
        status: Of the whole run.
        started: UTC, ISO 8601.
        git: Commit, and whether it was clean.
        versions: Library → version.
        machine: System, processor, cores, memory.
        code: What measured and drew: name → SHA-256 of its sources.
        profile: Every choice.
        kpis: Every target, and what was measured.
        scenarios: Every load.
        capacity: The rates that were tried; None where none was.
        telemetry: The series that were read back; None without a Prometheus.
        promises: Promise → what became of it.
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


def gather(run: Run) -> Results:
    """Everything that a run found."""
    report, manifest = run.readable(LoadReport), run.manifest()
    ticks = promises.ticks(run)
    return Results(
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
        scenarios=report.scenarios if report else (),
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


def write(run: Run) -> None:
    """Write `evidence/results.json` (everything) and `evidence/results.csv` (the figures)."""
    text = gather(run).model_dump_json(indent=2)
    run.write("evidence/results.json", masking.mask(text, masking.own_words(run)) + "\n")
    report = run.readable(LoadReport)
    if report:
        rows = [
            _flat(one.name, phase)
            for one in report.scenarios
            for phase in (*one.phases, one.measured)
        ]
        run.write("evidence/results.csv", pd.DataFrame(rows).to_csv(index=False))


def _row(scenario: str, name: str, phase: PhaseReport, invalid: tuple[str, ...]) -> dict[str, Any]:
    trust = "; ".join(invalid) or ("valid; server overloaded" if phase.overloaded else "valid")
    return {
        "scenario": scenario,
        "phase": name,
        "requests": phase.requests,
        "asked /s": "closed loop" if phase.requested_rps is None else f"{phase.requested_rps:.1f}",
        "answered /s": f"{phase.throughput_rps:.1f}",
        **{f"{name.upper()} ms": _percentile(phase, name) for name in ("p50", "p95", "p99")},
        "errors %": f"{phase.error_rate_pct:.2f}",
        "trust": trust,
    }


def _percentile(phase: PhaseReport, name: str) -> str:
    found = phase.latency.get(name)
    if found is None:
        return "too few"
    if found.low_ms is None or found.high_ms is None:
        return f"{found.ms:.1f}"
    return f"{found.ms:.1f} ({found.low_ms:.1f}–{found.high_ms:.1f})"


def _flat(scenario: str, phase: PhaseReport) -> dict[str, Any]:
    plain = phase.model_dump(mode="json", exclude={"latency", "errors", "invalid"})
    latency = {
        f"{name}_{part}": value
        for name, found in phase.latency.items()
        for part, value in found.model_dump().items()
    }
    errors = "; ".join(f"{kind} {count}" for kind, count in phase.errors.items())
    return {"scenario": scenario, **plain, **latency, "errors": errors,
            "invalid": "; ".join(phase.invalid)}  # fmt: skip
