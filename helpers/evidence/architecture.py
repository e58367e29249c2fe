"""The architecture diagram, drawn only from Terraform's plan and the rendered charts."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import yaml
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from helpers import style
from helpers.cloud.plan import PLAN_JSON, Plan, PlannedNodeGroup, read_plan
from helpers.cluster import contract
from helpers.run import Run

RENDERED = "cluster/rendered"
ALB = "alb.ingress.kubernetes.io"
WORKLOADS = ("Deployment", "DaemonSet", "StatefulSet")
# type in the plan → the service's name, and its purpose
SERVICES: dict[str, tuple[str, str]] = yaml.safe_load(
    Path(__file__).with_suffix(".yaml").read_text()
)
WIDTH, HEIGHT = 100.0, 58.0  # units of the drawing
LEFT, INSIDE, RIGHT = 20.0, 22.0, 78.0  # left edges of the region, its VPC, the services beside it
FILL = {"region": "#f7f7f5", "vpc": "#eef4fa", "public": "#e6f4ee", "private": "#fdf3e3"}
FRAME = "#c9c9c4"

Place = tuple[float, float, float, float]  # left, bottom, width, height


class NodeGroup(NamedTuple):
    """One group of nodes, and the workloads placed on it."""

    title: str
    description: str
    gpu: bool
    workloads: tuple[str, ...]


class Architecture(NamedTuple):
    """What plan and charts hold; empty or 0 for what they do not."""

    network: str  # the size of the VPC's address range, such as /16
    zones: int
    public: int  # subnets
    private: int
    gateways: int
    kubernetes: str  # version of the control plane
    nodes: list[NodeGroup]  # those with GPUs first
    listeners: list[str]  # protocols of the load balancer
    services: dict[str, str]  # outside the VPC → purpose

    @property
    def sentence(self) -> str:
        """The picture in words."""
        network = f"VPC {self.network} over {self.zones} zones with {self.public} public and "
        network += f"{self.private} private subnets"
        parts = [
            network if self.network else "no VPC",
            f"{self.gateways} NAT gateway" if self.gateways else "",
            f"EKS {self.kubernetes}" if self.kubernetes else "",
            *(
                f"{group.title} ({', '.join(group.description.splitlines())})"
                + (f" run {', '.join(group.workloads)}" if group.workloads else "")
                for group in self.nodes
            ),
            f"a load balancer for {' and '.join(self.listeners)}" if self.listeners else "",
            f"beside it {', '.join(self.services)}" if self.services else "",
        ]
        return "; ".join(filter(None, parts))


def draw(run: Run) -> None:
    """Draw the architecture of a run as PNG and SVG; a Problem if the run has no plan."""
    plan = read_plan(run)
    files = sorted((run.folder / RENDERED).glob("*.yaml"))
    objects = [item for file in files for item in yaml.safe_load_all(file.read_text()) if item]
    content = read(plan, objects)
    region = run.profile.region
    with style.theme(), plt.rc_context({"axes.grid": False}):
        figure, axes = plt.subplots(figsize=(style.WIDTH_IN, style.WIDTH_IN * HEIGHT / WIDTH))
        axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))
        axes.axis("off")
        _box(axes, (1, 38, 14, 9), "load engine", "open loop, every\nrequest recorded")
        _box(axes, (1, 22, 14, 9), "notebooks", "Terraform, Helm,\nboto3")
        _frame(axes, (LEFT, 1, WIDTH - LEFT - 1, HEIGHT - 2), region, "region")
        if content.network:
            _draw_vpc(axes, content)
        step = (HEIGHT - 8) / max(len(content.services), 6)
        for number, (title, purpose) in enumerate(content.services.items(), 1):
            place = (RIGHT, HEIGHT - 4.6 - step * number, WIDTH - RIGHT - 2.5, step - 1.0)
            _box(axes, place, title, purpose)
        alt = f"Architecture, drawn from the plan and the charts. {region}: {content.sentence}."
        style.finish(run, figure, "architecture", alt)


def absent(run: Run) -> str:
    """Why a run can have no diagram; empty where it can."""
    return "" if (run.folder / PLAN_JSON).is_file() else "this run has planned no infrastructure"


def is_drawn(run: Run) -> bool:
    """Whether the diagram exists."""
    return (run.folder / "evidence/figures/architecture.svg").is_file()


def read(plan: Plan, objects: Sequence[Mapping[str, Any]]) -> Architecture:
    """The architecture that a plan creates and rendered Kubernetes objects fill."""
    subnets, public = plan.of_type("aws_subnet"), len(plan.public_subnets)
    networks = [str(vpc.values["cidr_block"]) for vpc in plan.of_type("aws_vpc")]
    clusters = [str(cluster.values.get("version")) for cluster in plan.of_type("aws_eks_cluster")]
    workloads = _workloads(objects)
    groups = [_node_group(group, workloads) for group in plan.node_groups]
    return Architecture(
        # only the size of the address range: pages do not publish addresses
        network="".join(f"/{network.partition('/')[2]}" for network in networks),
        zones=len({subnet.values.get("availability_zone") for subnet in subnets}),
        public=public,
        private=len(subnets) - public,
        gateways=len(plan.of_type("aws_nat_gateway")),
        kubernetes="".join(clusters),
        nodes=sorted(groups, key=lambda group: not group.gpu),
        listeners=list(dict.fromkeys(_listeners(objects))),
        services={title: use for kind, (title, use) in SERVICES.items() if plan.of_type(kind)},
    )


def _node_group(group: PlannedNodeGroup, workloads: dict[bool, tuple[str, ...]]) -> NodeGroup:
    gpu, types = group.cap_usd is not None, group.instance_types
    description = ", ".join(types[:2]) + (f" or {len(types) - 2} more" if types[2:] else "")
    if gpu:
        cap = max(f"{group.cap_usd:.2f}", f"{group.cap_usd:g}", key=len)
        description += f" spot, at most ${cap}/h"
    description += f"\n{group.min_nodes} to {group.max_nodes} nodes"
    return NodeGroup(f"{'GPU' if gpu else 'system'} nodes", description, gpu, workloads[gpu])


def _workloads(objects: Iterable[Mapping[str, Any]]) -> dict[bool, tuple[str, ...]]:
    """Whether on GPU nodes → the names of the workloads there."""
    resource = contract.load().gpu.resource
    names: dict[bool, dict[str, None]] = {True: {}, False: {}}
    for item in objects:
        if item.get("kind") in WORKLOADS:
            spec, metadata = item["spec"]["template"]["spec"], item["metadata"]
            resources = [container.get("resources", {}) for container in spec["containers"]]
            gpu = any(resource in (wanted.get("limits") or {}) for wanted in resources)
            gpu = gpu or bool(spec.get("nodeSelector") and spec.get("tolerations"))
            labels = metadata.get("labels") or {}
            names[gpu][labels.get("app.kubernetes.io/name") or metadata["name"]] = None
    return {gpu: tuple(ordered) for gpu, ordered in names.items()}


def _listeners(objects: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for item in objects:
        if item.get("kind") == "Ingress":
            annotations = item["metadata"].get("annotations") or {}
            grpc = annotations.get(f"{ALB}/backend-protocol-version") == "GRPC"
            https = "HTTPS" in annotations.get(f"{ALB}/listen-ports", "")
            yield "gRPC" if grpc else "HTTPS" if https else "HTTP"


def _draw_vpc(axes: Axes, content: Architecture) -> None:
    width = RIGHT - INSIDE - 2
    title = f"VPC {content.network}, {content.zones} zones"
    _frame(axes, (INSIDE, 3, width, HEIGHT - 8), title, "vpc")
    if content.public:
        title = f"{content.public} public subnets"
        _frame(axes, (INSIDE + 1.5, 37, width - 3, 13), title, "public")
        if content.listeners:
            listeners = " + ".join(content.listeners)
            _box(axes, (INSIDE + 4, 38.5, 19, 7.5), "load balancer", listeners)
            _arrow(axes, (15, 42.5), (INSIDE + 4, 42.5), "HTTPS, gRPC")
        if content.gateways:
            _box(axes, (INSIDE + 31, 38.5, 16, 7.5), "NAT gateway", f"{content.gateways}")
    if content.private:
        title = f"{content.private} private subnets"
        _frame(axes, (INSIDE + 1.5, 4.5, width - 3, 31), title, "private")
    if content.kubernetes:
        _box(axes, (INSIDE + 17, 27, width - 20, 5), f"EKS {content.kubernetes} control plane", "")
        _arrow(axes, (15, 29.5), (INSIDE + 17, 29.5), "API")
    gap, count = 2.0, max(len(content.nodes), 1)
    each = (width - 6 - gap * (count - 1)) / count
    for number, group in enumerate(content.nodes):
        _draw_nodes(axes, group, (INSIDE + 3 + number * (each + gap), 6, each, 20))
        if group.gpu and group.workloads and content.listeners:
            _arrow(axes, (INSIDE + 11, 38.5), (INSIDE + 11, 26), "")


def _draw_nodes(axes: Axes, group: NodeGroup, place: Place) -> None:
    _patch(axes, place, "white", style.GREEN if group.gpu else style.GREY)
    middle, bottom, top = place[0] + place[2] / 2, place[1], place[1] + place[3]
    lines = [textwrap.fill(line, 34) for line in group.description.splitlines()]
    _text(axes, middle, top - 1, group.title, va="top", fontsize=9, fontweight="bold")
    _text(axes, middle, top - 3.4, "\n".join(lines), va="top", fontsize=7, color=style.GREY)
    workloads = "\n".join(group.workloads)
    _text(axes, middle, bottom + 1.2, workloads, va="bottom", fontsize=8, linespacing=1.35)


def _frame(axes: Axes, place: Place, title: str, kind: str) -> None:
    _patch(axes, place, FILL[kind], FRAME)
    left, top = place[0] + 1, place[1] + place[3] - 0.8
    _text(axes, left, top, title, ha="left", va="top", fontsize=8, color=style.GREY)


def _box(axes: Axes, place: Place, title: str, note: str) -> None:
    _patch(axes, place, "white", style.BLUE)
    x, y, lift = place[0] + place[2] / 2, place[1] + place[3] / 2, 1.1 if note else 0.0
    _text(axes, x, y + lift, title, va="center", fontsize=8.5, fontweight="bold")
    _text(axes, x, y - lift, note, va="center", fontsize=7, color=style.GREY)


def _patch(axes: Axes, place: Place, fill: str, edge: str) -> None:
    rounded = "round,pad=0,rounding_size=0.9"
    axes.add_patch(FancyBboxPatch(place[:2], *place[2:], boxstyle=rounded, facecolor=fill,
                                  edgecolor=edge, linewidth=1))  # fmt: skip


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], text: str) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11,
                                   color=style.VERMILION, linewidth=1.4, zorder=5))  # fmt: skip
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.8
    _text(axes, x, y, text, va="bottom", fontsize=7, color=style.VERMILION)


def _text(axes: Axes, x: float, y: float, text: str, **options: Any) -> None:
    if text:
        axes.text(x, y, text, **{"ha": "center", **options})
