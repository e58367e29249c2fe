"""Opt-in: chart, rules and placement against a real control plane.

`tests.cluster.control_plane` says what it needs. `tests.cluster.kubelets` plays its kubelets, so no
container runs.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes.client import V1Eviction, V1ObjectMeta

from helpers.cluster import (
    checks,
    client,
    dry_run,
    filters,
    gpus,
    nodes,
    placement,
    releases,
    rollout_wait,
)
from helpers.cluster.checks import Setting
from helpers.cluster.client import Cluster
from helpers.cluster.contract import CONTRACT
from helpers.cluster.fields import Field
from helpers.cluster.filters import Candidate, State
from helpers.cluster.helm import Helm
from helpers.cluster.lock import Lock
from helpers.cluster.objects import Objects, Pod, Resource
from helpers.cluster.rules.custom import is_custom
from helpers.errors import Problem
from helpers.profile import Profile
from helpers.run import Run
from tests.k8s import charts

from . import control_plane, kubelets, test_placement
from .random_mutations import mutations

pytestmark = pytest.mark.skipif(bool(control_plane.absent()), reason=control_plane.absent())
VALUES = {"gpu": charts.GPU, "cpu": charts.CPU}
MUTATIONS, SEED = 400, 20261125
NOTICED_S = 20
GPU_NODE = "gpu-e2e-gpu-1"
OTHER = "sha256:" + "2" * 64  # an image that is not the example's
RELEASE = "triton"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane with the lock file's namespaces, and nothing in them."""
    with control_plane.running(tmp_path_factory.mktemp("control-plane")) as config:
        found = client.of_context(control_plane.CONTEXT, str(config))
        releases.prepare(found, Lock.load())
        yield found


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    run = Run.create(Profile.load_named("rehearsal"), tmp_path_factory.mktemp("outputs"))
    return checks.of_run(run)


@pytest.fixture
def joined(cluster: Cluster, setting: Setting) -> Iterator[None]:
    """The planned nodes, with kubelets that are played."""
    kubelets.join(cluster, setting.cluster.nodes)
    with kubelets.running(cluster):
        yield
        kubelets.leave(cluster)


def known_to_kubernetes(values: str) -> list[dict[str, Any]]:
    """The chart's objects but for custom resources: their definitions come with other releases."""
    rendered = charts.triton(values=(CONTRACT, VALUES[values]))
    return [one for one in rendered if not is_custom(Resource(one))]


@pytest.mark.parametrize("values", VALUES)
def test_the_api_server_takes_every_object(cluster: Cluster, values: str) -> None:
    assert dry_run.ask(cluster, known_to_kubernetes(values)).refused == ()


def test_a_run_s_checks_ask_it_again_and_again(cluster: Cluster, patient: Run) -> None:
    for _ in range(2):  # each makes and removes a namespace
        record = checks.run(patient, dry_run=partial(dry_run.ask, cluster))
        asked = [line for line in record.lines if line.check == "dry run"]
        assert [(line.label, line.findings) for line in asked] == [("REAL", ())] * 2
        assert "kube-prometheus-stack" in asked[0].seen


@pytest.mark.parametrize("values", VALUES)
def test_what_the_api_server_refuses_the_checks_find_without_it(
    cluster: Cluster, setting: Setting, values: str
) -> None:
    good = known_to_kubernetes(values)
    refused, overlooked = 0, []
    for one in mutations(good, MUTATIONS, SEED):
        answer = dry_run.ask(cluster, [one.body])
        said = [*(each.wrong for each in answer.refused), *(each.id for each in answer.unknown)]
        refused += bool(said)
        bodies = [*good[: one.number], one.body, *good[one.number + 1 :]]
        if said and not checks.findings(bodies, setting):
            overlooked.append(f"{one.what}: {said[0]}")
    assert refused > MUTATIONS / 4
    assert overlooked == []


def test_a_new_image_replaces_the_old_one_on_a_single_gpu(
    cluster: Cluster, joined: None, patient: Run, tmp_path: Path
) -> None:
    with installed(cluster, tmp_path) as release:
        pace = nodes.pace(patient, NOTICED_S)
        assert rollout_wait.wait(cluster, RELEASE, RELEASE, pace) == 1
        release.upgrade({"image": {"digest": OTHER}})
        assert rollout_wait.wait(cluster, RELEASE, RELEASE, pace) == 1
        assert [on for _, on in pods(cluster)] == [GPU_NODE]
        assert "Succeeded" in release.helm.test(RELEASE, RELEASE)


def test_a_surge_on_a_single_gpu_waits_for_ever_and_the_reason_is_told(
    cluster: Cluster, joined: None, patient: Run, tmp_path: Path
) -> None:
    with installed(cluster, tmp_path) as release:
        rollout_wait.wait(cluster, RELEASE, RELEASE, nodes.pace(patient, NOTICED_S))
        surge = {"maxSurge": 1, "maxUnavailable": 0}
        release.upgrade({"image": {"digest": OTHER}, "strategy": surge})
        with pytest.raises(Problem, match=r"Insufficient nvidia\.com/gpu"):
            rollout_wait.wait(cluster, RELEASE, RELEASE, nodes.pace(patient, 5))


def test_a_cordoned_gpu_node_is_the_reason(
    cluster: Cluster, joined: None, patient: Run, tmp_path: Path
) -> None:
    cluster.core.patch_node(GPU_NODE, {"spec": {"unschedulable": True}})
    with (
        installed(cluster, tmp_path),
        pytest.raises(Problem, match=r"cordoned: 0/2 nodes are available.*kubectl uncordon"),
    ):
        rollout_wait.wait(cluster, RELEASE, RELEASE, nodes.pace(patient, 5))


def test_pods_that_the_namespace_refuses_are_explained(
    cluster: Cluster, joined: None, patient: Run, tmp_path: Path
) -> None:
    quota: Any = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    cluster.core.create_namespaced_resource_quota(RELEASE, quota)
    try:
        with installed(cluster, tmp_path), pytest.raises(Problem, match="quota none is used up"):
            rollout_wait.wait(cluster, RELEASE, RELEASE, nodes.pace(patient, 5))
    finally:
        cluster.core.delete_namespaced_resource_quota("none", RELEASE)


def test_a_change_by_hand_is_not_overwritten(
    cluster: Cluster, joined: None, patient: Run, tmp_path: Path
) -> None:
    image = {"name": "triton", "image": "example.com/other"}
    by_hand = {"spec": {"template": {"spec": {"containers": [image]}}}}
    with installed(cluster, tmp_path) as release:
        cluster.apps.patch_namespaced_deployment(
            RELEASE, RELEASE, by_hand, field_manager="somebody"
        )
        with pytest.raises(Problem, match=r"'somebody' has set .*image"):
            release.upgrade({"image": {"digest": OTHER}})


def test_the_disruption_budget_lets_a_node_be_drained(
    cluster: Cluster, joined: None, patient: Run, tmp_path: Path
) -> None:
    with installed(cluster, tmp_path):
        rollout_wait.wait(cluster, RELEASE, RELEASE, nodes.pace(patient, NOTICED_S))
        ((name, _),) = pods(cluster)
        body = V1Eviction(metadata=V1ObjectMeta(name=name, namespace=RELEASE))
        cluster.core.create_namespaced_pod_eviction(name, RELEASE, body)
        rollout_wait.wait(cluster, RELEASE, RELEASE, nodes.pace(patient, NOTICED_S))
        assert name not in dict(pods(cluster))


def test_the_taint_is_proved_by_the_real_scheduler(
    cluster: Cluster, joined: None, patient: Run
) -> None:
    proof = gpus.prove_taint(patient, cluster)
    assert proof.holds
    assert proof.let_in == GPU_NODE


def test_gpus_are_allocatable(cluster: Cluster, joined: None, patient: Run) -> None:
    assert gpus.wait_allocatable(patient, cluster).allocatable


@pytest.mark.parametrize("values", VALUES)
def test_pods_land_where_the_placement_says(
    cluster: Cluster, joined: None, setting: Setting, patient: Run, tmp_path: Path, values: str
) -> None:
    objects = Objects.of(known_to_kubernetes(values), RELEASE)
    foreseen = {one.pod.split(" #")[0]: one.node
                for one in placement.place(objects, setting.cluster.nodes)}  # fmt: skip
    with installed(cluster, tmp_path, values):
        rollout_wait.wait(cluster, RELEASE, RELEASE, nodes.pace(patient, NOTICED_S))
        assert {on for _, on in pods(cluster)} == {foreseen[f"Deployment {RELEASE}/{RELEASE}"]}


@settings(max_examples=60, deadline=None)
@given(
    asked=st.lists(test_placement.asked, min_size=1, max_size=4),
    hosts=st.lists(test_placement.machines, min_size=1, max_size=3),
)
def test_the_scheduler_agrees_on_random_pods(
    cluster: Cluster, asked: list[dict[str, Any]], hosts: list[dict[str, Any]]
) -> None:
    for one in hosts:  # a node has a taint of a key and an effect once
        one["taints"] = list({(t["key"], t["effect"]): t for t in one["taints"]}.values())
    made = [test_placement.as_node(number, one) for number, one in enumerate(hosts)]
    by_name = {one.name: one for one in made}
    state = State(tuple(made))
    kubelets.join(cluster, made)
    try:
        for number, wanted in enumerate(asked):
            body = as_real(test_placement.as_pod(number, wanted))
            candidate = Candidate(body["metadata"]["name"], Pod(Resource(body), Field(body)))
            fits = {one.name for one in made if not filters.why_not(candidate, one, state)}
            cluster.core.create_namespaced_pod("default", body)
            node = scheduled(cluster, body["metadata"]["name"], len(made))
            assert (node in fits) if fits else node == ""
            if node:
                placed = (*state.placed, (candidate, by_name[node]))
                state = State(state.nodes, placed)
    finally:
        cluster.core.delete_collection_namespaced_pod("default", grace_period_seconds=0)
        kubelets.leave(cluster)


@contextlib.contextmanager
def installed(cluster: Cluster, folder: Path, values: str = "gpu") -> Iterator["Installed"]:
    """The chart without its ServiceMonitor, whose definition comes with another release."""
    release = Installed(Helm.of(cluster), folder / "changed.yaml", VALUES[values])
    release.upgrade({})
    try:
        yield release
    finally:
        release.helm.remove(RELEASE, RELEASE)


@dataclass(frozen=True)
class Installed:
    """A release under test."""

    helm: Helm
    changed: Path
    values: Path

    def upgrade(self, changes: dict[str, Any]) -> None:
        """Install it with other values."""
        self.changed.write_text(yaml.safe_dump({"serviceMonitor": {"enabled": False}, **changes}))
        self.helm.apply(RELEASE, charts.TRITON, RELEASE, [CONTRACT, self.values, self.changed])


def as_real(body: dict[str, Any]) -> Any:
    """A pod as the API server takes it: with an image, and GPUs as limits too."""
    (container,) = body["spec"]["containers"]
    requests = container["resources"]["requests"]
    limits = {test_placement.GPU.resource: requests[test_placement.GPU.resource]}
    return body | {
        "spec": {
            **body["spec"],
            "containers": [
                container | {"image": "none", "resources": {"requests": requests, "limits": limits}}
            ],
        }
    }


def scheduled(cluster: Cluster, name: str, count: int) -> str:
    """The node that the scheduler has given a pod; empty once it says that none fits."""
    deadline = time.monotonic() + NOTICED_S
    while time.monotonic() < deadline:
        pod = cluster.plain(cluster.core.read_namespaced_pod(name, "default"))
        if pod["spec"].get("nodeName"):
            return str(pod["spec"]["nodeName"])
        for one in pod["status"].get("conditions", []):
            said = one.get("message", "")
            # it may not have seen yet that a node is there, and Ready
            seen = said.startswith(f"0/{count} ") and "not-ready" not in said
            if one["type"] == "PodScheduled" and one["status"] == "False" and seen:
                return ""
        time.sleep(0.02)
    raise TimeoutError(f"the scheduler has not looked at {name}: {pod['status']}")


def pods(cluster: Cluster) -> list[tuple[str, str]]:
    """Name and node of the server's pods that are not on their way out."""
    chosen = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=server"
    answer = cluster.core.list_namespaced_pod(RELEASE, label_selector=chosen)
    return [
        (one["metadata"]["name"], one["spec"].get("nodeName", ""))
        for one in cluster.plain(answer)["items"]
        if "deletionTimestamp" not in one["metadata"]
    ]
