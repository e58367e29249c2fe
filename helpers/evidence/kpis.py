"""The profile's targets, judged against what the run measured; and how figures are written."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pandas as pd
import yaml

from helpers.cloud.meter import CostReport
from helpers.load.records import LoadReport, ScenarioReport
from helpers.run import Record, Run
from helpers.scenario import Settings
from helpers.telemetry.records import Telemetry

# key in the profile → title, unit, and whether the target is a lower limit
KPIS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())


class Verdict(StrEnum):
    """The result for one target."""

    MET = "met"
    MISSED = "missed"
    INVALID = "invalid"
    ABSENT = "not measured"


class Kpi(Settings):
    """One target, and what was measured."""

    name: str  # its key in the profile
    title: str
    unit: str
    at_least: bool  # whether the target is a lower limit
    target: float
    measured: float | None = None
    low: float | None = None  # of the 95 % confidence interval
    high: float | None = None
    verdict: Verdict
    note: str  # where the figure comes from, or why there is none

    @property
    def target_text(self) -> str:
        """The limit with its sign and unit, such as `≤ 120 ms`."""
        return f"{'≥' if self.at_least else '≤'} {self.target:g} {self.unit}"

    @property
    def measured_text(self) -> str:
        """The measured value with its interval and unit; a dash where there is none."""
        if self.measured is None:
            return "–"
        return f"{format_interval(self.measured, self.low, self.high)} {self.unit}"


class Verdicts(Record, stage="07", name="verdicts"):
    """The verdict on every target."""

    kpis: tuple[Kpi, ...]
    split_ms: dict[str, float]  # of the judged scenario's mean; empty without Triton's counters
    cost_usd: dict[str, float]  # sums of the cost report
    saved_pct: float | None  # by spot, compared with on demand; None without a GPU hour

    @property
    def summary(self) -> str:
        """One sentence: how many targets were met, missed, and not measured."""
        counts = {verdict: sum(kpi.verdict is verdict for kpi in self.kpis) for verdict in Verdict}
        parts = [f"{count} {verdict}" for verdict, count in counts.items() if count]
        return f"Of {len(self.kpis)} targets: {', '.join(parts)}"


def judge(run: Run) -> Verdicts:
    """Compare what was measured with the targets, and save the verdicts."""
    scenario, report = judged_scenario(run), run.readable(CostReport)
    sums = {
        "total": report.total_usd, "spot": report.spot_usd, "on demand": report.on_demand_usd,
        "saved": report.savings_usd, "per 1,000 inferences": report.per_1000_usd,
    } if report else {}  # fmt: skip
    verdicts = Verdicts(
        kpis=tuple(_kpis(run)),
        split_ms=_latency_split(scenario) if scenario else {},
        cost_usd={name: value for name, value in sums.items() if value is not None},
        saved_pct=report.savings_pct if report else None,
    )
    return run.save(verdicts)


def frame(run: Run) -> pd.DataFrame:
    """The targets as a table; with measurements and verdicts once a load has run."""
    columns = ["KPI", "target", "measured", "verdict", "note"]
    rows = [(kpi.title, kpi.target_text, kpi.measured_text, str(kpi.verdict), kpi.note)
            for kpi in _kpis(run)]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)[columns if run.readable(LoadReport) else columns[:2]]


def judged_scenario(run: Run) -> ScenarioReport | None:
    """The report of the scenario that the targets are for; None where it did not run."""
    report = run.readable(LoadReport)
    scenarios = report.scenarios if report else ()
    return next((played for played in scenarios if played.name == run.profile.kpis.scenario), None)


def format_figure(value: float) -> str:
    """A measured value with as many digits as a reader can use.

    >>> format_figure(4.8123), format_figure(59.61), format_figure(1234.5), format_figure(7)
    ('4.81', '59.6', '1,234', '7')
    """
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{_decimals(value)}f}"


def format_interval(value: float, low: float | None, high: float | None) -> str:
    """A measured value with its interval, all with the same number of digits.

    >>> format_interval(4.8123, 4.49, 5.031), format_interval(4.8123, None, 5.0)
    ('4.81 (4.49–5.03)', '4.81')
    """
    if low is None or high is None:
        return format_figure(value)
    places = _decimals(value)
    return f"{value:,.{places}f} ({low:,.{places}f}–{high:,.{places}f})"


def _decimals(value: float) -> int:
    return 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0


def _kpis(run: Run) -> Iterator[Kpi]:
    scenario, telemetry = judged_scenario(run), run.readable(Telemetry)
    if scenario:
        for percentile in ("p50", "p95", "p99"):
            yield _latency_kpi(run, percentile, scenario)
        invalid = "; ".join(scenario.invalid)
        for key in ("throughput_rps", "error_rate_pct"):
            measured = getattr(scenario.measured, key)
            yield _kpi(run, key, measured, invalid or scenario.name, invalid)
    else:
        for key in list(KPIS)[:5]:
            yield _kpi(run, key, None, f"scenario '{run.profile.kpis.scenario}' did not run")
    utilisation = telemetry.gpu_utilisation_pct if telemetry else None
    absent = telemetry.gpu_absent if telemetry else "no telemetry was collected"
    yield _kpi(run, "gpu_utilisation_pct", utilisation, absent or "mean under load")
    report = run.readable(CostReport)
    if report is None:
        yield _kpi(run, "cost_usd", None, "no cost report in this run")
    elif report.emulated:  # what an emulator counted was never spent
        note = f"a rehearsal creates nothing that is billed; {report.summary}"
        yield _kpi(run, "cost_usd", None, note)
    else:
        yield _kpi(run, "cost_usd", report.total_usd, report.summary)


def _latency_kpi(run: Run, name: str, scenario: ScenarioReport) -> Kpi:
    percentile, invalid = scenario.measured.latency.get(name), "; ".join(scenario.invalid)
    if percentile is None:
        note = f"{scenario.measured.ok} good answers are too few for a {name.upper()}"
        return _kpi(run, f"{name}_ms", None, note)
    note = invalid or scenario.name
    kpi = _kpi(run, f"{name}_ms", percentile.ms, note, invalid)
    changes: dict[str, float | str] = {}
    if kpi.verdict is Verdict.MISSED:
        note += f"; {_where_time_went(scenario)}"
    if percentile.low_ms is not None and percentile.high_ms is not None:
        changes |= {"low": percentile.low_ms, "high": percentile.high_ms}
        if percentile.low_ms <= kpi.target <= percentile.high_ms:
            note += "; the interval crosses the target"
    return kpi.model_copy(update=changes | {"note": note})


def _kpi(run: Run, name: str, measured: float | None, note: str, invalid: str = "") -> Kpi:
    title, unit, at_least = KPIS[name]
    target: float = getattr(run.profile.kpis, name)
    if measured is None:
        verdict = Verdict.ABSENT
    elif invalid:
        verdict = Verdict.INVALID
    else:
        is_met = measured >= target if at_least else measured <= target
        verdict = Verdict.MET if is_met else Verdict.MISSED
    return Kpi(name=name, title=title, unit=unit, at_least=at_least, target=target,
               measured=measured, verdict=verdict, note=note)  # fmt: skip


def _latency_split(scenario: ScenarioReport) -> dict[str, float]:
    """Part → its share of the mean latency, milliseconds; empty without Triton's counters."""
    server, rest = scenario.server, scenario.network_and_client_ms
    if server is None or rest is None:
        return {}
    return {"queue": server.queue_ms, "compute": server.compute_ms, "network and client": rest}


def _where_time_went(scenario: ScenarioReport) -> str:
    """Which part took most of the mean latency, and all parts, in one clause."""
    parts = _latency_split(scenario)
    if not parts:
        return "Triton's counters could not be read, so it is unknown where the time was spent"
    listed = ", ".join(f"{name} {format_figure(value)} ms" for name, value in parts.items())
    return f"mostly {max(parts, key=lambda name: parts[name])} (mean: {listed})"
