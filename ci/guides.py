"""Writes `docs/troubleshooting.md` and `docs/aws.md` from the tables that the code itself uses.

python ci/guides.py
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from helpers import promises
from helpers.cloud import prices
from helpers.cloud.account import ERRORS
from helpers.cloud.costs import BUILDS_H, IMAGES_GB, PLAN_COSTS, traffic
from helpers.cluster import contract, explain
from helpers.profile import Profile

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
TEMPLATES = Path(__file__).parent / "templates"
GUIDES = ("troubleshooting.md", "aws.md")
MESSAGES = ROOT / "tests/cluster/messages.yaml"  # each is proved to match its rule
TERRAFORM = ROOT / "helpers/cloud/terraform_errors.yaml"
GPU_ZONES = 5  # zones of us-east-1 that offer the types; infra/network.tf asks AWS
# the first rule of each section of helpers/cluster/explanations.yaml
SECTIONS = {
    "spot-price": "Nodes and capacity",
    "release-pending": "Helm releases",
    "no-subnets": "Load balancer",
    "no-buildkit": "Images",
    "out-of-memory": "Containers",
    "no-gpu-free": "Scheduling",
    "webhook-down": "The cluster's API",
}


class Failure(NamedTuple):
    """A failure as a guide shows it."""

    seen: str
    why: str
    next_step: str


def committed() -> dict[str, str]:
    """File name → content of each guide, as it should be."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, autoescape=False,
    )  # fmt: skip
    profile = Profile.load_named("aws")
    facts: dict[str, Any] = {
        "failures": dict(_failures()),
        "profile": profile,
        "gpu": contract.load().gpu,
        "headers": _headers(),
        "terraform": yaml.safe_load(TERRAFORM.read_text()),
        "prices": list(_prices(profile)),
        "stages": promises.STAGES,
        "promises": promises.promises,
    }
    return {name: templates.get_template(f"{name}.j2").render(facts) for name in GUIDES}


def differences(folder: Path = DOCS) -> list[str]:
    """One sentence for each guide that is out of date."""
    return [
        f"docs/{name} is out of date; run 'python ci/guides.py'"
        for name, text in committed().items()
        if not (folder / name).is_file() or (folder / name).read_text() != text
    ]


def _failures() -> Iterator[tuple[str, list[Failure]]]:
    refused, failed = ERRORS["refused"].values(), ERRORS["failed"]
    facts = {"what": "a resource", "code": "CODE", "operation": "OPERATION",
             "message": "AWS's words", "text": "the SDK's words"}  # fmt: skip
    yield "AWS refuses", [
        Failure(f"`{'`, `'.join(row['codes'][:3])}`", row["sentence"].format(**facts),
                row["next_step"]) for row in refused
    ]  # fmt: skip
    yield "AWS cannot be asked", [
        Failure(f"`{'`, `'.join(row['errors'])}`", row["sentence"].format(**facts),
                row["next_step"]) for row in failed if row["next_step"]
    ]  # fmt: skip
    printed = yaml.safe_load(MESSAGES.read_text())
    section, rows = "", list[Failure]()
    for rule in explain.rules():
        if rule.name in SECTIONS:
            if rows:
                yield section, rows
            section, rows = SECTIONS[rule.name], []
        message = str(printed[rule.name][0])
        if (explained := explain.recognise(message)) is None:
            raise ValueError(f"{rule.name}: its message is not recognised")
        cells = (f"`{message}`", explained.what, explained.next_step)
        rows.append(Failure(*(" ".join(cell.split()).replace("|", "\\|") for cell in cells)))
    yield section, rows


class Header(NamedTuple):
    """What a notebook says about itself in its first cell."""

    cost_and_time: str
    can_go_wrong: str


def _headers() -> dict[str, Header]:
    headers = {}
    for stage in promises.STAGES:
        cell = json.loads((ROOT / "notebooks" / stage.notebook).read_text())["cells"][0]
        text = "".join(cell["source"]).replace("> ", "")
        cost_and_time, wrong = text.partition("**Cost** ")[2].split("**Can go wrong** ")
        headers[stage.number] = Header(cost_and_time.strip().replace("**Time**", "Time:"), wrong)
    return headers


def _prices(profile: Profile) -> Iterator[tuple[str, float, float, str]]:
    """What costs money by the hour: name, how many, US$ an hour for all, what is assumed."""
    table, stack = prices.load_table(profile.region), profile.infrastructure
    cpu, nodes = stack.cpu_instance_types[0], profile.system_nodes["desired"]
    yield f"System nodes, {cpu}", nodes, nodes * table.price(f"ec2.{cpu}").usd, ""
    count, cap = stack.gpu.desired_nodes, stack.gpu.max_price_usd
    yield "GPU nodes (spot)", count, count * cap, "at most: the price cap"
    used = traffic(profile, profile.load.placed, IMAGES_GB * (nodes + count))
    used["built"] = BUILDS_H[profile.serving.image]
    code = "".join(path.read_text() for path in (ROOT / "infra").glob("*.tf"))
    for facts in PLAN_COSTS["rates"]:
        if f'resource "{facts["of"]}"' not in code:
            continue
        number = facts.get("count", 1)
        number = GPU_ZONES if number == "public subnets" else number
        note, amount = facts.get("assumed", ""), used.get(facts.get("billed"))
        if amount is not None:
            number = amount / stack.ttl_hours
            note = f"{amount:.1f} {facts.get('unit', 'hours')} in a session: {note}"
        yield facts["what"], number, number * table.price(facts["price"]).per_hour, note


def write(folder: Path = DOCS) -> None:
    """Write both guides."""
    for name, text in committed().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    write()
