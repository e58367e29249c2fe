"""Waits on a living cluster: they end when it is so, and say why when it never will be."""

from typing import Any
from unittest.mock import Mock

import pytest

from helpers.cluster import gpus, triton_release, waits
from helpers.cluster.client import Cluster
from helpers.cluster.explain import TransientError
from helpers.cluster.records import AllocatableGpus
from helpers.cluster.waits import Pace, WaitState
from helpers.errors import Problem
from helpers.run import Run

from . import scenes
from .api_server import Server

GPU_NODES = "/api/v1/nodes"
PODS = "/api/v1/namespaces/triton/pods"
PLUGIN = "nvidia-device-plugin"
PLUGIN_LABELS = {"app.kubernetes.io/name": PLUGIN}


class Ticks:
    """A clock that moves only while something sleeps."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def _pace(lines: list[str], timeout_s: float = 90) -> Pace:
    return Pace(timeout_s, 1.0, lines.append, Ticks())


def test_a_wait_shows_every_change_and_a_sign_of_life_in_between() -> None:
    looks = iter(
        [WaitState(False, "none"), *[WaitState(False, "one")] * 40, WaitState(True, "two")]
    )
    lines: list[str] = []
    waits.until("nodes", lambda: next(looks), lambda: "", _pace(lines))
    assert [line.split(": ")[1] for line in lines] == ["none", "one", "one", "two"]


def test_a_wait_in_vain_gives_the_reason_and_one_that_is_hopeless_ends_at_once() -> None:
    lines: list[str] = []
    with pytest.raises(Problem, match=r"not after 5 s \(none\)\. no capacity"):
        waits.until("x", lambda: WaitState(False, "none"), lambda: "no capacity", _pace(lines, 5))
    with pytest.raises(Problem, match="it crashed"):
        waits.until("x", lambda: WaitState(False, "bad", "it crashed"), lambda: "", _pace(lines))


def test_an_error_that_may_pass_is_waited_out() -> None:
    looks = Mock(side_effect=[TransientError("The API is busy."), WaitState(True, "there")])
    lines: list[str] = []
    assert waits.until("x", looks, lambda: "", _pace(lines)).done
    assert "The API is busy" in lines[0]


def test_gpus_are_waited_for_at_the_node(patient: Run, server: Server, cluster: Cluster) -> None:
    server.put(scenes.node("system"), scenes.node("gpu", gpu=True))
    server.on(GPU_NODES, 2, scenes.node("gpu", gpu=True, gpus=1))
    record = gpus.wait_allocatable(patient, cluster)
    assert record.every(lambda node: node.gpu and record.taint in node.taints and node.gpus > 0)
    assert [node.name for node in record.nodes] == ["gpu"]
    assert patient.load(AllocatableGpus) == record


def test_missing_gpus_are_explained_by_nodes_plugin_or_its_pods(
    hasty: Run, server: Server, cluster: Cluster
) -> None:
    with pytest.raises(Problem, match="No node carries the label accelerator=nvidia"):
        gpus.wait_allocatable(hasty, cluster)
    server.put(scenes.node("gpu", gpu=True))
    with pytest.raises(Problem, match="device plugin is not installed"):
        gpus.wait_allocatable(hasty, cluster)
    server.put(scenes.daemon_set(PLUGIN, 0, 0, PLUGIN_LABELS))
    with pytest.raises(Problem, match=r"on 0 of 1 nodes.*wants no pod at all: no node fits"):
        gpus.wait_allocatable(hasty, cluster)


@pytest.mark.parametrize("words", ["untolerated taint {gpu: true}", "untolerated taint(s)"])
def test_the_taint_is_proved_by_two_pods_that_differ_in_one_toleration(
    patient: Run, server: Server, cluster: Cluster, words: str
) -> None:
    message = f"0/2 nodes are available: 1 node(s) had {words}. preemption: 0/2 nodes"
    server.on(f"{PODS}/taint-proof-without", 1, _proof("without", unschedulable=message))
    server.on(f"{PODS}/taint-proof-with", 1, _proof("with", node="gpu"))
    proof = gpus.prove_taint(patient, cluster)
    assert proof.kept_out and words in proof.message and proof.let_in == "gpu"
    assert server.get("Pod", "taint-proof-without") is None
    assert server.get("Pod", "taint-proof-with") is None


def test_a_pod_that_gets_onto_the_node_disproves_the_taint(
    patient: Run, server: Server, cluster: Cluster
) -> None:
    server.on(f"{PODS}/taint-proof-without", 1, _proof("without", node="gpu"))
    with pytest.raises(Problem, match=r"given to gpu.*have no such taint"):
        gpus.prove_taint(patient, cluster)
    assert server.get("Pod", "taint-proof-without") is None


def _proof(name: str, *, node: str = "", unschedulable: str = "") -> dict[str, Any]:
    body = scenes.pod("x", unschedulable=unschedulable)
    body["metadata"] = {"name": f"taint-proof-{name}", "namespace": "triton"}
    tolerations = [scenes.AGREED.taint.toleration] if name == "with" else []
    body["spec"] = gpus.pod(name, tolerations)["spec"]
    body["spec"] |= {"nodeName": node} if node else {}
    return body


def test_a_rollout_is_watched_until_its_pods_serve(server: Server, cluster: Cluster) -> None:
    path = "/apis/apps/v1/namespaces/triton/deployments/triton"
    server.put(scenes.deployment(seen=0), scenes.replica_set("new", 2))
    server.on(path, 2, scenes.deployment(updated=1, available=0, replicas=2))
    server.on(path, 3, scenes.deployment())
    lines: list[str] = []
    assert triton_release.wait_for_rollout(cluster, "triton", "triton", _pace(lines)) == 1
    assert ["not been seen" in lines[0], "1 old ones left" in lines[1]] == [True, True]


CRASH = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed"}}
ENDED = {"terminated": {"exitCode": 1, "reason": "Error"}}
PULL = {"waiting": {"reason": "ImagePullBackOff",
                    "message": 'Back-off pulling image "r/x": r/x: not found'}}  # fmt: skip


@pytest.mark.parametrize(
    ("state", "last", "reason"),
    [
        (CRASH, ENDED, r"(?s)Triton does not load its models.*creating server"),
        (PULL, {}, "is not in its registry"),
    ],
)
def test_a_pod_that_never_starts_ends_the_wait_and_old_pods_are_not_blamed(
    server: Server, cluster: Cluster, state: dict[str, Any], last: dict[str, Any], reason: str
) -> None:
    server.put(
        scenes.deployment(available=0), scenes.replica_set("new", 2), scenes.replica_set("old", 1),
        scenes.pod("old", state=CRASH, last=ENDED), scenes.pod("new", state=state, last=last),
    )  # fmt: skip
    server.logs[("triton-new-x", "triton")] = (
        "E1125 error: creating server: failed to load all models"
    )
    with pytest.raises(Problem, match=reason) as refused:
        triton_release.wait_for_rollout(cluster, "triton", "triton", _pace([]))
    assert "triton-old" not in str(refused.value)


def test_a_pull_that_the_kubelet_repeats_does_not_end_the_wait(
    server: Server, cluster: Cluster
) -> None:
    cut = {"waiting": {"reason": "ErrImagePull", "message": "rpc error: context canceled"}}
    server.put(
        scenes.deployment(available=0), scenes.replica_set("new", 2), scenes.pod("new", state=cut)
    )
    server.on("/apis/apps/v1/namespaces/triton/deployments/triton", 3, scenes.deployment())
    assert triton_release.wait_for_rollout(cluster, "triton", "triton", _pace([])) == 1


def test_a_pod_without_a_gpu_waits_and_the_time_out_names_the_scheduler(
    server: Server, cluster: Cluster
) -> None:
    message = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu. preemption: 0/2 nodes"
    server.put(
        scenes.deployment(available=0), scenes.replica_set("new", 1),
        scenes.pod("new", unschedulable=message),
    )  # fmt: skip
    with pytest.raises(Problem, match=r"not after 5 s.*No node has a free GPU: 0/2 nodes"):
        triton_release.wait_for_rollout(cluster, "triton", "triton", _pace([], 5))
