"""Objects as a cluster has them: nodes, pods, deployments, in the states a wait meets."""

from copy import deepcopy
from typing import Any

from helpers.cloud.account import Account
from helpers.cloud.stack import Stack
from helpers.cluster import contract, triton_release

Body = dict[str, Any]
AGREED = contract.load().gpu


def load_balancer(aws: Account, stack: Stack, **tags: str) -> tuple[str, str]:
    """A load balancer in AWS as its controller makes one; its ARN and its host."""
    marks = {triton_release.CLUSTER_TAG: stack.cluster_name} | tags
    made = aws.client("elbv2").create_load_balancer(
        Name="gpu-e2e-triton", Subnets=list(stack.public_subnet_ids), Type="application",
        Tags=[{"Key": key, "Value": value} for key, value in marks.items()],
    )["LoadBalancers"][0]  # fmt: skip
    return made["LoadBalancerArn"], made["DNSName"]


def namespace(name: str) -> Body:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def node(name: str, *, ready: bool = True, gpu: bool = False, gpus: int = 0) -> Body:
    """A node; with `gpu` it carries the contract's label and taint."""
    allocatable = {"cpu": "3920m", "memory": "14Gi", "pods": "29"}
    allocatable |= {AGREED.resource: str(gpus)} if gpus else {}
    state = ("True", "KubeletReady", "kubelet is posting ready status")
    late = (
        "False",
        "KubeletNotReady",
        "container runtime network not ready: cni plugin not initialized",
    )
    status, reason, message = state if ready else late
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"node.kubernetes.io/instance-type": "g4dn.xlarge" if gpu else "t3.large"}
            | (AGREED.label.selector if gpu else {}),
        },
        "spec": {"taints": [AGREED.taint.object]} if gpu else {},
        "status": {
            "allocatable": allocatable,
            "conditions": [
                {"type": "Ready", "status": status, "reason": reason, "message": message}
            ],
        },
    }


def deployment(*, updated: int = 1, available: int = 1, replicas: int = 1, seen: int = 1) -> Body:
    labels = {"app.kubernetes.io/name": "triton"}
    container = {"name": "triton", "image": "r/x@sha256:" + "1" * 64}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "triton", "namespace": "triton", "generation": 1},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
        "status": {
            "observedGeneration": seen, "replicas": replicas, "updatedReplicas": updated,
            "availableReplicas": available,
        },
    }  # fmt: skip


def replica_set(template: str, revision: int) -> Body:
    body = deepcopy(deployment())
    labels = {"app.kubernetes.io/name": "triton", "pod-template-hash": template}
    body |= {"kind": "ReplicaSet"}
    body["metadata"] = {
        "name": f"triton-{template}", "namespace": "triton", "labels": labels,
        "annotations": {"deployment.kubernetes.io/revision": str(revision)},
    }  # fmt: skip
    body["spec"]["selector"] = {"matchLabels": labels}
    body["spec"]["template"]["metadata"]["labels"] = labels
    body["status"] = {"replicas": 1}
    return body


def pod(template: str, *, state: Body | None = None, last: Body | None = None,
        unschedulable: str = "") -> Body:  # fmt: skip
    """A pod of Triton: waiting in a state, or unschedulable."""
    condition = {"type": "PodScheduled", "status": "False" if unschedulable else "True"}
    condition |= {"reason": "Unschedulable", "message": unschedulable} if unschedulable else {}
    status: Body = {"phase": "Pending", "conditions": [condition]}
    if state:
        status["containerStatuses"] = [
            {
                "name": "triton", "image": "r/x@sha256:1", "imageID": "", "ready": False,
                "restartCount": 3, "state": state, "lastState": last or {},
            }
        ]  # fmt: skip
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"triton-{template}-x", "namespace": "triton",
            "labels": {"app.kubernetes.io/name": "triton", "pod-template-hash": template},
        },
        "spec": {"containers": [{"name": "triton", "image": "r/x@sha256:" + "1" * 64}]},
        "status": status,
    }  # fmt: skip


def event(about: str, reason: str, message: str, space: str = "triton") -> Body:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{about}.1", "namespace": space},
        "involvedObject": {"name": about, "namespace": space},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "lastTimestamp": "2026-11-25T00:00:00Z",
    }


def ingress(name: str, host: str = "") -> Body:
    listening = {"alb.ingress.kubernetes.io/listen-ports": '[{"HTTPS": 443}]'}
    backend = {"service": {"name": "triton", "port": {"name": "http"}}}
    paths = [{"path": "/v2", "pathType": "Prefix", "backend": backend}]
    status = {"loadBalancer": {"ingress": [{"hostname": host}]}} if host else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "namespace": "triton", "annotations": listening},
        "spec": {"rules": [{"http": {"paths": paths}}]},
        "status": status,
    }
