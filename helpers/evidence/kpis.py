"""Each target of the profile against what the run measured."""

from collections.abc import Iterator
from enum import StrEnum

import pandas as pd

from helpers.cloud.costs import CostReport
from helpers.evidence import numbers
from helpers.load.report import LoadReport, ScenarioReport
from helpers.run import Record, Run
from helpers.scenario import Settings
from helpers.telemetry.report import Telemetry


class Verdict(StrEnum):
    """What became of a target."""

    MET = "met"
    MISSED = "missed"
    INVALID = "invalid"
    ABSENT = "not measured"


class Kpi(Settings):
    """One target, and what was measured.

    Attributes:
        name: Its key in the profile.
        title: What people read.
        unit: Unit of target and measurement.
        at_least: Whether the target is a lower limit.
        target: The limit.
        measured: What was measured; None where nothing was.
        low: Lower end of the 95 % confidence interval; None where there is none.
        high: Upper end.
        verdict: What became of the target.
        note: Where the figure comes from, or why there is none.
    """

    name: str
    title: str
    unit: str
    at_least: bool
    target: float
    measured: float | None = None
    low: float | None = None
    high: float | None = None
    verdict: Verdict
    note: str


class Verdicts(Record, stage="07", name="verdicts"):
    """Every target.

    Attributes:
        kpis: One for each target of the profile.
        split_ms: Where the mean latency of the judged scenario was spent, milliseconds; empty
            where Triton's counters could not be read.
        cost_usd: Sums of the cost report, US dollars; empty without one.
        saved_pct: What spot saved against on demand, per cent; None without a GPU hour.
    """

    kpis: tuple[Kpi, ...]
    split_ms: dict[str, float]
    cost_usd: dict[str, float]
    saved_pct: float | None

    @property
    def summary(self) -> str:
        """One sentence: how many targets were met, missed, and not measured."""
        counts = {one: sum(kpi.verdict is one for kpi in self.kpis) for one in Verdict}
        told = [f"{count} {verdict}" for verdict, count in counts.items() if count]
        return f"Of {len(self.kpis)} targets: {', '.join(told)}"


def judge(run: Run) -> Verdicts:
    """Hold what was measured against the targets, and keep the verdicts."""
    scenario = judged_scenario(run)
    report = run.readable(CostReport)
    verdicts = Verdicts(
        kpis=tuple(_kpis(run)),
        split_ms=split(scenario) if scenario else {},
        cost_usd=_sums(report) if report else {},
        saved_pct=report.savings_pct if report else None,
    )
    run.save(verdicts)
    return verdicts


def frame(run: Run) -> pd.DataFrame:
    """Targets as people read them; with measurements and verdicts once there are some."""
    kpis = list(_kpis(run))
    columns = {
        "KPI": [one.title for one in kpis],
        "target": [f"{'≥' if one.at_least else '≤'} {one.target:g} {one.unit}" for one in kpis],
    }
    if run.readable(LoadReport):
        columns |= {
            "measured": [measurement(one) for one in kpis],
            "verdict": [str(one.verdict) for one in kpis],
            "note": [one.note for one in kpis],
        }
    return pd.DataFrame(columns)


def measurement(kpi: Kpi) -> str:
    """A figure with its unit and interval; a dash where there is none."""
    if kpi.measured is None:
        return "–"
    return f"{numbers.interval(kpi.measured, kpi.low, kpi.high)} {kpi.unit}"


def _kpis(run: Run) -> Iterator[Kpi]:
    targets = run.profile.kpis
    scenario, telemetry = judged_scenario(run), run.readable(Telemetry)
    phase = scenario.measured if scenario else None
    invalid = "; ".join(scenario.invalid) if scenario else ""
    reason = invalid or ("" if phase else f"scenario '{targets.scenario}' was not fired")
    for name in ("p50", "p95", "p99"):
        yield _latency(name, getattr(targets, f"{name}_ms"), scenario, targets.scenario, reason)
    yield _judged(
        "throughput_rps", "Throughput", "requests/s", targets.throughput_rps,
        phase.throughput_rps if phase else None, reason or targets.scenario, bool(invalid),
        at_least=True,
    )  # fmt: skip
    yield _judged(
        "error_rate_pct", "Error rate", "%", targets.error_rate_pct,
        phase.error_rate_pct if phase else None, reason or targets.scenario, bool(invalid),
    )  # fmt: skip
    absent = telemetry.gpu_absent if telemetry else "no telemetry was collected"
    yield _judged(
        "gpu_utilisation_pct", "GPU utilisation", "%", targets.gpu_utilisation_pct,
        telemetry.gpu_utilisation_pct if telemetry else None, absent or "mean under load", False,
        at_least=True,
    )  # fmt: skip
    yield _cost(run)


def _cost(run: Run) -> Kpi:
    """What the session has cost; what an emulator counted was never spent."""
    report = run.readable(CostReport)
    spent = report.total_usd if report and not report.emulated else None
    if report is None:
        note = "no cost report in this run"
    elif report.emulated:
        note = f"a rehearsal creates nothing that is billed; {report.summary}"
    else:
        note = report.summary
    return _judged(
        "cost_usd", "Cost of the session", "US$", run.profile.kpis.cost_usd, spent, note, False
    )


def _latency(
    name: str, target: float, scenario: ScenarioReport | None, called: str, reason: str
) -> Kpi:
    phase = scenario.measured if scenario else None
    found = phase.latency.get(name) if phase else None
    if phase and not found:
        reason = f"{phase.ok} good answers are too few for a {name.upper()}"
    kpi = _judged(
        f"{name}_ms", f"{name.upper()} latency", "ms", target, found.ms if found else None,
        reason or called, bool(phase and found and reason),
    )  # fmt: skip
    if scenario and kpi.verdict is Verdict.MISSED:
        kpi = kpi.model_copy(update={"note": f"{kpi.note}; {where_spent(scenario)}"})
    if found and found.low_ms is not None and found.high_ms is not None:
        crosses = found.low_ms <= target <= found.high_ms
        note = f"{kpi.note}; the interval crosses the target" if crosses else kpi.note
        return kpi.model_copy(update={"low": found.low_ms, "high": found.high_ms, "note": note})
    return kpi


def _sums(report: CostReport) -> dict[str, float]:
    sums = {
        "total": report.total_usd,
        "spot": report.spot_usd,
        "on demand": report.on_demand_usd,
        "saved": report.savings_usd,
        "per 1,000 inferences": report.per_1000_usd,
    }
    return {name: value for name, value in sums.items() if value is not None}


def judged_scenario(run: Run) -> ScenarioReport | None:
    """The scenario that the targets are held against, as it was fired; None where it was not."""
    report = run.readable(LoadReport)
    scenarios = report.scenarios if report else ()
    return next((one for one in scenarios if one.name == run.profile.kpis.scenario), None)


def split(scenario: ScenarioReport) -> dict[str, float]:
    """Part → its share of the mean latency, milliseconds; empty without Triton's counters."""
    server, rest = scenario.server, scenario.network_and_client_ms
    if server is None or rest is None:
        return {}
    return {"queue": server.queue_ms, "compute": server.compute_ms, "network and client": rest}


def where_spent(scenario: ScenarioReport) -> str:
    """The part that most of the mean latency was spent in, and all parts, in one clause."""
    parts = split(scenario)
    if not parts:
        return "Triton's counters, which would say where the time was spent, could not be read"
    told = ", ".join(f"{name} {numbers.measured(value)} ms" for name, value in parts.items())
    return f"mostly {max(parts, key=lambda name: parts[name])} (mean: {told})"


def _judged(
    name: str,
    title: str,
    unit: str,
    target: float,
    measured: float | None,
    note: str,
    invalid: bool,
    *,
    at_least: bool = False,
) -> Kpi:
    if measured is None:
        verdict = Verdict.ABSENT
    elif invalid:
        verdict = Verdict.INVALID
    else:
        holds = measured >= target if at_least else measured <= target
        verdict = Verdict.MET if holds else Verdict.MISSED
    return Kpi(
        name=name, title=title, unit=unit, at_least=at_least, target=target, measured=measured,
        verdict=verdict, note=note,
    )  # fmt: skip
