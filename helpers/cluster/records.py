"""What stages 01 to 03 record of the cluster: nodes, releases, chart checks, load balancer."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator

from helpers.promises import Status, current
from helpers.run import Record
from helpers.scenario import Settings

if TYPE_CHECKING:  # slow to import, and only a notebook shows tables
    import pandas as pd


Label = Annotated[Status, BeforeValidator(current)]


class NodeFacts(Settings):
    """One node, as the cluster knows it."""

    name: str
    ready: bool  # whether it takes pods
    gpu: bool  # whether it carries the contract's label
    instance_type: str  # such as `g4dn.xlarge`; empty outside a cloud
    zone: str  # availability zone; empty outside a cloud
    taints: tuple[str, ...]  # as `key=value:effect`
    gpus: int  # how many GPUs pods may request
    kubelet: str  # its version


class Nodes(Record, stage="01", name="nodes"):
    """The cluster's nodes; `wanted` is how many there should be, GPU nodes included."""

    nodes: tuple[NodeFacts, ...]
    wanted: int
    seconds: float

    @property
    def summary(self) -> str:
        """How many are Ready."""
        ready = sum(node.ready for node in self.nodes)
        types = ", ".join(node.instance_type for node in self.nodes if node.gpu) or "none"
        text = f"{ready} of {len(self.nodes)} nodes Ready, with GPU: {types}"
        return f"{text}; after {self.seconds:.0f} s"


class GpuNodeGroup(Record, stage="02", name="node-group"):
    """The GPU node group as AWS (or its emulator) describes it, not as Terraform does."""

    emulated: bool  # whether an emulator answered
    group: str
    instance_types: tuple[str, ...]  # first choice first
    max_price_usd: float | None  # most that an hour may cost; None if AWS enforces no cap
    spot_only: bool  # whether no instance is on demand
    sizes: tuple[int, int, int]  # fewest, desired and most nodes
    labels: dict[str, str]  # labels that the nodes register with
    taints: tuple[str, ...]  # as `key=value:effect`
    tags: dict[str, str]  # tags of the group
    instance_tags: dict[str, str]  # tags of instances and their volumes
    disk_gib: int  # root disk
    encrypted: bool  # whether the root disk is
    imdsv2: bool  # whether instance metadata requires a session

    @property
    def summary(self) -> str:
        """What runs, and for how much at most."""
        cap = "no price cap" if self.max_price_usd is None else f"at most {self.max_price_usd} $/h"
        kind = "spot only" if self.spot_only else "not spot only"
        low, wanted, high = self.sizes
        where = " (EMULATED)" if self.emulated else ""
        types = ", ".join(self.instance_types)
        return f"{types}: {kind}, {cap}, {low} to {high} nodes, {wanted} wanted{where}"


class AllocatableGpus(Record, stage="02", name="gpus"):
    """GPU nodes once the device plugin runs; each should have `per_node` GPUs."""

    resource: str
    nodes: tuple[NodeFacts, ...]
    per_node: int
    label: str
    taint: str
    seconds: float

    def every(self, holds: Callable[[NodeFacts], bool]) -> bool:
        """Whether there are GPU nodes, and this holds of each."""
        return bool(self.nodes) and all(map(holds, self.nodes))

    @property
    def summary(self) -> str:
        """How many GPUs."""
        total = sum(node.gpus for node in self.nodes)
        types = ", ".join(node.instance_type for node in self.nodes)
        return f"{total} {self.resource} on {types}, after {self.seconds:.0f} s"


class TaintProof(Record, stage="02", name="taint-proof"):
    """A pod without the toleration, which the taint keeps out, and the same pod with it."""

    taint: str  # as `key=value:effect`
    image: str  # what both pods run; it needs no CUDA
    kept_out: bool  # whether the pod without toleration stayed pending because of the taint
    message: str  # the scheduler's message
    let_in: str  # node of the pod with the toleration; empty if it got none

    @property
    def summary(self) -> str:
        """What the scheduler said."""
        other = f"; with the toleration it went to {self.let_in}" if self.let_in else ""
        return f"a pod without toleration stays out ({self.message}){other}"


class Released(Settings):
    """One upstream release; `label` is RAN once installed, CHECKED if rendered and checked."""

    name: str
    chart: str
    namespace: str
    digest: str
    label: Label
    note: str


class Releases(Record, stage="02", name="releases"):
    """Upstream releases, in the order of the lock file."""

    releases: tuple[Released, ...]


class ChartFault(Settings):
    """One fault."""

    object: str  # `Kind namespace/name`, or the file that is wrong
    field: str  # path of the field in the object
    wrong: str  # what is wrong
    right: str  # what would be right

    def __str__(self) -> str:
        return f"{self.object}: {self.field}: {self.wrong}; right would be: {self.right}"


class CheckLine(Settings):
    """One line of the report."""

    check: str  # what was checked
    values: str  # of which rendering, such as `gpu`; empty if it concerns all
    label: Label  # RAN if the real program did it, CHECKED if its output was read
    seen: str  # what was seen, or why nothing was checked
    findings: tuple[ChartFault, ...] = ()  # the faults


class ChartChecks(Record, stage="03", name="chart-checks"):
    """The checks of Triton's chart, in their order, for GPU and CPU values."""

    chart: str  # folder of the chart, from the checkout's root
    kubernetes: str  # version that was rendered and checked for
    helm: str  # version of helm; empty if there is none
    lines: tuple[CheckLine, ...]  # one line a check
    absent: str = ""  # why nothing was checked; empty if something was

    @property
    def holds(self) -> bool:
        """Whether the chart was rendered and no fault was found."""
        return not (self.absent or self.faults)

    @property
    def faults(self) -> tuple[str, ...]:
        """Every fault as a sentence."""
        return tuple(str(finding) for line in self.lines for finding in line.findings)

    @property
    def summary(self) -> str:
        """One sentence: what was checked and what was found."""
        if self.absent:
            return f"NOT RUN: {self.absent}"
        labels = [line.label for line in self.lines]
        counts = ", ".join(f"{labels.count(label)} {label}" for label in dict.fromkeys(labels))
        return f"{len(self.lines)} checks ({counts}): {len(self.faults)} faults"

    def frame(self) -> "pd.DataFrame":
        """The lines as a table; a line with faults is followed by each of them."""
        import pandas as pd

        rows: list[tuple[str, ...]] = []
        for line in self.lines:
            sign = "✘" if line.findings else ("–" if line.label is Status.NOT_RUN else "✔")
            rows.append((line.check, line.values, line.label, sign, line.seen))
            rows += [("", "", "", "", str(finding)) for finding in line.findings]
        return pd.DataFrame(rows, columns=["Check", "Values", "Label", "", "Seen"])


class Deployed(Record, stage="03", name="release"):
    """Triton's release in a cluster."""

    cluster: str  # name of the cluster
    namespace: str  # namespace of the release
    release: str
    revision: int  # Helm's revision number
    image: str  # what it runs, by digest
    replicas: int  # pods that serve
    seconds: float  # from Helm's start to the last pod Ready
    absent: str = ""  # why there is none; empty if there is one

    @property
    def holds(self) -> bool:
        """Whether it serves."""
        return not self.absent and self.replicas > 0

    @property
    def summary(self) -> str:
        """One sentence: what serves where."""
        digest = self.image.rpartition("@")[2][:19]
        return self.absent or (
            f"{self.release}, revision {self.revision}, {self.replicas} pods in {self.cluster}, "
            f"ready after {self.seconds:.0f} s, {digest}"
        )


class Balancer(Record, stage="03", name="load-balancer"):
    """The load balancer in front of Triton."""

    host: str  # its DNS name; empty if there is none
    healthy: dict[str, int]  # target group → healthy targets
    secure: bool  # whether it serves HTTPS
    absent: str = ""  # why there is none; empty if there is one

    @property
    def holds(self) -> bool:
        """Whether every target group has a healthy target, over HTTPS."""
        counts = self.healthy.values()
        return bool(self.host) and self.secure and bool(counts) and min(counts) > 0

    @property
    def summary(self) -> str:
        """One sentence: what it serves."""
        scheme, count = "HTTPS" if self.secure else "plain HTTP", sum(self.healthy.values())
        return self.absent or f"{scheme}, {count} healthy targets in {len(self.healthy)} groups"
