"""What stages 01 to 03 record of a living cluster, and of its node group in AWS."""

from typing import Literal

from helpers.run import Record
from helpers.scenario import Settings


class NodeFacts(Settings):
    """One node, as the cluster knows it.

    Attributes:
        name: Its name.
        ready: Whether it takes pods.
        gpu: Whether it carries the contract's label.
        instance_type: Such as `g4dn.xlarge`; empty outside a cloud.
        zone: Availability zone; empty outside a cloud.
        taints: As `key=value:effect`.
        gpus: How many GPUs pods may ask for.
        kubelet: Its version.
    """

    name: str
    ready: bool
    gpu: bool
    instance_type: str
    zone: str
    taints: tuple[str, ...]
    gpus: int
    kubelet: str


class Nodes(Record, stage="01", name="nodes"):
    """The cluster's nodes when they were waited for.

    Attributes:
        nodes: All of them.
        wanted: How many there should be, GPU nodes included.
        seconds: How long it took.
    """

    nodes: tuple[NodeFacts, ...]
    wanted: int
    seconds: float

    @property
    def all_ready(self) -> bool:
        """Whether as many as wanted are there, and all are Ready."""
        return len(self.nodes) >= self.wanted and all(one.ready for one in self.nodes)

    @property
    def summary(self) -> str:
        """One sentence: how many are Ready."""
        ready = sum(one.ready for one in self.nodes)
        gpu = sum(one.gpu for one in self.nodes)
        return f"{ready} of {len(self.nodes)} nodes Ready, {gpu} with GPU, in {self.seconds:.0f} s"


class NodeGroup(Record, stage="02", name="node-group"):
    """The GPU node group, read back from AWS (or its emulator) and not from Terraform.

    Attributes:
        emulated: Whether an emulator answered.
        group: Its name.
        capacity: `spot-capped` or `managed-spot`.
        instance_types: First choice first.
        max_price_usd: Most that an hour may cost; None where AWS enforces no cap.
        spot_only: Whether no instance is on demand.
        sizes: Fewest, desired and most nodes.
        labels: What the nodes register with.
        taints: As `key=value:effect`.
        tags: Of the group.
        instance_tags: Of instances and their volumes.
        disk_gib: Root disk.
        encrypted: Whether the root disk is.
        imdsv2: Whether instance metadata wants a session.
    """

    emulated: bool
    group: str
    capacity: Literal["spot-capped", "managed-spot"]
    instance_types: tuple[str, ...]
    max_price_usd: float | None
    spot_only: bool
    sizes: tuple[int, int, int]
    labels: dict[str, str]
    taints: tuple[str, ...]
    tags: dict[str, str]
    instance_tags: dict[str, str]
    disk_gib: int
    encrypted: bool
    imdsv2: bool

    @property
    def capped(self) -> bool:
        """Whether every node is a spot instance under a maximum price."""
        return self.spot_only and self.max_price_usd is not None

    @property
    def summary(self) -> str:
        """One sentence: what runs, and for how much at most."""
        cap = "no price cap" if self.max_price_usd is None else f"at most {self.max_price_usd} $/h"
        where = " (EMULATED)" if self.emulated else ""
        kind = "spot only" if self.spot_only else "not spot only"
        low, wanted, high = self.sizes
        types = ", ".join(self.instance_types)
        return f"{types}: {kind}, {cap}, {low} to {high} nodes, {wanted} wanted{where}"


class Gpus(Record, stage="02", name="gpus"):
    """GPU nodes once the device plugin has done its work.

    Attributes:
        resource: The extended resource.
        nodes: The GPU nodes.
        per_node: GPUs that each should have.
        label: As `key=value`.
        taint: As `key=value:effect`.
        seconds: How long it took.
    """

    resource: str
    nodes: tuple[NodeFacts, ...]
    per_node: int
    label: str
    taint: str
    seconds: float

    @property
    def allocatable(self) -> bool:
        """Whether every GPU node offers its GPUs."""
        return bool(self.nodes) and all(one.gpus >= self.per_node for one in self.nodes)

    @property
    def labelled(self) -> bool:
        """Whether there is a node with the label."""
        return bool(self.nodes) and all(one.gpu for one in self.nodes)

    @property
    def tainted(self) -> bool:
        """Whether every GPU node carries the taint."""
        return bool(self.nodes) and all(self.taint in one.taints for one in self.nodes)

    @property
    def summary(self) -> str:
        """One sentence: how many GPUs."""
        total = sum(one.gpus for one in self.nodes)
        return f"{total} {self.resource} on {len(self.nodes)} nodes, after {self.seconds:.0f} s"


class TaintProof(Record, stage="02", name="taint-proof"):
    """A pod without toleration that the taint keeps out, and the same pod with it.

    Attributes:
        taint: As `key=value:effect`.
        image: What both pods run; it needs no CUDA.
        kept_out: Whether the pod without toleration stayed pending because of the taint.
        message: The scheduler's words.
        let_in: Node that the pod with the toleration was given; empty where none took it.
    """

    taint: str
    image: str
    kept_out: bool
    message: str
    let_in: str

    @property
    def holds(self) -> bool:
        """Whether the taint, and nothing else, keeps the pod out."""
        return self.kept_out and bool(self.let_in)

    @property
    def summary(self) -> str:
        """One sentence: what the scheduler said."""
        other = f"; with the toleration it went to {self.let_in}" if self.let_in else ""
        return f"a pod without toleration stays out ({self.message}){other}"


class Released(Settings):
    """One upstream release, as it was installed or rendered.

    Attributes:
        name: Its name in k8s/releases.yaml.
        chart: Chart and version.
        namespace: Where it is.
        digest: SHA-256 of the packaged chart; empty where it could not be had.
        label: How far it was seen: REAL (installed), STATIC (rendered and checked), NOT CHECKED.
        note: What was seen, or why it was not.
    """

    name: str
    chart: str
    namespace: str
    digest: str
    label: Literal["REAL", "STATIC", "NOT CHECKED", "FAILED"]
    note: str


class Releases(Record, stage="02", name="releases"):
    """Upstream releases, in the order they were handled."""

    releases: tuple[Released, ...]

    def named(self, name: str) -> Released | None:
        """The release of this name, or None."""
        return next((one for one in self.releases if one.name == name), None)


class Deployed(Record, stage="03", name="release"):
    """Triton's release in a cluster.

    Attributes:
        cluster: Where.
        namespace: Of the release.
        release: Its name.
        revision: Helm's count of its changes.
        image: What it runs, by digest.
        replicas: Pods that serve.
        seconds: From Helm's start to the last pod Ready.
        absent: Why there is none; empty where there is one.
    """

    cluster: str
    namespace: str
    release: str
    revision: int
    image: str
    replicas: int
    seconds: float
    absent: str = ""

    @property
    def holds(self) -> bool:
        """Whether it serves."""
        return not self.absent and self.replicas > 0

    @property
    def summary(self) -> str:
        """One sentence: what serves where."""
        if self.absent:
            return self.absent
        return (
            f"{self.release}, revision {self.revision}, {self.replicas} pods in {self.cluster}, "
            f"ready after {self.seconds:.0f} s, {self.image.rpartition('@')[2][:19]}"
        )


class Balancer(Record, stage="03", name="load-balancer"):
    """The load balancer in front of Triton.

    Attributes:
        host: Its DNS name; empty where there is none.
        healthy: Target group → healthy targets.
        secure: Whether it serves HTTPS.
        absent: Why there is none; empty where there is one.
    """

    host: str
    healthy: dict[str, int]
    secure: bool
    absent: str = ""

    @property
    def holds(self) -> bool:
        """Whether every target group has a healthy target, over HTTPS."""
        counts = self.healthy.values()
        return bool(self.host) and self.secure and bool(counts) and min(counts) > 0

    @property
    def summary(self) -> str:
        """One sentence: what it serves."""
        if self.absent:
            return self.absent
        scheme = "HTTPS" if self.secure else "plain HTTP"
        return (
            f"{scheme}, {sum(self.healthy.values())} healthy targets in {len(self.healthy)} groups"
        )
