"""The checks of a chart before it is installed, in their order, as one report.

Lint, render, schema, rules, placement, rollout, selection; and the API server's own dry run where
somebody has one. What needs the real helm is REAL; what reads its output is STATIC.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from helpers.cluster import (
    around,
    contract,
    daemons,
    placement,
    planned,
    rendering,
    rollout,
    rules,
    schema,
)
from helpers.cluster.contract import Contract
from helpers.cluster.daemons import Standing
from helpers.cluster.findings import Finding, Line
from helpers.cluster.manifest import parse
from helpers.cluster.objects import Objects, Pod, Resource
from helpers.cluster.planned import Cluster
from helpers.cluster.rendering import CHART
from helpers.cluster.reports import ChartChecks
from helpers.cluster.rules.scope import Around, Scope
from helpers.errors import Problem, Unavailable
from helpers.paths import ROOT
from helpers.run import Run

RELEASE = "triton"
RENDERED = "cluster/rendered/triton.yaml"
NO_SERVER = "no kubeconfig was given: no API server has seen the objects"
NOT_RENDERED = "helm did not render the chart"


@dataclass(frozen=True)
class Answer:
    """What a real API server says of objects that it is asked to take.

    Attributes:
        refused: What it does not take.
        unknown: Objects whose kind it does not have.
    """

    refused: tuple[Finding, ...]
    unknown: tuple[Resource, ...] = ()


# Sends rendered objects to a real API server.
DryRun = Callable[[Sequence[Mapping[str, Any]]], Answer]


@dataclass(frozen=True)
class Setting:
    """What objects are checked against.

    Attributes:
        contract: What all agree on.
        cluster: The planned nodes.
        kubernetes: Version of the control plane, such as `1.35`.
        around: What stands in the cluster before.
        standing: DaemonSets of the other releases, which take room of the nodes.
        house: Whether this project's own rules apply too, as for its own charts.
    """

    contract: Contract
    cluster: Cluster
    kubernetes: str
    around: Around = field(default_factory=Around)
    standing: tuple[Standing, ...] = ()
    house: bool = True

    @property
    def pods(self) -> tuple[Pod, ...]:
        """The templates of the standing DaemonSets."""
        return tuple(one.pod for one in self.standing)


def run(
    run: Run,
    *,
    gpu_values: Sequence[Path] = (),
    cpu_values: Sequence[Path] = (),
    chart: Path = CHART,
    dry_run: DryRun | None = None,
) -> ChartChecks:
    """Check Triton's chart for a run, and store the record `ChartChecks`.

    Args:
        run: The run; its plan (`terraform/plan.json`) tells the nodes, else contract and profile.
        gpu_values: Values files after the contract; none takes the chart's example.
        cpu_values: Likewise without a GPU; none takes the chart's `values-cpu.yaml`.
        chart: Folder of the chart.
        dry_run: Asks a real API server; None where there is none.

    Raises:
        Problem: The contract, the plan or the lock file of releases cannot be read.
    """
    setting = of_run(run)
    variants = {
        "gpu": tuple(gpu_values) or (chart / "ci" / "gpu-values.yaml",),
        "cpu": tuple(cpu_values) or (chart / "values-cpu.yaml",),
    }
    absent, helm, lines = "", "", [agreement(setting), room(setting)]
    placements: tuple[placement.Placement, ...] = ()
    try:
        for name, values in variants.items():
            made = rendered(chart, (contract.CONTRACT, *values), setting, name)
            lines += made.lines
            helm = made.helm
            lines += _checked(made.objects, setting, name, dry_run)
            if name == "gpu" and made.objects:
                placements = placement.place(made.objects, setting.cluster.nodes, setting.pods)
                bodies = [dict(one.body) for one in made.objects]
                run.write(RENDERED, yaml.safe_dump_all(bodies, sort_keys=False))
    except Unavailable as reason:
        absent = str(reason)
    record = ChartChecks(
        chart=str(chart.relative_to(ROOT) if chart.is_relative_to(ROOT) else chart.name),
        kubernetes=setting.kubernetes,
        helm=helm,
        nodes_from=setting.cluster.source,
        lines=tuple(lines),
        placements=placements,
        absent=absent,
    )
    run.save(record)
    return record


def of_run(run: Run) -> Setting:
    """What a run's objects are checked against: its contract, its planned nodes, its version.

    Raises:
        Problem: The contract, the plan or the lock file of releases cannot be read.
    """
    agreed, chosen = contract.load(), run.profile.infrastructure
    plan = run.folder / planned.PLAN
    cluster = (
        planned.from_plan(plan, agreed, run.profile.region)
        if plan.is_file()
        else planned.from_contract(agreed, chosen, run.profile.region)
    )
    before, standing = around.before(RELEASE), daemons.of_run(run, RELEASE, agreed)
    return Setting(agreed, cluster, chosen.kubernetes_version, before, standing)


def agreement(setting: Setting) -> Line:
    """Whether the planned GPU nodes are what the contract says."""
    differ = planned.disagreements(setting.cluster, setting.contract)
    findings = tuple(
        Finding(object=setting.cluster.source, field="gpu nodes", wrong=what, right="the contract")
        for what in differ
    )
    count = len(setting.cluster.nodes)
    seen = f"{count} nodes from {setting.cluster.source}, {setting.cluster.free_gpus} GPUs"
    return Line(check="nodes", values="", label="STATIC", seen=seen, findings=findings)


def room(setting: Setting) -> Line:
    """What others take of a planned GPU node before Triton comes, and what is left."""
    return daemons.line(setting.standing, setting.cluster, setting.contract)


@dataclass(frozen=True)
class Made:
    """A rendering with its lines; no objects where helm refused."""

    objects: Objects | None
    lines: tuple[Line, ...]
    helm: str


def rendered(chart: Path, values: Sequence[Path], setting: Setting, name: str) -> Made:
    """Lint and render a chart with helm.

    Raises:
        Unavailable: There is no helm on this machine.
    """
    namespace = setting.contract.namespaces.triton
    linted = rendering.lint(chart, values, setting.kubernetes)
    made = rendering.template(
        chart, values, release=RELEASE, namespace=namespace, kubernetes=setting.kubernetes
    )
    faults, objects = made.faults, None
    if not faults:
        try:
            objects = Objects.of(parse(made.manifest), namespace)
        except Problem as error:
            faults = (Finding(object="rendering", field="", wrong=error.what, right="valid YAML"),)
    seen = f"{len(objects.all)} objects" if objects else "nothing was rendered"
    lines = (
        Line(check="lint", values=name, label="REAL", seen="helm lint --strict", findings=linted),
        Line(check="render", values=name, label="REAL", seen=seen, findings=faults),
    )
    return Made(objects, lines, made.helm)


def _checked(
    found: Objects | None, setting: Setting, name: str, dry_run: DryRun | None
) -> list[Line]:
    if found is None:
        return [
            Line(check=check, values=name, label="NOT CHECKED", seen=NOT_RENDERED)
            for check in (*_STATIC, "dry run")
        ]
    lines = list(examine(found, setting, name))
    if dry_run is None:
        return [*lines, Line(check="dry run", values=name, label="NOT CHECKED", seen=NO_SERVER)]
    return [*lines, _asked(found, setting, name, dry_run)]


def _asked(found: Objects, setting: Setting, name: str, dry_run: DryRun) -> Line:
    answer = dry_run([one.body for one in found])
    asked, findings, to_come = len(found.all), list(answer.refused), ""
    for one in answer.unknown:
        if release := setting.around.crd_groups.get(one.group):
            asked -= 1
            to_come += f"; not {one.kind}, whose definition comes with {release}"
        else:
            no_such = "the API server has no such kind"
            findings.append(one.fault(one["kind"], no_such, "a kind that it has"))
    seen = f"a real API server's answer to {asked} objects{to_come}"
    return Line(check="dry run", values=name, label="REAL", seen=seen, findings=tuple(findings))


_STATIC = ("schema", "rules", "placement", "rollout", "selection")


def examine(found: Objects, setting: Setting, name: str = "") -> tuple[Line, ...]:
    """All checks of rendered objects that need neither helm nor a server, a line each.

    Args:
        found: The objects of one rendering.
        setting: What they are checked against.
        name: Of which values, as the report shows it.
    """
    scope = Scope(found, setting.contract, setting.around)
    ours = (*rules.API, *rules.HOUSE) if setting.house else rules.API
    nodes = setting.cluster.nodes
    pods = placement.place(found, nodes, setting.pods)
    placed = sum(bool(one.node) for one in pods)
    gpus = f"{setting.cluster.free_gpus} GPUs now, {setting.cluster.most_gpus} at most"
    others = f", beside {len(setting.standing)} other DaemonSets" if setting.standing else ""
    custom = schema.unchecked(found)
    beside = f"; {', '.join(custom)}: no schema, rules alone" if custom else ""
    results = {
        "schema": (f"Kubernetes {setting.kubernetes}, strict{beside}",
                   tuple(schema.faults(found, setting.kubernetes))),
        "rules": (f"{len(ours)} rules over {len(found.all)} objects", rules.judge(scope, ours)),
        "placement": (f"{placed} of {len(pods)} pods find one of {len(nodes)} planned nodes"
                      f"{others}",
                      tuple(placement.faults(found, nodes, setting.pods))),
        "rollout": (gpus, tuple(rollout.faults(found, setting.cluster, setting.contract))),
        "selection": (f"{len(rules.SELECTION)} kinds of reference",
                      rules.judge(scope, rules.SELECTION)),
    }  # fmt: skip
    return tuple(
        Line(check=check, values=name, label="STATIC", seen=seen, findings=findings)
        for check, (seen, findings) in results.items()
    )


def findings(bodies: Sequence[Mapping[str, Any]], setting: Setting) -> tuple[Finding, ...]:
    """Every fault of some objects, as `examine` finds them."""
    found = Objects.of(bodies, setting.contract.namespaces.triton)
    return tuple(one for line in examine(found, setting) for one in line.findings)
