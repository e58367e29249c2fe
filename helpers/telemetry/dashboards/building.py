"""Builds every dashboard as JSON, and compares the committed ones."""

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from helpers.profile import Profile
from helpers.scenario import Kpis
from helpers.telemetry import rules
from helpers.telemetry.dashboards import cost, gpu, latency, overview, throughput
from helpers.telemetry.dashboards.panels import Choices
from helpers.telemetry.places import DASHBOARDS

COMMITTED_PROFILE = "aws"
BUILDERS = {
    "overview": overview.build,
    "latency": latency.build,
    "throughput": throughput.build,
    "gpu": gpu.build,
    "cost": cost.build,
}
NAMES = tuple(BUILDERS)


def build(kpis: Kpis) -> dict[str, str]:
    """Every dashboard as JSON text, by name.

    Args:
        kpis: The targets that the thresholds show.
    """
    choices = Choices(kpis, rules.limits())
    return {name: _text(make(choices).build()) for name, make in BUILDERS.items()}


def write(folder: Path = DASHBOARDS) -> list[Path]:
    """Write the dashboards of the profile `aws`; returns their paths."""
    paths = []
    for name, text in build(_kpis()).items():
        paths.append(folder / f"{name}.json")
        paths[-1].write_text(text)
    return paths


def differences(folder: Path = DASHBOARDS) -> list[str]:
    """One sentence for each committed dashboard that this code would write otherwise."""
    current = build(_kpis())
    found = [
        f"{name}.json is not current; run 'python -m helpers.telemetry.dashboards'"
        for name, text in current.items()
        if not (folder / f"{name}.json").is_file() or (folder / f"{name}.json").read_text() != text
    ]
    known = {f"{name}.json" for name in current}
    return found + [
        f"{path.name} is written by no code"
        for path in sorted(folder.glob("*.json"))
        if path.name not in known
    ]


def _kpis() -> Kpis:
    return Profile.load_named(COMMITTED_PROFILE).kpis


def _text(built: object) -> str:
    content = json.loads(JSONEncoder(sort_keys=True, indent=2).encode(built))
    # annotations and snapshots refer to a panel by its number, which must not change by itself
    for number, panel in enumerate(content["panels"], 1):
        panel["id"] = number
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
