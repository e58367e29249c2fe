"""What page, case study, write-up and README tell, in the same words: drawn from the records."""

from collections.abc import Iterator
from dataclasses import dataclass

from helpers import promises
from helpers.errors import Problem
from helpers.evidence import kpis
from helpers.evidence.kpis import Kpi, Verdict
from helpers.load.report import Calibration, Capacity, LoadReport, ScenarioReport
from helpers.profile import LABEL
from helpers.promises import Status
from helpers.run import Run
from helpers.serving.endpoint import Endpoint
from helpers.serving.reports import Models
from helpers.telemetry.report import Telemetry

PROBLEM = (
    "GPU inference demos tend to stop at “it answers”. What a team has to know comes after that: "
    "how fast are the slowest answers under load that does not wait for the server, what does it "
    "cost, and is everything gone afterwards? Latency figures are easily wrong, forgotten "
    "resources bill for weeks, and a screenshot proves little."
)
LABELS = {
    "rehearsal": "REHEARSAL: CPU figures of one shared machine, no GPU figures",
    "aws": "AWS",
}
FIRST = ("p99_ms", "throughput_rps", "error_rate_pct", "gpu_utilisation_pct")
KINDS = (LoadReport, Capacity, Telemetry, Models, Endpoint)


@dataclass(frozen=True)
class Told:
    """A thing that is said, and how much it is worth.

    Attributes:
        text: One sentence.
        status: Of the promise behind it.
    """

    text: str
    status: Status


@dataclass(frozen=True)
class Story:
    """Everything that is told of a run.

    Attributes:
        label: Which target, and what its figures are not.
        title: Of page and case study.
        built: What was built and measured, one sentence.
        first: The four figures that matter.
        kpis: Every target with its verdict.
        summary: How many targets were met.
        cost: What it cost.
        gone: Whether anything is left.
        machine: What the figures were measured on, and who shared it.
        print: The small print: duration, samples, invalid phases, the client's own share.
        missing: What cannot be told, and why.
    """

    label: str
    title: str
    built: str
    first: tuple[Kpi, ...]
    kpis: tuple[Kpi, ...]
    summary: str
    cost: Told
    gone: Told
    machine: str
    print: tuple[str, ...]
    missing: tuple[str, ...]


def tell(run: Run) -> Story:
    """What a run's records allow to be told; what they lack is said to be missing."""
    verdicts = kpis.judge(run)
    scenario = kpis.judged_scenario(run)
    return Story(
        label=LABEL[run.profile.target],
        title="A GPU inference service, measured"
        + (": the rehearsal" if run.profile.target == "rehearsal" else ""),
        built=_built(run, scenario),
        first=tuple(one for one in verdicts.kpis if one.name in FIRST),
        kpis=verdicts.kpis,
        summary=verdicts.summary,
        cost=_told(run, "06.cost", "The cost was not reckoned"),
        gone=_told(run, "06.leftovers", "Nothing proves that nothing is left"),
        machine=_machine(run),
        print=tuple(_small_print(run, scenario)),
        missing=tuple(_missing(run)),
    )


def _built(run: Run, scenario: ScenarioReport | None) -> str:
    endpoint = run.readable(Endpoint)
    if scenario is None:
        return "No load was measured in this run."
    measured = scenario.measured
    server = f" ({endpoint.server})" if endpoint else ""
    return (
        f"A real Triton Inference Server{server} answered {measured.ok:,} of "
        f"{measured.requests:,} requests to {scenario.model} in the “{scenario.name}” scenario, "
        "whether or not the server was ready for them."
    )


def _told(run: Run, promise: str, otherwise: str) -> Told:
    tick = next(one for key, one in promises.ticks(run).items() if key.id == promise)
    if tick.status in (Status.NOT_REHEARSED, Status.FAILED):
        return Told(f"{otherwise}: {tick.note}.", tick.status)
    unsaid = tick.status is Status.REHEARSED and "EMULATED" not in tick.note
    where = " (EMULATED account)" if unsaid else ""
    return Told(f"{tick.note[:1].upper()}{tick.note[1:]}{where}.", tick.status)


def _machine(run: Run) -> str:
    machine = run.manifest()["machine"]
    where = (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, which "
        "client, server and telemetry shared"
    )
    if run.profile.target == "rehearsal":
        return f"{where}; these are CPU figures of a rehearsal, not GPU figures"
    return f"GPU nodes in {run.profile.region}; the client ran on {where.partition(', which')[0]}"


def _small_print(run: Run, scenario: ScenarioReport | None) -> Iterator[str]:
    if scenario:
        length = sum(one.end_s - one.start_s for one in scenario.phases if not one.warmup)
        yield (
            f"{scenario.name}: {length:.0f} s measured, {scenario.measured.requests:,} requests, "
            f"seed {scenario.seed}, {scenario.engine}"
        )
        yield f"counts: {scenario.agreement.rstrip('.')}"
    report = run.readable(LoadReport)
    for one in report.scenarios if report else ():
        doubts = [*one.invalid, *(f"{p.name}: overloaded" for p in one.phases if p.overloaded)]
        if one.repeated:
            doubts.append("fired twice, as the client was the bottleneck in the first firing")
        if doubts:
            yield f"{one.name}: {'; '.join(doubts)}"
    calibrations: tuple[Calibration, ...] = report.calibrations if report else ()
    yield from (one.sentence for one in calibrations)
    models = run.readable(Models)
    for network in models.models if models else ():
        random = ": speed is real, predictions mean nothing" if "random" in network.weights else ""
        yield (
            f"{network.name}: {network.network} at {network.image_size} px, ONNX opset "
            f"{network.opset}, {network.weights} weights{random}"
        )


def _missing(run: Run) -> Iterator[str]:
    for kind in KINDS:
        try:
            if run.find(kind) is None and not (kind is Capacity and not run.profile.load.capacity):
                yield f"{kind.path()} is not in this run"
        except Problem as problem:
            yield problem.what
    for failure in run.events("stage-failed"):
        yield str(failure["reason"]).splitlines()[0]
    for one in kpis.judge(run).kpis:
        if one.verdict is Verdict.ABSENT:
            yield f"{one.title} was not measured: {one.note}"
