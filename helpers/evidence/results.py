"""The figures of a run as tables, JSON and CSV."""

import json
from typing import Any

import pandas as pd

from helpers import checklist
from helpers.evidence import kpis, masking
from helpers.load.report import LoadReport, PhaseReport, Trend
from helpers.profile import LABEL
from helpers.run import Run
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


def write(run: Run) -> None:
    """Write `evidence/results.json` (everything) and `evidence/results.csv` (the figures)."""
    report, telemetry = run.readable(LoadReport), run.readable(Telemetry)
    manifest = run.manifest()
    results: dict[str, Any] = {
        "run_id": run.run_id,
        "target": run.profile.target,
        "label": LABEL[run.profile.target],
        "status": str(checklist.overall(checklist.ticks(run).values())),
        "started": manifest["started"],
        "git": manifest["git"],
        "versions": manifest["versions"],
        "machine": manifest["machine"],
        "profile": run.profile.model_dump(mode="json"),
        "kpis": [one.model_dump(mode="json") for one in kpis.judge(run).kpis],
        "scenarios": [one.model_dump(mode="json") for one in report.scenarios] if report else [],
        "telemetry": telemetry.model_dump(mode="json") if telemetry else None,
        "promises": {
            promise.id: {
                "wording": promise.wording, "status": str(tick.status), "note": tick.note,
                "evidence": tick.evidence,
            }
            for promise, tick in checklist.ticks(run).items()
        },
    }  # fmt: skip
    text = masking.mask(json.dumps(results, indent=2), masking.own_words(run))
    run.write("evidence/results.json", text + "\n")
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
