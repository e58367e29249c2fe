"""Helm on this machine: lint and template, and what it refuses as findings."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sh
import yaml

from helpers import programs
from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding, meant
from helpers.errors import Problem
from helpers.paths import ROOT

CHART = ROOT / "k8s" / "charts" / "triton"
TIMEOUT_S = 60
# helm's JSON schema validator: "- at '/image/digest': got number, want string"
_AT = re.compile(r"^\s*- at '(?P<place>[^']*)': (?P<what>.+)$")
_EXTRA = re.compile(r"additional propert(?:y|ies) (?P<names>.+) not allowed")
# the chart's own `fail`: "execution error at (triton/templates/x.yaml:1:4): sentence"
_FAIL = re.compile(r"execution error at \([^)]*\): (?P<what>.+)$")
_ERROR = re.compile(r"^(Error: |\[ERROR\] )+")


@dataclass(frozen=True)
class Rendering:
    """What helm made of a chart, or what it refused.

    Attributes:
        manifest: The objects as YAML; empty where helm refused.
        faults: What it refused.
        helm: Version of the program.
    """

    manifest: str
    faults: tuple[Finding, ...]
    helm: str


def lint(chart: Path, values: Sequence[Path], kubernetes: str) -> tuple[Finding, ...]:
    """What `helm lint --strict` refuses.

    Raises:
        Unavailable: There is no helm on this machine.
    """
    said = _helm(chart, "lint", "--strict", *_files(values), "--kube-version", kubernetes, chart)
    return said.faults


def template(
    chart: Path, values: Sequence[Path], *, release: str, namespace: str, kubernetes: str
) -> Rendering:
    """Render a chart, hooks and tests included.

    Raises:
        Unavailable: There is no helm on this machine.
    """
    return _helm(
        chart,
        "template", release, chart, "--namespace", namespace, "--include-crds",
        "--kube-version", kubernetes, *_files(values),
    )  # fmt: skip


def _files(values: Sequence[Path]) -> list[str | Path]:
    return [part for path in values for part in ("--values", path)]


def _helm(chart: Path, *arguments: str | Path) -> Rendering:
    program = programs.need("helm")
    version = str(sh.Command(str(program))("version", "--short", _timeout=TIMEOUT_S)).strip()
    try:
        said = sh.Command(str(program))(*map(str, arguments), _timeout=TIMEOUT_S)
    except sh.TimeoutException as error:
        raise Problem(f"helm {arguments[0]} takes more than {TIMEOUT_S} s.") from error
    except sh.ErrorReturnCode as error:
        text = error.stdout.decode(errors="replace") + error.stderr.decode(errors="replace")
        return Rendering("", explained(text, chart), version)
    return Rendering(str(said), (), version)


def explained(text: str, chart: Path = CHART) -> tuple[Finding, ...]:
    """What helm said when it refused, as findings: which value, what is wrong, what is allowed."""
    found = [*_of_schema(text, _defaults(chart)), *_of_templates(text)]
    if found:
        return tuple(dict.fromkeys(found))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.search(line)] or lines[-1:]
    what = _ERROR.sub("", errors[0]).strip() if errors else "helm failed without a word"
    return (Finding(object="chart", field="", wrong=what[:400], right="a chart that helm takes"),)


def _defaults(chart: Path) -> Field:
    try:
        return Field(yaml.safe_load((chart / "values.yaml").read_text()))
    except (OSError, yaml.YAMLError):
        return Field(None)


def _of_schema(text: str, defaults: Field) -> list[Finding]:
    found = []
    for line in text.splitlines():
        match = _AT.match(line)
        if not match or match["what"].endswith("failed"):
            continue
        steps = [part for part in match["place"].split("/") if part]
        place = ".".join(steps)
        extra = _EXTRA.search(match["what"])
        for name in re.findall(r"'([^']+)'", extra["names"]) if extra else ():
            right = _known(name, defaults, steps)
            found.append(_value(".".join((*steps, name)), "there is no such value", right))
        if not extra:
            found.append(_value(place, match["what"], _wanted(match["what"])))
    return found


def _known(name: str, defaults: Field, steps: Sequence[str]) -> str:
    """The value that somebody meant, among those of values.yaml at the same place."""
    for step in steps:
        defaults = defaults[step]
    there = defaults.entries
    return meant(name, there) if there else "a value of values.yaml"


def _value(field: str, wrong: str, right: str) -> Finding:
    return Finding(object="values", field=field, wrong=wrong, right=right)


def _wanted(what: str) -> str:
    """What the validator wanted, from its own words."""
    for mark in ("want ", "must be one of ", "value must be ", "does not match pattern "):
        if mark in what:
            return what.partition(mark)[2]
    return "what values.schema.json describes there"


def _of_templates(text: str) -> list[Finding]:
    """Sentences of the chart's own `fail`; a value that they begin with is the field."""
    found = []
    for line in text.splitlines():
        match = _FAIL.search(line)
        if match:
            named = re.match(r"([a-z]\w*(\.\w+)+)", match["what"])
            what, _, right = match["what"].partition(": ")
            found.append(_value(named[1] if named else "", what, right or "as the sentence says"))
    return found
