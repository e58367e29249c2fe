"""The promises of the eight stages, and their status in a run."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum

from helpers.errors import Problem
from helpers.run import Run, now


class Status(StrEnum):
    """How strong the evidence for a claim is; shown wherever the claim is made."""

    VERIFIED = "VERIFIED"
    REHEARSED = "REHEARSED"
    STATIC = "STATIC"
    NOT_REHEARSED = "NOT REHEARSED"
    FAILED = "FAILED"


MEANING = {
    Status.VERIFIED: "seen on AWS",
    Status.REHEARSED: "real component or emulator on this machine",
    Status.STATIC: "rendered and checked, not run",
    Status.NOT_REHEARSED: "nothing in this run shows it; the note gives the reason",
    Status.FAILED: "tested, and it did not hold",
}
SHOWN = (Status.VERIFIED, Status.REHEARSED, Status.STATIC)


@dataclass(frozen=True)
class Stage:
    """One of the eight stages; its notebook is `notebooks/<number>-<name>.ipynb`."""

    number: str  # two digits, in order
    name: str  # as in the notebook's file name
    title: str  # what people read
    headless: str = ""  # the promise that a run of the notebook without a person keeps

    @property
    def notebook(self) -> str:
        """File name of the stage's notebook."""
        return f"{self.number}-{self.name}.ipynb"


@dataclass(frozen=True)
class Promise:
    """One thing a stage delivers."""

    id: str  # starts with the stage's number
    wording: str  # what people read

    @property
    def stage(self) -> str:
        """The stage's number."""
        return self.id.partition(".")[0]


@dataclass(frozen=True, repr=False)
class Tick:
    """The status of a promise in a run."""

    status: Status  # how strong the evidence is
    evidence: str = ""  # a file of the run that shows it, relative to the run's folder
    note: str = ""  # what was observed, or why nothing was
    at: str = ""  # when, UTC; empty if the promise was not tested

    def __repr__(self) -> str:
        return f"{self.status}: {self.note}"


STAGES = (
    Stage("00", "setup", "Setup"),
    Stage("01", "infrastructure", "Infrastructure"),
    Stage("02", "gpu-nodes", "GPU nodes"),
    Stage("03", "triton-serving", "Triton serving"),
    Stage("04", "observability", "Observability"),
    Stage("05", "load-testing", "Load testing", headless="05.headless"),
    Stage("06", "teardown-cost-audit", "Teardown and cost audit"),
    Stage("07", "evidence", "Evidence"),
)

PROMISES = (
    Promise("00.scaffold", "Every program and library the run needs is found, with its version"),
    Promise("00.kpis", "KPIs are set: P50, P95, P99, throughput, GPU utilisation, errors, cost"),
    Promise("00.iam", "A least-privilege IAM role deploys the stack"),
    Promise("00.alarm", "A $5 billing alarm and budget watch the account"),
    Promise("00.tags", "Every resource is tagged project=gpu-e2e, owner=Nancy"),
    Promise("00.quota", "Service quotas allow the GPU nodes"),
    Promise("01.vpc", "Terraform makes a VPC with private and public subnets and NAT"),
    Promise("01.eks", "Terraform makes the EKS cluster"),
    Promise("01.irsa", "The load balancer controller has its own IAM role (IRSA)"),
    Promise("01.connectivity", "The nodes are reachable and Ready"),
    Promise("02.spot", "g4dn.xlarge spot nodes run under a maximum price"),
    Promise("02.taint", "GPU nodes carry the taint gpu:NoSchedule"),
    Promise("02.label", "GPU nodes carry the label accelerator=nvidia"),
    Promise("02.device-plugin", "Helm installs the NVIDIA device plugin"),
    Promise("02.gpu", "nvidia.com/gpu is allocatable on the node"),
    Promise("03.onnx", "ResNet50 and MobileNetV2 are exported from torch to ONNX, with parity"),
    Promise("03.image", "The Triton image is built and pushed to ECR"),
    Promise("03.helm", "A Helm chart runs Triton with GPU scheduling and probes"),
    Promise("03.ingress", "An ALB serves HTTPS with health checks"),
    Promise("03.smoke", "Triton answers an inference over HTTP and gRPC, as ONNX Runtime does"),
    Promise("04.prometheus", "Prometheus scrapes Triton and the machine"),
    Promise("04.operator", "The Prometheus Operator runs in the cluster"),
    Promise("04.dcgm", "The DCGM exporter reports the GPU"),
    Promise("04.dashboards", "Grafana dashboards show GPU, latency and throughput"),
    Promise("04.annotations", "Grafana shows Load Test Start and Stop"),
    Promise("05.scenarios", "Smoke, Spike and Soak are fired at Triton"),
    Promise("05.headless", "The load test runs without a person"),
    Promise("05.figures", "P50, P95, P99, throughput and error rate are measured"),
    Promise("05.gpu", "GPU utilisation is measured under load"),
    Promise("05.export", "Every request and the summary are stored as parquet, CSV and JSON"),
    Promise("05.snapshots", "Dashboards are kept as snapshots"),
    Promise("05.events", "Load start and stop are events on every time axis"),
    Promise("06.destroy", "terraform destroy removes the stack"),
    Promise("06.leftovers", "A scan proves that nothing is left"),
    Promise("06.cost", "A cost report gives GPU hours, spot savings and the total"),
    Promise("06.audit", "docs/cost-audit.md is written from the run"),
    Promise("07.readme", "The README tells Problem, Architecture, Run, KPIs, Cost, Teardown"),
    Promise("07.diagram", "The architecture is drawn from the plan"),
    Promise("07.graphs", "Graphs of the run are drawn"),
    Promise("07.case-study", "A one-page case study is typeset"),
    Promise("07.write-up", "A write-up is ready to post"),
    Promise("07.html", "Every notebook is exported to HTML, with one page over all"),
)


def stage(number: str) -> Stage:
    """The stage with this number, such as `"03"`; a Problem if there is none."""
    stages = {stage.number: stage for stage in STAGES}
    if number not in stages:
        raise Problem(f"Stage '{number}' does not exist.", f"Choose one of: {', '.join(stages)}.")
    return stages[number]


def promises(number: str = "") -> tuple[Promise, ...]:
    """All promises, or those of one stage."""
    return tuple(promise for promise in PROMISES if number in ("", promise.stage))


def tick(run: Run, promise_id: str, status: Status, *, evidence: str = "", note: str = "") -> Tick:
    """Store the status of a promise; a later tick replaces an earlier one.

    Every status except NOT REHEARSED and FAILED needs evidence: a file of the run. Those two
    need a note: what was observed, or why nothing was. Otherwise it is a ValueError.
    """
    if not any(promise.id == promise_id for promise in PROMISES):
        raise ValueError(f"there is no promise {promise_id!r}")
    positive = status not in (Status.NOT_REHEARSED, Status.FAILED)
    if positive and not (evidence and (run.folder / evidence).exists()):
        raise ValueError(f"{promise_id}: the evidence {evidence!r} is not in the run")
    if not positive and not note:
        raise ValueError(f"{promise_id}: {status} needs a reason")
    if status is Status.VERIFIED and run.profile.target != "aws":
        raise ValueError(f"{promise_id}: only a run on AWS can be VERIFIED")
    new = Tick(status, evidence, note, now())
    checklist = {name: asdict(tick) for name, tick in (_stored(run) | {promise_id: new}).items()}
    run.write("checklist.json", json.dumps(checklist, indent=2) + "\n")
    return new


def claim(
    run: Run, promise_id: str, *, holds: bool, evidence: str, note: str, absent: str = ""
) -> Tick:
    """Tick a promise that the run has tested: VERIFIED on AWS, REHEARSED here, or FAILED.

    `absent` says why nothing here can show it; the status is then NOT REHEARSED.
    """
    if absent:
        return tick(run, promise_id, Status.NOT_REHEARSED, evidence=evidence, note=absent)
    kept = Status.VERIFIED if run.profile.target == "aws" else Status.REHEARSED
    return tick(run, promise_id, kept if holds else Status.FAILED, evidence=evidence, note=note)


def ticks(run: Run, number: str = "") -> dict[Promise, Tick]:
    """Every promise (of one stage) with its status in the run."""
    stored = _stored(run)
    return {
        promise: stored.get(promise.id)
        or Tick(Status.NOT_REHEARSED, note=f"stage {promise.stage} has not shown it in this run")
        for promise in promises(number)
    }


def overall_status(ticked: Iterable[Tick]) -> Status:
    """The status of a run: FAILED if any promise failed, otherwise the weakest one it showed.

    Promises that nothing could show do not lower it; they are counted separately.
    """
    statuses = {tick.status for tick in ticked}
    weakest_first = (Status.FAILED, Status.REHEARSED, Status.STATIC, Status.VERIFIED)
    return next((status for status in weakest_first if status in statuses), Status.NOT_REHEARSED)


def _stored(run: Run) -> dict[str, Tick]:
    path = run.folder / "checklist.json"
    checklist = json.loads(path.read_text()) if path.is_file() else {}
    return {
        name: Tick(**tick | {"status": Status(tick["status"])}) for name, tick in checklist.items()
    }
