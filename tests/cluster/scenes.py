"""Objects as a cluster has them: nodes, pods, deployments, in the states a wait meets."""

from pathlib import Path
from typing import Any

from helpers.cloud.account import Account
from helpers.cloud.stack import Stack
from helpers.cluster import contract, triton_release

Body = dict[str, Any]
AGREED = contract.load().gpu
SELECTOR = {AGREED.label.key: AGREED.label.value}
TRITON = {"app.kubernetes.io/name": "triton"}


def body(version: str, kind: str, name: str, space: str = "", **parts: Any) -> Body:
    """An object; `labels` and `annotations` go to its metadata."""
    meta: Body = {key: parts.pop(key) for key in ("labels", "annotations") if key in parts}
    meta |= {"namespace": space} if space else {}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **meta}, **parts}


def chart(folder: Path, name: str, version: str = "1.0.0", data: str = "{}") -> Path:
    """The source of a chart of one ConfigMap that bears the release's name."""
    (folder / name / "templates").mkdir(parents=True)
    about = f"apiVersion: v2\nname: {name}\nversion: {version}\n"
    (folder / name / "Chart.yaml").write_text(about)
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}'}\n"
    (folder / name / "templates/map.yaml").write_text(f"{text}data: {data}\n")
    return folder / name


def load_balancer(aws: Account, stack: Stack, **tags: str) -> tuple[str, str]:
    """A load balancer in AWS as its controller makes one; its ARN and its host."""
    marks = {triton_release.CLUSTER_TAG: stack.cluster_name} | tags
    made = aws.client("elbv2").create_load_balancer(
        Name="gpu-e2e-triton", Subnets=list(stack.public_subnet_ids), Type="application",
        Tags=[{"Key": key, "Value": value} for key, value in marks.items()],
    )["LoadBalancers"][0]  # fmt: skip
    return made["LoadBalancerArn"], made["DNSName"]


def namespace(name: str) -> Body:
    return body("v1", "Namespace", name)


def node(name: str, *, ready: bool = True, gpu: bool = False, gpus: int = 0) -> Body:
    """A node; with `gpu` it carries the contract's label and taint."""
    allocatable = {"cpu": "3920m", "memory": "14Gi", "pods": "29"}
    allocatable |= {AGREED.resource: str(gpus)} if gpus else {}
    state = {"status": "True", "reason": "KubeletReady", "message": "kubelet is posting"}
    if not ready:
        late = "container runtime network not ready: cni plugin not initialized"
        state = {"status": "False", "reason": "KubeletNotReady", "message": late}
    labels = {"node.kubernetes.io/instance-type": "g4dn.xlarge" if gpu else "t3.large"}
    return body(
        "v1", "Node", name, labels=labels | (SELECTOR if gpu else {}),
        spec={"taints": [AGREED.taint.model_dump()]} if gpu else {},
        status={"allocatable": allocatable, "conditions": [{"type": "Ready", **state}]},
    )  # fmt: skip


def deployment(*, updated: int = 1, available: int = 1, replicas: int = 1, seen: int = 1) -> Body:
    made = body(
        "apps/v1", "Deployment", "triton", "triton",
        spec={"replicas": 1, "selector": {"matchLabels": TRITON}},
        status={"observedGeneration": seen, "replicas": replicas, "updatedReplicas": updated,
                "availableReplicas": available},
    )  # fmt: skip
    made["metadata"]["generation"] = 1
    return made


def replica_set(template: str, revision: int) -> Body:
    labels = TRITON | {"pod-template-hash": template}
    return body(
        "apps/v1", "ReplicaSet", f"triton-{template}", "triton", labels=labels,
        annotations={"deployment.kubernetes.io/revision": str(revision)}, status={"replicas": 1},
    )  # fmt: skip


def pod(template: str, *, state: Body | None = None, last: Body | None = None,
        unschedulable: str = "") -> Body:  # fmt: skip
    """A pod of Triton: waiting in a state, or unschedulable."""
    condition = {"type": "PodScheduled", "status": "False" if unschedulable else "True"}
    condition |= {"reason": "Unschedulable", "message": unschedulable} if unschedulable else {}
    status: Body = {"phase": "Pending", "conditions": [condition]}
    if state:
        status["containerStatuses"] = [
            {"name": "triton", "image": "r/x@sha256:1", "state": state, "lastState": last or {}}
        ]
    labels = TRITON | {"pod-template-hash": template}
    return body("v1", "Pod", f"triton-{template}-x", "triton", labels=labels, status=status)


def daemon_set(name: str, wanted: int, ready: int, labels: dict[str, str] | None = None) -> Body:
    return body(
        "apps/v1", "DaemonSet", name, "kube-system", labels=labels or {},
        status={"desiredNumberScheduled": wanted, "numberReady": ready},
    )  # fmt: skip


def event(about: str, reason: str, message: str, space: str = "triton") -> Body:
    return body(
        "v1", "Event", f"{about}.1", space, type="Warning", reason=reason, message=message,
        involvedObject={"name": about, "namespace": space}, lastTimestamp="2026-11-25T00:00:00Z",
    )  # fmt: skip


def ingress(name: str, host: str = "") -> Body:
    return body(
        "networking.k8s.io/v1", "Ingress", name, "triton",
        annotations={"alb.ingress.kubernetes.io/listen-ports": '[{"HTTPS": 443}]'},
        status={"loadBalancer": {"ingress": [{"hostname": host}]}} if host else {},
    )  # fmt: skip


def service(kind: str, name: str = "triton") -> Body:
    return body("v1", "Service", name, "triton", spec={"type": kind})


def claim(name: str, volume: str, space: str = "monitoring") -> Body:
    spec = {"accessModes": ["ReadWriteOnce"], "volumeName": volume,
            "resources": {"requests": {"storage": "1Gi"}}}  # fmt: skip
    return body("v1", "PersistentVolumeClaim", name, space, spec=spec)


def volume(name: str, policy: str) -> Body:
    csi = {"driver": "ebs.csi.aws.com", "volumeHandle": f"vol-{name}"}
    spec = {"persistentVolumeReclaimPolicy": policy, "csi": csi, "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"}}  # fmt: skip
    return body("v1", "PersistentVolume", name, spec=spec)
