"""The load's chart, whose pods go to CPU nodes alone."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import programs
from helpers.cluster import chart_checks, contract
from helpers.cluster.helm import Helm
from helpers.cluster.load_pods import CHART
from helpers.cluster.records import ChartFault
from helpers.errors import Problem
from helpers.load.worker import Order
from tests.k8s import charts

from . import scenes

pytestmark = pytest.mark.skipif(programs.find("helm") is None, reason="there is no helm here")
AGREED = contract.load()
EXAMPLE = CHART / "ci" / "example-values.yaml"
Body = dict[str, Any]


def rendered(*more: Path) -> list[Body]:
    values = (contract.CONTRACT, EXAMPLE, *more)
    text = Helm().template("load", CHART, AGREED.namespaces.load, values, "1.35")
    return [body for body in yaml.safe_load_all(text) if body]


@pytest.fixture(scope="module")
def good() -> list[Body]:
    return rendered()


def faults(bodies: list[Body]) -> list[ChartFault]:
    lines = chart_checks.check_objects(bodies, AGREED, "1.35", "load")
    return [finding for line in lines for finding in line.findings]


def test_what_is_rendered_passes_every_check(good: list[Body]) -> None:
    charts.helm("lint", "--strict", CHART, "--namespace", AGREED.namespaces.load,
                f"--values={contract.CONTRACT}", f"--values={EXAMPLE}")  # fmt: skip
    assert faults(good) == []


def job_pods(bodies: list[Body]) -> list[Body]:
    return [body["spec"]["template"]["spec"] for body in bodies if body["kind"] == "Job"]


def terms(pod: Body) -> list[Body]:
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    terms: list[Body] = pod["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"]
    return terms


LINUX = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
TAINT = [AGREED.gpu.taint.toleration]
# what puts a pod on a GPU node → how its specification says so
FAULTS: dict[str, Callable[[Body], Any]] = {
    "bears the taint": lambda pod: pod.update(tolerations=TAINT),
    "bears everything": lambda pod: pod.update(tolerations=[{"operator": "Exists"}]),
    "asks for the label": lambda pod: pod.update(nodeSelector=scenes.SELECTOR),
    "refuses nothing": lambda pod: pod.pop("affinity"),
    "refuses another": lambda pod: terms(pod)[0]["matchExpressions"][0].update(values=["amd"]),
    "wants GPU nodes": lambda pod: (
        pod.update(tolerations=TAINT), terms(pod)[0]["matchExpressions"][0].update(operator="In")
    ),
    "has a way out": lambda pod: terms(pod).append({"matchExpressions": [LINUX]}),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_load_on_a_gpu_node_is_caught(good: list[Body], fault: str) -> None:
    bad = copy.deepcopy(good)
    for pod in job_pods(bad):
        FAULTS[fault](pod)
    fields = ("tolerations", "nodeSelector", "affinity")
    caught = [each for each in faults(bad) if each.field in fields]
    assert {each.object.split("/")[-1] for each in caught} == {"load-master", "load-worker"}


def test_nothing_is_left_running(good: list[Body]) -> None:
    jobs = [body["spec"] for body in good if body["kind"] == "Job"]
    assert len(jobs) == 2
    for job in jobs:
        assert job["activeDeadlineSeconds"] == 1200 and job["ttlSecondsAfterFinished"] == 300
        assert job["backoffLimit"] == 0 and job["template"]["spec"]["restartPolicy"] == "Never"


def test_tritons_policy_lets_the_workers_in_and_theirs_lets_them_out(good: list[Body]) -> None:
    theirs = {body["kind"]: body for body in charts.triton()}
    peers = theirs["NetworkPolicy"]["spec"]["ingress"][0]["from"]
    here = {"kubernetes.io/metadata.name": AGREED.namespaces.load}
    assert {"namespaceSelector": {"matchLabels": here}} in peers
    (rule,) = [
        rule for body in good if body["kind"] == "NetworkPolicy"
        for rule in body["spec"]["egress"]
        if rule["to"][0].get("namespaceSelector", {}).get("matchLabels")
        == {"kubernetes.io/metadata.name": AGREED.namespaces.triton}
    ]  # fmt: skip
    labels = theirs["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert rule["to"][0]["podSelector"]["matchLabels"].items() <= labels.items()
    assert [port["port"] for port in rule["ports"]] == [AGREED.ports.http, AGREED.ports.grpc]


def test_the_example_is_an_order_that_a_worker_takes() -> None:
    values = yaml.safe_load(EXAMPLE.read_text())
    assert Order.model_validate_json(values["order"]).scenario.workers == 2


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"imgae": {}}, "imgae"),
        ({"image": {"digest": "latest"}}, "/image/digest"),
        ({"order": ""}, "JSON"),
        ({"order": '{"scenario": {"workers": 65}}'}, "1 to 64"),
        ({"order": {"scenario": {}}}, "/order"),
        ({"deadlineSeconds": 5}, "/deadlineSeconds"),
        ({"resources": {"worker": {"memory": "2GB"}}}, "/resources/worker/memory"),
        ({"gpu": None}, "contract"),
        ({"namespaces": {"load": "elsewhere"}}, "--namespace elsewhere"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_and_named(tmp_path: Path, values: Body, named: str) -> None:
    changed = tmp_path / "values.yaml"
    changed.write_text(yaml.safe_dump(values))
    with pytest.raises(Problem) as refused:
        rendered(changed)
    assert named in str(refused.value)
