"""The rules judged by promtool: their syntax, and their unit tests."""

from pathlib import Path

import pandas as pd
import sh

from helpers import programs
from helpers.run import Run
from helpers.telemetry import rules
from helpers.telemetry.places import RULES
from helpers.telemetry.report import Rules

PROMTOOL = "promtool"
TIMEOUT_S = 120
LONGEST_QUOTE = 1500


def check(run: Run) -> Rules:
    """Have promtool check every rule file and run every unit test, and record what it says.

    Raises:
        Unavailable: There is no promtool here.
    """
    found = judged()
    run.save(found)
    return found


def judged(folder: Path = RULES) -> Rules:
    """What promtool says of a folder of rules, and of the unit tests in its folder `tests`.

    Raises:
        Unavailable: There is no promtool here.
    """
    program = programs.need(PROMTOOL)
    files = sorted(folder.glob("*.yaml"))
    tests = [path for path in sorted(folder.glob("tests/*.yaml")) if "tests:" in path.read_text()]
    failures = [
        *_say(program, "check", "rules", *map(str, files)),
        *(said for path in tests for said in _say(program, "test", "rules", str(path))),
    ]
    kinds = rules.kinds(files)
    return Rules(
        promtool=next(
            (programs.version(one) for one in programs.PROGRAMS if one.name == PROMTOOL), ""
        ),
        recording=kinds["record"],
        alerts=kinds["alert"],
        tests=tuple(path.name for path in tests),
        failures=tuple(failures),
    )


def frame() -> pd.DataFrame:
    """Every alert with its runbook line, for people."""
    found = rules.runbook()
    return pd.DataFrame(
        {
            "Alert": list(found),
            "Severity": [one["severity"] for one in found.values()],
            "First step": [one["runbook"] for one in found.values()],
        }
    )


def _say(program: Path, *arguments: str) -> list[str]:
    """What promtool finds wrong; nothing where it finds nothing."""
    said = sh.Command(str(program))(
        *arguments, _err_to_out=True, _ok_code=[0, 1], _timeout=TIMEOUT_S, _return_cmd=True
    )
    if said.exit_code == 0:
        return []
    text = str(said).strip().replace(str(RULES), "k8s/rules")
    return [text[:LONGEST_QUOTE]]
