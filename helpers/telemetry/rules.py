"""The rules: those of `k8s/rules`, and a run's own facts that they compare with."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from helpers.cloud import costs
from helpers.cloud.stack import Stack
from helpers.errors import Problem
from helpers.run import Run
from helpers.scenario import Kpis
from helpers.telemetry.places import RULES

LIMITS = RULES / "limits.yaml"
TARGET, PRICE, EXPIRES = (
    "gpu_e2e:target",
    "gpu_e2e:price_usd_per_hour",
    ("gpu_e2e:expires_timestamp_seconds"),
)
_NUMBER = re.compile(r"vector\(([0-9.]+)\)")


def limits() -> dict[str, float]:
    """The limits that no KPI holds, by name, as `k8s/rules/limits.yaml` states them.

    Raises:
        Problem: A rule of that file is no plain number.
    """
    found = {}
    for rule in _read(LIMITS.read_text())["groups"][0]["rules"]:
        number = _NUMBER.fullmatch(rule["expr"].strip())
        if number is None:
            raise Problem(f"The limit '{rule['labels']['of']}' is no plain number: {rule['expr']}.")
        found[rule["labels"]["of"]] = float(number[1])
    return found


def facts(
    kpis: Kpis, *, stack: Mapping[str, float], gpu_node: float | None, expires: float | None
) -> dict[str, Any]:
    """A run's own facts as recording rules: targets, prices, and when the timer ends it.

    Args:
        kpis: The targets of the run's profile.
        stack: Fixed part → US dollars an hour, such as `{"control plane": 0.1}`.
        gpu_node: US dollars an hour of one GPU node; None where no price is known.
        expires: When the stack's timer scales the GPU nodes to zero, seconds since 1970; None
            where there is no timer.

    Returns:
        A rule file's content. Where no price is known there is no such series: cost panels are
        then empty rather than zero.
    """
    targets = kpis.model_dump(exclude={"scenario"})
    rules = [_constant(TARGET, value, kpi=name) for name, value in targets.items()]
    rules += [_constant(PRICE, usd, item=name, per="stack") for name, usd in stack.items()]
    if gpu_node is not None:
        rules.append(_constant(PRICE, gpu_node, item="GPU node", per="gpu-node"))
    if expires is not None:
        rules.append(_constant(EXPIRES, expires))
    return {"groups": [{"name": "gpu-e2e-facts", "rules": rules}]}


def of_run(run: Run, expires: float | None = None) -> dict[str, Any]:
    """The facts of a run: its targets, its plan's prices, its stack's timer.

    Args:
        run: The run.
        expires: Stands for the timer where there is no stack, seconds since 1970.
    """
    stack = run.find(Stack)
    if stack and stack.dead_man_expires:
        expires = datetime.fromisoformat(stack.dead_man_expires).timestamp()
    fixed, gpu_node = costs.hourly_rates(run)
    return facts(
        run.profile.kpis,
        stack=fixed,
        gpu_node=gpu_node,
        expires=expires,
    )


def chart_values(run: Run) -> dict[str, Any]:
    """Values of the chart `k8s/charts/observability` for a run."""
    return {"facts": of_run(run)}


def runbook() -> dict[str, dict[str, str]]:
    """Alert → its severity, summary and runbook line."""
    return {
        rule["alert"]: {
            "severity": rule["labels"]["severity"],
            "summary": rule["annotations"]["summary"],
            "runbook": rule["annotations"]["runbook"],
        }
        for path in sorted(RULES.glob("*.yaml"))
        for group in _read(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }


def kinds(files: Iterable[Path]) -> Counter[str]:
    """How many rules of each kind (`record`, `alert`) rule files hold."""
    return Counter(
        "alert" if "alert" in rule else "record"
        for path in files
        for group in _read(path.read_text())["groups"]
        for rule in group["rules"]
    )


def _constant(record: str, value: float, **labels: str) -> dict[str, Any]:
    return {"record": record, "expr": f"vector({value:.10g})", "labels": labels} if labels else {
        "record": record, "expr": f"vector({value:.13g})"
    }  # fmt: skip


def _read(text: str) -> Any:
    return yaml.safe_load(text)
