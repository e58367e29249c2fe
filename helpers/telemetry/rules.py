"""Recording rules and alerts: those of `k8s/rules`, a run's own facts, and promtool's verdict."""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import sh
import yaml

from helpers import programs
from helpers.cloud import costs
from helpers.cloud.stack import Stack
from helpers.errors import Problem
from helpers.paths import ROOT
from helpers.run import Run
from helpers.telemetry.records import RuleChecks

FOLDER = ROOT / "k8s" / "rules"
LIMITS = FOLDER / "limits.yaml"
TARGET, PRICE = "gpu_e2e:target", "gpu_e2e:price_usd_per_hour"
EXPIRES = "gpu_e2e:expires_timestamp_seconds"
PROMTOOL, PROMTOOL_TIMEOUT_S = "promtool", 120
LONGEST_QUOTE = 1500
_NUMBER = re.compile(r"vector\(([0-9.]+)\)")


def limits() -> dict[str, float]:
    """The limits that are not KPIs, by name, from `k8s/rules/limits.yaml`."""
    numbers = {}
    for rule in _rules([LIMITS]):
        number = _NUMBER.fullmatch(rule["expr"].strip())
        name = rule["labels"]["of"]
        if number is None:
            raise Problem(f"The limit '{name}' is not a plain number: {rule['expr']}.")
        numbers[name] = float(number[1])
    return numbers


def run_facts(run: Run) -> dict[str, Any]:
    """The facts of a run as a rule file: its targets, its plan's prices, its stack's timer.

    An unknown price gives no series, so that cost panels stay empty instead of showing zero.
    """
    fixed, gpu_node = costs.hourly_rates(run)
    constants: list[tuple[str, float, dict[str, str]]] = [
        *((TARGET, value, {"kpi": name})
          for name, value in run.profile.kpis.model_dump(exclude={"scenario"}).items()),
        *((PRICE, usd, {"item": name, "per": "stack"}) for name, usd in fixed.items()),
    ]  # fmt: skip
    if gpu_node is not None:
        constants.append((PRICE, gpu_node, {"item": "GPU node", "per": "gpu-node"}))
    rules = [{"record": record, "expr": f"vector({value:.10g})", "labels": labels}
             for record, value, labels in constants]  # fmt: skip
    stack = run.find(Stack)
    if stack and stack.dead_man_expires:
        expires = datetime.fromisoformat(stack.dead_man_expires).timestamp()
        rules.append({"record": EXPIRES, "expr": f"vector({expires:.13g})"})
    return {"groups": [{"name": "gpu-e2e-facts", "rules": rules}]}


def check(run: Run, folder: Path = FOLDER) -> RuleChecks:
    """Check every rule file and run every unit test with promtool, and record the result.

    The unit tests are in the subfolder `tests`.
    """
    program = programs.need(PROMTOOL)
    files = sorted(folder.glob("*.yaml"))
    tests = [path for path in sorted(folder.glob("tests/*.yaml")) if "tests:" in path.read_text()]
    alerts = sum("alert" in rule for rule in _rules(files))
    checks = RuleChecks(
        promtool=next(programs.version(p) for p in programs.PROGRAMS if p.name == PROMTOOL),
        recording=sum(1 for _ in _rules(files)) - alerts,
        alerts=alerts,
        tests=tuple(path.name for path in tests),
        failures=(
            *_promtool(program, "check", "rules", *map(str, files)),
            *(error for path in tests for error in _promtool(program, "test", "rules", str(path))),
        ),
    )
    return run.save(checks)


def alert_table() -> pd.DataFrame:
    """Every alert with its severity and runbook line."""
    rows = [(rule["alert"], rule["labels"]["severity"], rule["annotations"]["runbook"])
            for rule in _rules(sorted(FOLDER.glob("*.yaml"))) if "alert" in rule]  # fmt: skip
    return pd.DataFrame(rows, columns=["Alert", "Severity", "First step"])


def _promtool(program: Path, *arguments: str) -> list[str]:
    """Promtool's error message, or an empty list if it succeeds."""
    done = sh.Command(str(program))(
        *arguments, _err_to_out=True, _ok_code=[0, 1], _timeout=PROMTOOL_TIMEOUT_S,
        _return_cmd=True,
    )  # fmt: skip
    message = str(done).strip().replace(str(FOLDER), "k8s/rules")
    return [message[:LONGEST_QUOTE]] if done.exit_code else []


def _rules(files: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for path in files:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]
