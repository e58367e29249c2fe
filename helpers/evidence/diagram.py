"""Draws the architecture: what is not in the plan and the charts is not in the picture."""

import json
import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import yaml
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from helpers import style
from helpers.errors import Problem
from helpers.evidence.architecture import Architecture, Nodes, read
from helpers.run import Run

PLAN, RENDERED = "terraform/plan.json", "cluster/rendered"
WIDTH, HEIGHT = 100.0, 58.0  # of the drawing's own plane
TINT = {"region": "#f7f7f5", "vpc": "#eef4fa", "public": "#e6f4ee", "private": "#fdf3e3",
        "box": "#ffffff"}  # fmt: skip
LEFT, INSIDE, RIGHT = 20.0, 22.0, 78.0  # where the region, its VPC and what is beside it begin


def architecture(run: Run) -> None:
    """Draw what the run's plan creates and its rendered charts fill.

    Raises:
        Problem: The run has planned no infrastructure.
    """
    path = run.folder / PLAN
    if not path.is_file():
        raise Problem(f"Run {run.run_id} has no {PLAN}.", "Run stage 01 first.")
    rendered = sorted((run.folder / RENDERED).glob("*.yaml"))
    objects = [one for file in rendered for one in yaml.safe_load_all(file.read_text()) if one]
    draw(run, read(json.loads(path.read_text()), objects))


def absent(run: Run) -> str:
    """Why a run can have no diagram; empty where it can."""
    return "" if (run.folder / PLAN).is_file() else "this run has planned no infrastructure"


def is_drawn(run: Run) -> bool:
    """Whether the diagram is there."""
    return (run.folder / "evidence/figures/architecture.svg").is_file()


def draw(run: Run, found: Architecture, name: str = "architecture") -> None:
    """Draw the architecture of a run, as PNG and SVG.

    Args:
        run: The run it belongs to.
        found: What stands where.
        name: Of the figure.
    """
    with style.theme(), plt.rc_context({"axes.grid": False}):
        figure, axes = plt.subplots(figsize=(style.WIDTH_IN, style.WIDTH_IN * HEIGHT / WIDTH))
        axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))
        axes.axis("off")
        _user(axes)
        _frame(axes, (LEFT, 1, WIDTH - LEFT - 1, HEIGHT - 2), run.profile.region, "region")
        if found.network:
            _vpc(axes, found)
        _beside(axes, found)
        style.finish(run, figure, name, sentence(run, found))


def sentence(run: Run, found: Architecture) -> str:
    """The picture in words."""
    groups = "; ".join(
        f"{one.title} ({one.about.replace(chr(10), ', ')})"
        + (f" run {', '.join(one.workloads)}" if one.workloads else "")
        for one in found.nodes
    )
    parts = [
        f"{run.profile.region}: VPC {found.network} over {len(found.zones)} zones with "
        f"{found.public} public and {found.private} private subnets"
        if found.network
        else "no VPC",
        f"{found.gateways} NAT gateway" if found.gateways else "",
        f"EKS {found.cluster}" if found.cluster else "",
        groups,
        f"a load balancer for {' and '.join(found.balancer)}" if found.balancer else "",
        f"beside it {', '.join(found.beside)}" if found.beside else "",
    ]
    return f"Architecture, drawn from the plan and the charts. {'; '.join(filter(None, parts))}."


def _user(axes: Axes) -> None:
    _box(axes, (1, 38, 14, 9), "load engine", "open loop, every\nrequest recorded")
    _box(axes, (1, 22, 14, 9), "notebooks", "Terraform, Helm,\nboto3")


def _vpc(axes: Axes, found: Architecture) -> None:
    width = RIGHT - INSIDE - 2
    about = f"VPC {found.network}, {len(found.zones)} zones"
    _frame(axes, (INSIDE, 3, width, HEIGHT - 8), about, "vpc")
    if found.public:
        _frame(axes, (INSIDE + 1.5, 37, width - 3, 13), f"{found.public} public subnets", "public")
        if found.balancer:
            _box(axes, (INSIDE + 4, 38.5, 19, 7.5), "load balancer", " + ".join(found.balancer))
            _arrow(axes, (15, 42.5), (INSIDE + 4, 42.5), "HTTPS, gRPC")
        if found.gateways:
            _box(axes, (INSIDE + 31, 38.5, 16, 7.5), "NAT gateway", f"{found.gateways}")
    if found.private:
        about = f"{found.private} private subnets"
        _frame(axes, (INSIDE + 1.5, 4.5, width - 3, 31), about, "private")
    if found.cluster:
        _box(axes, (INSIDE + 17, 27, width - 20, 5), f"EKS {found.cluster} control plane", "")
        _arrow(axes, (15, 29.5), (INSIDE + 17, 29.5), "API")
    gap, count = 2.0, max(len(found.nodes), 1)
    each = (width - 6 - gap * (count - 1)) / count
    for number, group in enumerate(sorted(found.nodes, key=lambda one: not one.gpu)):
        _group(axes, group, (INSIDE + 3 + number * (each + gap), 6, each, 20))
        if group.gpu and group.workloads and found.balancer:
            _arrow(axes, (INSIDE + 11, 38.5), (INSIDE + 11, 26), "")


def _group(axes: Axes, group: Nodes, where: tuple[float, float, float, float]) -> None:
    x, y, width, height = where
    _patch(axes, where, TINT["box"], style.GREEN if group.gpu else style.GREY)
    axes.text(x + width / 2, y + height - 1, group.title, ha="center", va="top", fontsize=9,
              fontweight="bold")  # fmt: skip
    about = "\n".join(textwrap.fill(line, 34) for line in group.about.splitlines())
    axes.text(x + width / 2, y + height - 3.4, about, ha="center", va="top",
              fontsize=7, color=style.GREY)  # fmt: skip
    axes.text(x + width / 2, y + 1.2, "\n".join(group.workloads), ha="center", va="bottom",
              fontsize=8, linespacing=1.35)  # fmt: skip


def _beside(axes: Axes, found: Architecture) -> None:
    step = (HEIGHT - 8) / max(len(found.beside), 6)
    for number, (title, what) in enumerate(found.beside.items()):
        y = HEIGHT - 5 - step * (number + 1)
        _box(axes, (RIGHT, y + 0.4, WIDTH - RIGHT - 2.5, step - 1.0), title, what)


def _frame(axes: Axes, where: tuple[float, float, float, float], title: str, kind: str) -> None:
    _patch(axes, where, TINT[kind], "#c9c9c4")
    axes.text(where[0] + 1, where[1] + where[3] - 0.8, title, va="top", fontsize=8,
              color=style.GREY)  # fmt: skip


def _box(axes: Axes, where: tuple[float, float, float, float], title: str, about: str) -> None:
    x, y, width, height = where
    _patch(axes, where, TINT["box"], style.BLUE)
    lift = 1.1 if about else 0.0
    axes.text(x + width / 2, y + height / 2 + lift, title, ha="center", va="center", fontsize=8.5,
              fontweight="bold")  # fmt: skip
    if about:
        axes.text(x + width / 2, y + height / 2 - lift, about, ha="center", va="center",
                  fontsize=7, color=style.GREY)  # fmt: skip


def _patch(axes: Axes, where: Sequence[float], fill: str, edge: str) -> None:
    x, y, width, height = where
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.9",
                                  facecolor=fill, edgecolor=edge, linewidth=1))  # fmt: skip


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], text: str) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11,
                                   color=style.VERMILION, linewidth=1.4, zorder=5))  # fmt: skip
    axes.text((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.8, text, ha="center",
              va="bottom", fontsize=7, color=style.VERMILION)  # fmt: skip
