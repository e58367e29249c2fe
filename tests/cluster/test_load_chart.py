"""The load's chart: what it renders passes every check, and goes to CPU nodes alone."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import programs
from helpers.cluster import (
    checks,
    client,
    contract,
    placement,
    planned,
    releases,
    rendering,
    waits,
)  # fmt: skip
from helpers.cluster.checks import Setting
from helpers.cluster.findings import Finding
from helpers.cluster.helm import Helm
from helpers.cluster.lock import Lock
from helpers.cluster.manifest import parse
from helpers.cluster.objects import Objects
from helpers.cluster.waits import Pace, Seen
from helpers.load.worker import Order
from helpers.paths import ROOT
from helpers.run import Run

from . import control_plane, kubelets
from .test_checks import planned_group

pytestmark = pytest.mark.skipif(programs.find("helm") is None, reason="there is no helm here")
CHART = ROOT / "k8s" / "charts" / "load"
EXAMPLE = CHART / "ci" / "example-values.yaml"
AGREED = contract.load()
Body = dict[str, Any]


def rendered(*more: Path) -> rendering.Rendering:
    return rendering.template(
        CHART, (contract.CONTRACT, EXAMPLE, *more), release="load",
        namespace=AGREED.namespaces.load, kubernetes="1.35",
    )  # fmt: skip


@pytest.fixture(scope="module")
def good() -> list[Body]:
    made = rendered()
    assert made.faults == ()
    return parse(made.manifest)


@pytest.fixture
def setting(run: Run) -> Setting:
    """The nodes of a plan: two for system pods, one with a GPU."""
    run.write(planned.PLAN, json.dumps(planned_group(AGREED.gpu.taint.key)))
    return checks.of_run(run)


def found(bodies: list[Body], setting: Setting) -> list[Finding]:
    lines = checks.examine(Objects.of(bodies, AGREED.namespaces.load), setting)
    return [one for line in lines for one in line.findings]


def test_what_is_rendered_passes_every_check(good: list[Body], setting: Setting) -> None:
    assert rendering.lint(CHART, (contract.CONTRACT, EXAMPLE), "1.35") == ()
    assert found(good, setting) == []


def test_the_pods_go_to_cpu_nodes_and_are_spread(good: list[Body], setting: Setting) -> None:
    placed = placement.place(Objects.of(good), setting.cluster.nodes)
    workers = [one.node for one in placed if "worker" in one.pod]
    assert len(placed) == 3 and sorted(workers) == ["x-system-1", "x-system-2"]
    assert {one.node for one in placed} == set(workers)


def pods(bodies: list[Body]) -> list[Body]:
    return [one["spec"]["template"]["spec"] for one in bodies if one["kind"] == "Job"]


def affinity(pod: Body) -> list[Body]:
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    terms: list[Body] = pod["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"]
    return terms


def bears_the_taint(pod: Body) -> None:
    pod["tolerations"] = [AGREED.gpu.taint.toleration]


def bears_everything(pod: Body) -> None:
    pod["tolerations"] = [{"operator": "Exists"}]


def asks_for_the_label(pod: Body) -> None:
    pod["nodeSelector"] = AGREED.gpu.label.selector


def refuses_nothing(pod: Body) -> None:
    del pod["affinity"]


def refuses_another(pod: Body) -> None:
    affinity(pod)[0]["matchExpressions"][0]["values"] = ["amd"]


def wants_gpu_nodes(pod: Body) -> None:
    affinity(pod)[0]["matchExpressions"][0]["operator"] = "In"
    bears_the_taint(pod)


def has_a_way_out(pod: Body) -> None:
    other = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
    affinity(pod).append({"matchExpressions": [other]})


@pytest.mark.parametrize(
    "fault",
    [bears_the_taint, bears_everything, asks_for_the_label, refuses_nothing, refuses_another,
     wants_gpu_nodes, has_a_way_out],
    ids=lambda fault: fault.__name__,
)  # fmt: skip
def test_a_load_on_a_gpu_node_is_caught(
    good: list[Body], setting: Setting, fault: Callable[[Body], None]
) -> None:
    bad = copy.deepcopy(good)
    for pod in pods(bad):
        fault(pod)
    fields = ("tolerations", "nodeSelector", "affinity")
    caught = [one for one in found(bad, setting) if any(each in one.field for each in fields)]
    assert {one.object.split("/")[-1] for one in caught} == {"load-master", "load-worker"}


def test_without_rules_such_a_pod_would_be_placed_on_a_gpu_node(
    good: list[Body], setting: Setting
) -> None:
    bad = copy.deepcopy(good)
    for pod in pods(bad):
        wants_gpu_nodes(pod)
    nodes = {one.node for one in placement.place(Objects.of(bad), setting.cluster.nodes)}
    assert "x-gpu-1" in nodes


def test_no_node_takes_it_but_one_without_the_label(good: list[Body], setting: Setting) -> None:
    """The taint is gone, as an administrator may take it away: the label still keeps it off."""
    (gpu,) = [one for one in setting.cluster.nodes if one.name == "x-gpu-1"]
    bare = replace(gpu, taints=())
    assert {one.node for one in placement.place(Objects.of(good), [bare])} == {""}
    unmarked = replace(bare, labels={})
    assert {one.node for one in placement.place(Objects.of(good), [unmarked])} == {"x-gpu-1"}


def test_nothing_is_left_running(good: list[Body]) -> None:
    jobs = [one["spec"] for one in good if one["kind"] == "Job"]
    assert len(jobs) == 2
    for one in jobs:
        assert one["activeDeadlineSeconds"] == 1200 and one["ttlSecondsAfterFinished"] == 300
        assert one["backoffLimit"] == 0 and one["template"]["spec"]["restartPolicy"] == "Never"


def test_tritons_policy_lets_the_workers_in_and_theirs_lets_them_out(good: list[Body]) -> None:
    triton = rendering.template(
        rendering.CHART, (contract.CONTRACT, rendering.CHART / "ci" / "gpu-values.yaml"),
        release="triton", namespace=AGREED.namespaces.triton, kubernetes="1.35",
    )  # fmt: skip
    theirs = {one["kind"]: one for one in parse(triton.manifest)}
    peers = theirs["NetworkPolicy"]["spec"]["ingress"][0]["from"]
    here = {"kubernetes.io/metadata.name": AGREED.namespaces.load}
    assert {"namespaceSelector": {"matchLabels": here}} in peers
    (rule,) = [
        rule for one in good if one["kind"] == "NetworkPolicy"
        for rule in one["spec"]["egress"]
        if rule["to"][0].get("namespaceSelector", {}).get("matchLabels")
        == {"kubernetes.io/metadata.name": AGREED.namespaces.triton}
    ]  # fmt: skip
    labels = theirs["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert rule["to"][0]["podSelector"]["matchLabels"].items() <= labels.items()
    assert [one["port"] for one in rule["ports"]] == [AGREED.ports.http, AGREED.ports.grpc]


def test_the_example_is_an_order_that_a_worker_takes() -> None:
    values = yaml.safe_load(EXAMPLE.read_text())
    assert Order.model_validate_json(values["order"]).scenario.workers == 2


@pytest.mark.parametrize(
    ("values", "field", "right"),
    [
        ({"imgae": {}}, "imgae", "image"),
        ({"image": {"digest": "latest"}}, "image.digest", "sha256"),
        ({"image": {"digest": ""}}, "image.digest", "digest"),
        ({"order": ""}, "", "JSON"),
        ({"order": "{1}"}, "", "invalid character"),
        ({"order": '{"scenario": {"workers": 65}}'}, "", "1 to 64"),
        ({"order": {"scenario": {}}}, "order", "string"),
        ({"deadlineSeconds": 5}, "deadlineSeconds", ""),
        ({"resources": {"worker": {"memory": "2GB"}}}, "resources.worker.memory", ""),
        ({"resources": {"worker": {"gpu": "1"}}}, "resources.worker.gpu", "value"),
        ({"tolerations": []}, "tolerations", "value"),
        ({"gpu": None}, "", "contract"),
        ({"namespaces": {"load": "elsewhere"}}, "", "--namespace elsewhere"),
    ],
    ids=str,
)
def test_a_wrong_value_is_explained(
    tmp_path: Path, values: Body, field: str, right: str
) -> None:  # fmt: skip
    changed = tmp_path / "values.yaml"
    changed.write_text(yaml.safe_dump(values))
    made = rendered(changed)
    assert made.manifest == ""
    assert any(one.field == field and right in f"{one.wrong} {one.right}" for one in made.faults), (
        made.faults
    )


@pytest.mark.skipif(bool(control_plane.absent()), reason=control_plane.absent())
def test_a_real_scheduler_spreads_it_over_cpu_nodes(tmp_path: Path, setting: Setting) -> None:
    """Opt-in, as `tests.cluster.control_plane` says; one GPU node has lost its taint."""
    (gpu,) = [one for one in setting.cluster.nodes if one.name == "x-gpu-1"]
    nodes = (*setting.cluster.nodes, replace(gpu, name="x-untainted", taints=()))
    with control_plane.running(tmp_path) as config:
        cluster = client.of_context(control_plane.CONTEXT, str(config))
        releases.prepare(cluster, Lock.load())
        kubelets.join(cluster, nodes)
        space = AGREED.namespaces.load
        Helm.of(cluster).apply("load", CHART, space, [contract.CONTRACT, EXAMPLE])

        def look() -> Seen:
            pods = cluster.plain(cluster.core.list_namespaced_pod(space))["items"]
            on = [one["spec"].get("nodeName", "") for one in pods]
            return Seen(len(on) == 3 and all(on), ",".join(sorted(on)))

        seen = waits.until("pods bound", look, lambda: "", Pace(30, 0.2))
    assert set(seen.text.split(",")) == {"x-system-1", "x-system-2"}
