"""What Triton's Python backend costs over bare ONNX Runtime, and which setting serves best."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import machine
from benchmarks.figures import Result, ratios
from benchmarks.play import Phase, play, scenario
from benchmarks.server import Server, serving, temporary_run
from helpers.errors import Problem
from helpers.paths import MODEL, TOOLS
from helpers.processes import MARK
from helpers.profile import ServingSettings
from helpers.run import Run
from helpers.serving import models, repository
from helpers.serving.records import ModelFacts, Models

REPETITIONS = 5
SWEEP_REPETITIONS = 2
RESNET, MOBILENET = "resnet50", "mobilenetv2"
BARE_S = {RESNET: 2.0, MOBILENET: 1.0}
SERVED_S = {RESNET: 3.0, MOBILENET: 1.0}
IN_FLIGHT = 8
SPIKE, SPIKE_S = 300.0, 2.0  # requests per second of the rehearsal's spike
GOAL = ">= 0.95"


@dataclass(frozen=True)
class Setting:
    """How a model is served.

    Attributes:
        instances: Processes that run it.
        threads: Of ONNX Runtime in each.
        max_batch: Most images an execution takes; 1 is without batching.
        delay_us: How long a batch waits for more, microseconds.
    """

    instances: int
    threads: int
    max_batch: int
    delay_us: int

    @property
    def label(self) -> str:
        """The suffix of the served model's name."""
        return f"i{self.instances}-t{self.threads}-b{self.max_batch}-d{self.delay_us}"

    @property
    def words(self) -> str:
        """The setting as text."""
        waiting = f" after {self.delay_us / 1000:g} ms" if self.delay_us else ""
        batching = (
            f"batches up to {self.max_batch}{waiting}" if self.max_batch > 1 else "no batches"
        )
        return f"instances {self.instances}, threads {self.threads}, {batching}"


PLAIN = tuple(Setting(*counts, 1, 0) for counts in ((1, 1), (2, 1), (1, 2)))
BATCHED = tuple(Setting(setting.instances, setting.threads, 32, 0) for setting in PLAIN)
PROFILES = BATCHED[0]  # the setting in profiles/rehearsal.yaml
SWEEP = (*PLAIN, *BATCHED, Setting(1, 1, 32, 1000))
COMPARED = {RESNET: (GOAL, PLAIN[:2]), MOBILENET: ("", PLAIN[:1])}


def measure() -> Result:
    """Serve both networks with every setting at once, and load one model at a time."""
    with temporary_run("rehearsal") as run:
        result = Result("serving", machine.described(run.manifest()))
        exported = models.prepare(run)
        with serving(run, partial(_build, run, exported)) as server:
            family = server.processes()
            before = machine.snapshot(family)
            for name, (goal, settings) in COMPARED.items():
                for setting in settings:
                    _over_bare(result, server, _facts(exported, name), setting, goal)
            _sweep_small(result, server)
            _sweep_honest(result, server)
            # clients and bare ONNX Runtime start and stop, so they count as other processes
            result.conditions["all"] = [machine.conditions(before, machine.snapshot(family))]
    return result


def _facts(exported: Models, name: str) -> ModelFacts:
    return next(model for model in exported.models if model.name == name)


def _build(run: Run, exported: Models, folder: Path) -> None:
    """Each network once for each setting, with the project's own configuration and code."""
    for facts in exported.models:
        for setting in SWEEP:
            name = f"{facts.name}-{setting.label}"
            version = folder / name / "1"
            version.mkdir(parents=True)
            (version / "model.onnx").symlink_to(facts.onnx_file())
            shutil.copyfile(MODEL / "backend/model.py", version / "model.py")
            wanted = ServingSettings(
                instances=setting.instances,
                threads=setting.threads,
                max_batch_size=setting.max_batch,
                queue_delay_us=setting.delay_us,
            )
            renamed = facts.model_copy(update={"name": name})
            text = repository.config(renamed, wanted, "python", "cpu")
            (folder / name / "config.pbtxt").write_text(text)


def _over_bare(
    result: Result, server: Server, facts: ModelFacts, setting: Setting, goal: str
) -> None:
    """Single images through Triton and through bare ONNX Runtime, in turn."""
    name, bare, served = facts.name, [], []
    for _ in range(REPETITIONS):
        bare.append(_bare(server, facts, setting))
        # one more request than instances, so that no instance waits for the client
        served.append(_loaded(server, name, setting, setting.instances + 1)[0].rate)
    what = f"{name} at {facts.image_size} px, {setting.words}"
    result.add(
        f"Triton over bare ONNX Runtime: {what}",
        ratios(served, bare),
        "ratio",
        goal,
        f"bare {median(bare):.4g} images/s, Triton {median(served):.4g}; the difference is "
        f"{1000 * setting.instances * (1 / median(served) - 1 / median(bare)):.2g} ms an image",
    )


def _bare(server: Server, facts: ModelFacts, setting: Setting) -> float:
    """Images per second of as many processes as there are instances, one image at a time."""
    path = facts.onnx_file()
    program = Path(__file__).with_name("bare.py")
    arguments = [str(path), "1", str(setting.threads), str(BARE_S[facts.name])]
    started = [
        subprocess.Popen(
            [TOOLS / "server/bin/python", program, *arguments],
            env=os.environ | {MARK: server.run.mark},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(setting.instances)
    ]
    printed = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise Problem("Bare ONNX Runtime failed.")
    return sum(float(line) for line in printed)


def _loaded(
    server: Server, name: str, setting: Setting, in_flight: int, *then: dict[str, Any]
) -> list[Phase]:
    """Figures under full load and in the phases after it, without warm-up."""
    closed = {"arrivals": "closed", "concurrency": in_flight}
    warm = {**closed, "duration_s": 0.5, "warmup": True}
    full = {**closed, "duration_s": SERVED_S[name]}
    return play(server, scenario(f"{name}-{setting.label}", warm, full, *then))[1:]


def _sweep_small(result: Result, server: Server) -> None:
    """Every setting under full load and in the rehearsal's spike, with the spike's model."""
    spike = {"arrivals": "poisson", "rate": SPIKE, "duration_s": SPIKE_S}
    measured: dict[Setting, list[list[Phase]]] = {setting: [] for setting in SWEEP}
    for _ in range(SWEEP_REPETITIONS):
        for setting, phases in measured.items():
            phases.append(_loaded(server, MOBILENET, setting, IN_FLIGHT, spike))
    for setting, phases in measured.items():
        _describe(result, MOBILENET, setting, [full for full, _ in phases])
    for setting, phases in measured.items():
        metric = f"{MOBILENET}, P99 at {SPIKE:g} requests/s: {setting.words}"
        p99_ms = [spiked.p99_us / 1000 for _, spiked in phases]
        result.add(metric, p99_ms, "ms", note="the profile" if setting == PROFILES else "")


def _sweep_honest(result: Result, server: Server) -> None:
    """Every setting under full load, with the large network."""
    for setting in SWEEP:
        _describe(result, RESNET, setting, _loaded(server, RESNET, setting, IN_FLIGHT))


def _describe(result: Result, name: str, setting: Setting, phases: list[Phase]) -> None:
    slow_ms = median(phase.p99_us for phase in phases) / 1000
    which = "; the profile" if setting == PROFILES else ""
    result.add(
        f"{name}, {IN_FLIGHT} in flight: {setting.words}",
        [phase.rate for phase in phases],
        "images/s",
        note=f"P99 {slow_ms:.4g} ms{which}",
    )
