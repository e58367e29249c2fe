"""The checks of the chart as a run's record: labels, nodes of a plan, a server's word, no helm."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto.ec2.models.instance_types import INSTANCE_TYPES

from helpers import programs
from helpers.cluster import checks, contract, planned, rendering
from helpers.cluster.checks import Answer
from helpers.cluster.findings import Finding
from helpers.cluster.machines import MACHINES
from helpers.cluster.manifest import parse
from helpers.cluster.objects import Resource
from helpers.cluster.planned import TEMPLATE
from helpers.cluster.reports import ChartChecks
from helpers.errors import Problem
from helpers.run import Run

needs_helm = pytest.mark.skipif(programs.find("helm") is None, reason="there is no helm here")
ORDER = ["lint", "render", "schema", "rules", "placement", "rollout", "selection", "dry run"]


def planned_group(gpu_taint: str) -> dict[str, Any]:
    gpu = contract.load().gpu
    tags = {f"{TEMPLATE}label/{gpu.label.key}": gpu.label.value,
            f"{TEMPLATE}taint/{gpu_taint}": f"{gpu.taint.value}:{gpu.taint.effect}"}  # fmt: skip
    override = [{"instance_type": name} for name in gpu.instance_types]
    scaling = {
        "name": "x-gpu", "min_size": 0, "desired_capacity": 1, "max_size": 2,
        "tag": [{"key": key, "value": value} for key, value in tags.items()],
        "mixed_instances_policy": [{"launch_template": [{"override": override}]}],
    }  # fmt: skip
    managed = {"node_group_name": "x-system", "instance_types": ["t3.large"], "labels": None,
               "taint": [], "scaling_config": [{"desired_size": 2, "max_size": 3}]}  # fmt: skip
    resources = [{"mode": "managed", "type": "aws_autoscaling_group", "values": scaling},
                 {"mode": "managed", "type": "aws_eks_node_group", "values": managed}]  # fmt: skip
    return {"planned_values": {"root_module": {"resources": resources}}}


@needs_helm
def test_the_report_keeps_the_order_and_says_what_each_line_is_worth(run: Run) -> None:
    record = checks.run(run)
    assert record == run.load(ChartChecks)
    assert record.holds and record.faults == ()
    assert [line.check for line in record.lines if line.values == "gpu"] == ORDER
    labels = {line.check: line.label for line in record.lines}
    assert (labels["lint"], labels["render"]) == ("REAL", "REAL")
    assert {labels[check] for check in ORDER[2:7]} == {"STATIC"}
    assert labels["dry run"] == "NOT CHECKED"
    assert all(one.node for one in record.placements)
    assert list(record.frame()["Check"]) == [line.check for line in record.lines]


@needs_helm
def test_a_real_server_s_word_is_a_line_of_its_own(run: Run) -> None:
    asked: list[str] = []

    def server(bodies: Sequence[Mapping[str, Any]]) -> Answer:
        asked.extend(body["kind"] for body in bodies)
        no = Finding(object="Deployment triton/triton", field="spec", wrong="no", right="yes")
        unknown = [Resource(one) for one in bodies if one["kind"] in ("ServiceMonitor", "Pod")]
        return Answer((no,), tuple(unknown))

    record = checks.run(run, dry_run=server)
    line = next(line for line in record.lines if line.check == "dry run")
    assert "Deployment" in asked
    assert (line.label, line.holds, record.holds) == ("REAL", False, False)
    assert record.faults[0].startswith("Deployment triton/triton: spec: no")
    assert "ServiceMonitor, whose definition comes with kube-prometheus-stack" in line.seen
    assert [one.object.split(" ")[0] for one in line.findings] == ["Deployment", "Pod"]


@needs_helm
def test_the_nodes_are_those_of_the_plan(run: Run) -> None:
    run.write(planned.PLAN, json.dumps(planned_group(contract.load().gpu.taint.key)))
    record = checks.run(run)
    assert record.holds, record.faults
    assert record.nodes_from == planned.PLAN
    assert {one.node for one in record.placements} == {"x-gpu-1", "x-system-1"}


@needs_helm
def test_a_plan_whose_taint_is_another_is_caught_twice(run: Run) -> None:
    run.write(planned.PLAN, json.dumps(planned_group("gpus")))
    record = checks.run(run)
    found = {line.check for line in record.lines if line.findings}
    assert found == {"nodes", "placement"}
    assert any("untolerated taint {gpus: true}" in one for one in record.faults)


def test_a_plan_without_nodes_is_one_sentence(run: Run) -> None:
    run.write(planned.PLAN, json.dumps({"planned_values": {"root_module": {"resources": []}}}))
    with pytest.raises(Problem, match="has no group of nodes"):
        checks.run(run)


def test_without_helm_nothing_is_claimed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "TOOLS", run.folder)
    monkeypatch.setenv("PATH", "")
    record = checks.run(run)
    assert not record.holds
    assert "no helm on this machine" in record.absent
    assert record.summary.startswith("NOT CHECKED")


def test_the_sizes_of_machines_are_those_that_aws_answers() -> None:
    for name, one in MACHINES.items():
        said = INSTANCE_TYPES[name]
        gpus = said.get("GpuInfo", {}).get("Gpus", [{"Count": 0}])[0]["Count"]
        network = said["NetworkInfo"]
        assert (one.cpus, one.memory_mib, one.gpus, one.interfaces, one.addresses) == (
            said["VCpuInfo"]["DefaultVCpus"],
            said["MemoryInfo"]["SizeInMiB"],
            gpus,
            network["MaximumNetworkInterfaces"],
            network["Ipv4AddressesPerInterface"],
        ), name


@pytest.fixture(scope="module")
def good() -> list[Any]:
    made = rendering.template(
        rendering.CHART, (contract.CONTRACT, rendering.CHART / "ci" / "gpu-values.yaml"),
        release="triton", namespace="triton", kubernetes="1.35",
    )  # fmt: skip
    return parse(made.manifest)


JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, 5, -1, True, 1.5, "x", [], {}, [5], [[]], [{}], {"a": {"b": [1]}}]
)


@needs_helm
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_objects_of_any_shape_are_judged_without_falling_over(
    good: list[Any], run: Run, data: st.DataObject
) -> None:
    bad = json.loads(json.dumps(good))
    place: Any = data.draw(st.sampled_from(bad), "object")
    for _ in range(data.draw(st.integers(0, 8), "depth")):
        key = data.draw(st.sampled_from(_keys(place)), "key")
        if not isinstance(place[key], dict | list) or not place[key]:
            break
        place = place[key]
    place[data.draw(st.sampled_from(_keys(place)), "last")] = data.draw(JUNK, "junk")
    found = checks.findings(bad, checks.of_run(run))
    assert all(one.object and one.wrong and one.right for one in found)


def _keys(place: Any) -> list[Any]:
    return list(place) if isinstance(place, dict) else list(range(len(place)))
