"""Monitoring in the cluster: operator, DCGM exporter, and the chart with dashboards and rules."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from helpers import programs
from helpers.cluster import contract
from helpers.cluster.client import Cluster
from helpers.cluster.helm import Helm
from helpers.cluster.records import Releases
from helpers.paths import ROOT
from helpers.promises import Status, Tick, claim, tick
from helpers.run import Run
from helpers.telemetry import rules
from helpers.telemetry.access import Access
from helpers.telemetry.records import ChartCheck, Targets

CHART = ROOT / "k8s" / "charts" / "observability"
DASHBOARDS = ROOT / "k8s" / "dashboards"
RELEASE = "observability"
VALUES = "prometheus/chart-values.yaml"
CONFIG_MAP_BYTES = 1_048_576  # Kubernetes' limit for one ConfigMap
# promise → release in k8s/releases.yaml, and a query that only a running component answers
COMPONENTS = {
    "04.operator": ("kube-prometheus-stack", 'up{job=~".*operator.*"} == 1'),
    "04.dcgm": ("dcgm-exporter", "DCGM_FI_DEV_GPU_UTIL"),
}
NOT_RENDERED = "a rehearsal has no cluster, and stage 02 of this run has not rendered the chart"


def check_components(run: Run, access: Access) -> dict[str, Tick]:
    """Record whether operator and DCGM exporter run (AWS), or were rendered (rehearsal)."""
    ticks = {}
    for promise, (release, query) in COMPONENTS.items():
        releases = run.find(Releases)
        rows = releases.releases if releases else ()
        rendered = next((row for row in rows if row.name == release), None)
        if access.cluster is not None and access.prometheus is not None:
            count = len(access.prometheus.query(query))
            ticks[promise] = claim(
                run, promise, holds=count > 0, evidence=Targets.path(),
                note=f"{count} series answer '{query}'",
            )  # fmt: skip
        elif releases is None or rendered is None:
            ticks[promise] = tick(run, promise, Status.NOT_RUN, note=NOT_RENDERED)
        else:
            ticks[promise] = tick(
                run, promise, rendered.label, evidence=releases.path(), note=rendered.note
            )
    return ticks


def install_chart(run: Run, cluster: Cluster | None) -> ChartCheck:
    """Render the chart, compare it with the repository, and install it if there is a cluster.

    Raises:
        Unavailable: There is no helm on this machine.
        Problem: The chart does not render, or the cluster refuses it.
    """
    objects = render_chart(run)
    maps = {name: text for raw in objects if raw["kind"] == "ConfigMap"
            for name, text in raw["data"].items()}  # fmt: skip
    check = ChartCheck(
        helm=next(programs.version(p) for p in programs.PROGRAMS if p.name == "helm"),
        dashboards=len(maps),
        rules=sum(raw["kind"] == "PrometheusRule" for raw in objects),
        largest_bytes=max((len(text.encode()) for text in maps.values()), default=0),
        faults=tuple(_differences(run, objects, maps)),
    )
    run.save(check)
    if cluster is not None:
        Helm(cluster, run.mark).apply(RELEASE, CHART, _namespace(), [_values(run)])
    return check


def render_chart(run: Run) -> list[dict[str, Any]]:
    """The chart's objects for a run; raises `Problem` if it does not render."""
    kubernetes = run.profile.infrastructure.kubernetes_version
    text = Helm(mark=run.mark).template(RELEASE, CHART, _namespace(), [_values(run)], kubernetes)
    return [raw for raw in yaml.safe_load_all(text) if raw]


def frame(check: ChartCheck) -> pd.DataFrame:
    """What the chart contains, as a table."""
    facts = {
        "Dashboards (ConfigMaps for Grafana's sidecar)": str(check.dashboards),
        "Rules (PrometheusRule objects)": str(check.rules),
        "Largest ConfigMap": f"{check.largest_bytes / 1024:.0f} KiB of 1,024",
        "Faults": "; ".join(check.faults) or "none",
    }
    return pd.DataFrame({"What": list(facts), "Value": list(facts.values())})


def _differences(run: Run, objects: list[dict[str, Any]], maps: dict[str, str]) -> list[str]:
    """One sentence for each difference between the rendered chart and the repository."""
    groups = {json.dumps(raw["spec"]["groups"], sort_keys=True) for raw in objects
              if raw["kind"] == "PrometheusRule"}  # fmt: skip
    wanted = {path.stem: yaml.safe_load(path.read_text()) for path in rules.FOLDER.glob("*.yaml")}
    wanted["facts"] = rules.run_facts(run)
    differences = [
        f"rules '{name}' are rendered differently"
        for name, content in wanted.items()
        if json.dumps(content["groups"], sort_keys=True) not in groups
    ]
    for path in sorted(DASHBOARDS.glob("*.json")):
        text = maps.get(f"gpu-e2e-{path.name}", "{}")
        if json.loads(text) != json.loads(path.read_text()):
            differences.append(f"dashboard '{path.stem}' is rendered differently")
        if len(text.encode()) > CONFIG_MAP_BYTES:
            differences.append(f"dashboard '{path.stem}' is too large for a ConfigMap")
    return differences


def _namespace() -> str:
    return contract.load().namespaces.monitoring


def _values(run: Run) -> Path:
    return run.write(VALUES, yaml.safe_dump({"facts": rules.run_facts(run)}, sort_keys=False))
