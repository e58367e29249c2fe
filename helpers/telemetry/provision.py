"""The chart `k8s/charts/observability`: dashboards and rules brought into the cluster."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import sh
import yaml

from helpers import programs
from helpers.cluster import contract
from helpers.cluster.client import Cluster
from helpers.errors import Problem
from helpers.run import Run
from helpers.telemetry import dashboards, rules
from helpers.telemetry.places import CHART, DASHBOARDS, RULES
from helpers.telemetry.report import Provision

RELEASE = "observability"
VALUES = "prometheus/chart-values.yaml"
CONFIG_MAP_BYTES = 1_048_576  # Kubernetes refuses more in one ConfigMap
TIMEOUT_S, WAIT = 180, "2m"
LONGEST_QUOTE = 600


def render(run: Run) -> Provision:
    """Render the chart with the run's facts by the real helm, compare, and record it.

    Raises:
        Unavailable: There is no helm here.
        Problem: The chart does not render.
    """
    objects = rendered(run)
    maps = {key: text for one in objects if one["kind"] == "ConfigMap"
            for key, text in one["data"].items()}  # fmt: skip
    found = Provision(
        helm=next((programs.version(one) for one in programs.PROGRAMS if one.name == "helm"), ""),
        dashboards=len(maps),
        rules=sum(one["kind"] == "PrometheusRule" for one in objects),
        largest_bytes=max((len(text.encode()) for text in maps.values()), default=0),
        faults=tuple(_faults(run, objects, maps)),
    )
    run.save(found)
    return found


def rendered(run: Run) -> list[dict[str, Any]]:
    """The chart's objects for a run.

    Raises:
        Unavailable: There is no helm here.
        Problem: The chart does not render.
    """
    place = f"--namespace={contract.load().namespaces.monitoring}"
    text = _helm("template", RELEASE, str(CHART), place, f"--values={_values(run)}")
    return [one for one in yaml.safe_load_all(text) if one]


def bring(run: Run, cluster: Cluster | None) -> Provision:
    """Install the chart where there is a cluster; else render it, and compare.

    Raises:
        Unavailable: There is no helm here.
        Problem: The chart does not render, or the cluster refuses it.
    """
    return render(run) if cluster is None else install(run, cluster)


def install(run: Run, cluster: Cluster) -> Provision:
    """Install or renew the chart in the cluster, after it has been rendered and compared.

    Raises:
        Unavailable: There is no helm here.
        Problem: The cluster refuses; the sentence quotes helm.
    """
    found = render(run)
    place = [f"--kubeconfig={cluster.kubeconfig}"] if cluster.kubeconfig else []
    _helm(
        "upgrade", "--install", RELEASE, str(CHART), *place, f"--kube-context={cluster.context}",
        f"--namespace={contract.load().namespaces.monitoring}", f"--values={_values(run)}",
        "--wait", f"--timeout={WAIT}",
    )  # fmt: skip
    return found


def frame(found: Provision) -> pd.DataFrame:
    """What the chart brings, for people."""
    facts = {
        "Dashboards (ConfigMaps for Grafana's sidecar)": str(found.dashboards),
        "Rules (PrometheusRule objects)": str(found.rules),
        "Largest ConfigMap": f"{found.largest_bytes / 1024:.0f} KiB of 1,024",
        "Faults": "; ".join(found.faults) or "none",
    }
    return pd.DataFrame({"What": list(facts), "Found": list(facts.values())})


def _faults(run: Run, objects: list[dict[str, Any]], maps: dict[str, str]) -> list[str]:
    """One sentence for each thing that is not in the cluster as it is in the repository."""
    groups = {json.dumps(one["spec"]["groups"], sort_keys=True) for one in objects
              if one["kind"] == "PrometheusRule"}  # fmt: skip
    wanted = {path.stem: yaml.safe_load(path.read_text()) for path in RULES.glob("*.yaml")}
    wanted["facts"] = rules.of_run(run)
    found = [
        f"rules '{name}' are rendered otherwise"
        for name, content in wanted.items()
        if json.dumps(content["groups"], sort_keys=True) not in groups
    ]
    for name in dashboards.NAMES:
        text = maps.get(f"gpu-e2e-{name}.json", "{}")
        if json.loads(text) != json.loads((DASHBOARDS / f"{name}.json").read_text()):
            found.append(f"dashboard '{name}' is rendered otherwise")
        if len(text.encode()) > CONFIG_MAP_BYTES:
            found.append(f"dashboard '{name}' is larger than a ConfigMap may be")
    return found


def _values(run: Run) -> Path:
    return run.write(VALUES, yaml.safe_dump(rules.chart_values(run), sort_keys=False))


def _helm(*arguments: str) -> str:
    try:
        return str(sh.Command(str(programs.need("helm")))(*arguments, _timeout=TIMEOUT_S))
    except sh.ErrorReturnCode as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        # helm also tells that it followed the chart's links
        told = " ".join(line for line in lines if not line.startswith("level=INFO"))
        said = told.removeprefix("Error: ")[-LONGEST_QUOTE:]
        raise Problem(
            f"helm {arguments[0]} of the chart {RELEASE} failed: {said}.",
            "Correct the values, or repeat the step if the cluster was not reached.",
        ) from error
    except sh.TimeoutException as error:
        raise Problem(
            f"helm {arguments[0]} of {RELEASE} took longer than {TIMEOUT_S} s."
        ) from error
