"""The sentences that page, case study, write-up and README share, taken from the records."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from helpers import promises
from helpers.cloud.zero import Teardown, Zero
from helpers.cluster.records import AllocatableGpus
from helpers.errors import Problem
from helpers.evidence import kpis
from helpers.evidence.kpis import Kpi, Verdict, Verdicts
from helpers.load.records import Capacity, LoadReport, ScenarioReport
from helpers.profile import LABEL
from helpers.promises import Status
from helpers.run import Run
from helpers.serving.records import Endpoint, Models
from helpers.telemetry.records import Telemetry

SHARED_CORES = "client, server and monitoring ran on the same cores"
TEXTS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
RECORDS = (LoadReport, Capacity, Telemetry, Models, Endpoint)


class Tile(NamedTuple):
    """One of the figures that matter most."""

    value: str
    title: str
    note: str
    verdict: str = ""  # of the target, where there is one


class Statement(NamedTuple):
    """A sentence, and the status of the promise behind it."""

    text: str
    status: Status


class Story(NamedTuple):
    """Everything that is said about a run."""

    label: str  # the target, and what its figures must not be taken for
    target_label: str  # the same, shorter, beside tables
    title: str
    problem: str
    built: str  # what was built and measured
    tiles: list[Tile]
    kpis: tuple[Kpi, ...]
    summary: str  # how many targets were met
    cost: Statement
    teardown: Statement
    machine: str
    fine_print: list[str]  # duration, sample sizes, invalid phases, the client's own latency
    missing: list[str]  # what the run does not hold, and why


def tell(run: Run) -> Story:
    """The sentences that a run's records support, and what the records lack."""
    verdicts, scenario = kpis.judge(run), kpis.judged_scenario(run)
    return Story(
        label=LABEL[run.profile.target],
        target_label=TEXTS["labels"][run.profile.target],
        problem=TEXTS["problem"],
        title=TEXTS["titles"][run.profile.target],
        built=_built(run, scenario),
        tiles=list(_tiles(run, verdicts, scenario)),
        kpis=verdicts.kpis,
        summary=verdicts.summary,
        cost=_statement(run, "06.cost", "The cost was not calculated"),
        teardown=_statement(run, "06.leftovers", "There is no proof that everything is deleted"),
        machine=_machine(run),
        fine_print=list(_fine_print(run, scenario)),
        missing=list(_missing(run, verdicts)),
    )


def _built(run: Run, scenario: ScenarioReport | None) -> str:
    """What one command did, from what the run has recorded; and what waits for AWS."""
    rehearsal, teardown = run.profile.target == "rehearsal", run.readable(Teardown)
    if scenario is None:
        return "No load was measured in this run."
    measured = scenario.measured
    created = f" ({teardown.destroyed} resources)" if teardown and teardown.destroyed else ""
    where = f"against an AWS emulator{created}" if rehearsal else f"on AWS{created}"
    stack = f"built the stack {where}, " if run.events("stack-apply-start") else ""
    answered = f"answered {measured.ok:,} of {measured.requests:,} requests"
    if p99 := measured.latency.get("p99"):
        answered += f" (99 % of the good answers within {kpis.format_figure(p99.ms)} ms)"
    certificate = run.readable(Zero)
    gone = ", and removed everything" if certificate and certificate.issued and stack else ""
    ticked = promises.shown(run).values()
    open_ = sum(tick.status is Status.NOT_RUN and bool(tick.at) for tick in ticked)
    waiting = f" Not yet run on AWS or a GPU: {open_} of {len(ticked)} checks wait."
    return (
        f"One command {stack}served {scenario.model} from a real NVIDIA Triton server"
        f"{' on the CPU' if rehearsal else ''}, {answered}{gone}.{waiting * rehearsal}"
    )


def _tiles(run: Run, verdicts: Verdicts, scenario: ScenarioReport | None) -> Iterator[Tile]:
    judged = {kpi.name: kpi for kpi in verdicts.kpis}
    p99, errors = judged["p99_ms"], judged["error_rate_pct"]
    value = "–" if p99.measured is None else f"{kpis.format_figure(p99.measured)} ms"
    yield Tile(value, "P99 latency", f"target {p99.target_text}: {p99.verdict}", p99.verdict)
    if (capacity := run.readable(Capacity)) and capacity.capacity_rps:
        note = f"holds a P99 of {capacity.objective_p99_ms:g} ms"
        yield Tile(f"{capacity.capacity_rps:,.0f}/s", "Sustained rate", note)
    if scenario:
        count = scenario.measured.requests - scenario.measured.ok
        note = f"of {scenario.measured.requests:,} requests: {errors.verdict}"
        yield Tile(f"{count:,}", "Errors", note, errors.verdict)
    if (teardown := run.readable(Teardown)) and teardown.destroyed:
        total = teardown.destroyed + len(teardown.standing)
        emulated = " (EMULATED)" if teardown.emulated else ""
        yield Tile(
            f"{teardown.destroyed} of {total}", "Resources removed", _searched(run) + emulated
        )


def _searched(run: Run) -> str:
    """How many kinds of resource the last scan searched, and what remains."""
    if (certificate := run.readable(Zero)) is None or not certificate.passes:
        return "not searched for leftovers"
    last = certificate.last
    kinds = len({item.kind for item in last.looked if not item.problem})
    return f"{kinds} kinds searched; {f'{len(last.left)} remain' if last.left else 'none remains'}"


def _statement(run: Run, promise_id: str, otherwise: str) -> Statement:
    ticks = promises.ticks(run).items()
    tick = next(tick for promise, tick in ticks if promise.id == promise_id)
    if tick.status in (Status.NOT_RUN, Status.FAILED):
        return Statement(f"{otherwise}: {tick.note}.", tick.status)
    emulated = tick.status is Status.EMULATED and "EMULATED" not in tick.note
    suffix = " (EMULATED account)" if emulated else ""
    return Statement(f"{tick.note[:1].upper()}{tick.note[1:]}{suffix}.", tick.status)


def _machine(run: Run) -> str:
    machine = run.manifest()["machine"]
    name = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB"
    if run.profile.target == "rehearsal":
        return f"{name}; {SHARED_CORES}. These are CPU figures of a rehearsal, not GPU figures"
    gpus = run.readable(AllocatableGpus)
    types = sorted({node.instance_type for node in gpus.nodes}) if gpus else ["unknown type"]
    return f"GPU nodes ({', '.join(types)}) in {run.profile.region}; the client ran on {name}"


def _fine_print(run: Run, scenario: ScenarioReport | None) -> Iterator[str]:
    if scenario:
        phases = [phase for phase in scenario.phases if not phase.warmup]
        seconds = sum(phase.end_s - phase.start_s for phase in phases)
        yield (
            f"{scenario.name}: {seconds:.0f} s measured, {scenario.measured.requests:,} requests, "
            f"seed {scenario.seed}, {scenario.engine}"
        )
        yield f"counts: {scenario.agreement.rstrip('.')}"
    for event in run.events("resumed"):
        yield f"resumed at {event['at']}; stages from {event['stage']} on ran again"
    report = run.readable(LoadReport)
    for played in report.scenarios if report else ():
        doubts = list(played.invalid)
        doubts += [f"{phase.name}: overloaded" for phase in played.phases if phase.overloaded]
        if played.repeated:
            doubts.append("ran twice, because the client was the bottleneck in the first run")
        if doubts:
            yield f"{played.name}: {'; '.join(doubts)}"
    if report:
        yield from (*report.remarks, *(each.sentence for each in report.calibrations))
    models = run.readable(Models)
    for model in models.models if models else ():
        random = ": speed is real, predictions mean nothing" if "random" in model.weights else ""
        yield (
            f"{model.name}: {model.network} at {model.image_size} px, {model.input}, ONNX opset "
            f"{model.opset}, {model.weights} weights{random}"
        )


def _missing(run: Run, verdicts: Verdicts) -> Iterator[str]:
    for record in RECORDS:
        expected = record is not Capacity or run.profile.load.capacity
        try:
            if run.find(record) is None and expected:
                yield f"{record.path()} is not in this run"
        except Problem as problem:
            yield problem.what
    for failure in run.events("stage-failed"):
        yield str(failure["reason"]).splitlines()[0]
    for kpi in verdicts.kpis:
        if kpi.verdict is Verdict.ABSENT:
            yield f"{kpi.title} was not measured: {kpi.note}"
