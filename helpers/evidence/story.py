"""The sentences that page, case study, write-up and README share, taken from the records."""

from collections.abc import Iterator
from typing import NamedTuple

from helpers import promises
from helpers.errors import Problem
from helpers.evidence import kpis
from helpers.evidence.kpis import Kpi, Verdict, Verdicts
from helpers.load.records import Capacity, LoadReport, ScenarioReport
from helpers.profile import LABEL
from helpers.promises import Status
from helpers.run import Run
from helpers.serving.records import Endpoint, Models
from helpers.telemetry.records import Telemetry

PROBLEM = (
    "Most GPU inference demos stop once the server answers. A team needs to know more: how slow "
    "the slowest answers are under load that does not wait for the server, what it costs, and "
    "whether everything is deleted afterwards. Latency is easily measured wrongly, forgotten "
    "resources cost money for weeks, and a screenshot proves little."
)
LABELS = {
    "rehearsal": "REHEARSAL: CPU figures of one shared machine, no GPU figures",
    "aws": "AWS",
}
SHARED_CORES = "client, server and monitoring ran on the same cores"
HEADLINE = ("p99_ms", "throughput_rps", "error_rate_pct", "gpu_utilisation_pct")
RECORDS = (LoadReport, Capacity, Telemetry, Models, Endpoint)


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
    headline: list[Kpi]  # the four figures that matter most
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
    rehearsal = run.profile.target == "rehearsal"
    return Story(
        label=LABEL[run.profile.target],
        target_label=LABELS[run.profile.target],
        problem=PROBLEM,
        title=f"A GPU inference service, measured{': the rehearsal' if rehearsal else ''}",
        built=_built(run, scenario),
        headline=[kpi for kpi in verdicts.kpis if kpi.name in HEADLINE],
        kpis=verdicts.kpis,
        summary=verdicts.summary,
        cost=_statement(run, "06.cost", "The cost was not calculated"),
        teardown=_statement(run, "06.leftovers", "There is no proof that everything is deleted"),
        machine=_machine(run),
        fine_print=list(_fine_print(run, scenario)),
        missing=list(_missing(run, verdicts)),
    )


def _built(run: Run, scenario: ScenarioReport | None) -> str:
    if scenario is None:
        return "No load was measured in this run."
    endpoint, measured = run.readable(Endpoint), scenario.measured
    return (
        f"A real Triton Inference Server{f' ({endpoint.server})' if endpoint else ''} answered "
        f"{measured.ok:,} of {measured.requests:,} requests to {scenario.model} in the "
        f"“{scenario.name}” scenario. Requests were sent on schedule, whether or not the server "
        "was ready for them."
    )


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
    return f"GPU nodes in {run.profile.region}; the client ran on {name}"


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
