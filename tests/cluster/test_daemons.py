"""DaemonSets of other releases take their share of a node before our pods come."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.cluster import checks, contract, daemons, lock, placement, planned
from helpers.cluster.daemons import Standing
from helpers.cluster.lock import Daemon, Lock
from helpers.cluster.objects import Objects
from helpers.cluster.planned import SYSTEM_PODS, Cluster
from helpers.errors import Problem
from helpers.profile import Profile
from helpers.run import Run

from .test_placement import gpu_node, node, on_gpu, pod

AGREED = contract.load()


@pytest.fixture
def cluster() -> Cluster:
    profile = Profile.load_named("rehearsal")
    return planned.from_contract(AGREED, profile.infrastructure, profile.region)


def daemon(name: str, cpu: str, **spec: Any) -> dict[str, Any]:
    where: dict[str, Any] = {"tolerations": [{"operator": "Exists"}]}
    return pod(name, "DaemonSet", requests={"cpu": cpu, "memory": "64Mi"}, **(where | spec))


def standing(*bodies: dict[str, Any]) -> tuple[Standing, ...]:
    pods = daemons.daemons_of(Objects.of(bodies))
    return tuple(Standing(one.owner.name, one, "rendered") for one in pods)


def test_a_pod_that_fits_an_empty_node_does_not_fit_beside_a_daemon_set() -> None:
    wanted = Objects.of([pod("a", requests={"cpu": "3500m"})])
    assert placement.place(wanted, [node("n")])[0].node == "n"
    taken = daemons.daemons_of(Objects.of([daemon("d", "600m")]))
    (found,) = placement.place(wanted, [node("n")], taken)
    assert found.node == "" and "1 Insufficient cpu" in found.why
    (fault,) = placement.faults(wanted, [node("n")], taken)
    assert "Insufficient cpu" in fault.wrong


def test_a_daemon_set_takes_of_the_nodes_it_goes_to_alone() -> None:
    elsewhere = daemon("d", "3", nodeSelector=AGREED.gpu.label.selector)
    bodies = Objects.of([pod("a", requests={"cpu": "2"}), on_gpu("b")])
    nodes = [node("cpu"), gpu_node("gpu")]
    assert [one.node for one in placement.place(
        bodies, nodes, daemons.daemons_of(Objects.of([elsewhere])))] == ["cpu", "gpu"]  # fmt: skip
    state, failed = placement.stand(daemons.daemons_of(Objects.of([elsewhere])), nodes)
    assert not failed
    assert [placement.left(state, one)["cpu"] for one in nodes] == [Fraction(4), Fraction(1)]


def test_a_port_of_the_host_is_not_free_twice() -> None:
    ports = {"ports": [{"containerPort": 9100, "hostPort": 9100}]}
    taken = daemons.daemons_of(Objects.of([daemon("d", "10m", container=ports)]))
    (found,) = placement.place(Objects.of([pod("a", container=ports)]), [node("n")], taken)
    assert "free ports" in found.why


def test_what_the_lock_file_states_stands_on_its_nodes(cluster: Cluster, tmp_path: Path) -> None:
    found = daemons.beside("triton", AGREED, tmp_path)
    assert {one.source for one in found} == {"values"}
    state, failed = placement.stand([one.pod for one in found], cluster.nodes)
    assert not failed
    stated = {one.name: one.nodes for release in Lock.load().releases for one in release.daemons}
    for each in cluster.nodes:
        there = {one.pod.owner.name for one in state.on(each)}
        gpu = AGREED.gpu.resource in each.allocatable
        assert there == {name for name, where in stated.items() if where == "every" or gpu}


def test_what_the_run_has_rendered_comes_before_what_is_stated(
    cluster: Cluster, tmp_path: Path
) -> None:
    folder = tmp_path / daemons.RENDERED
    folder.mkdir(parents=True)
    rendered = daemon("other-name", "777m", nodeSelector=AGREED.gpu.label.selector)
    (folder / "dcgm-exporter.yaml").write_text(yaml.safe_dump_all([rendered, pod("x")]))
    found = daemons.beside("triton", AGREED, tmp_path)
    assert [one.pod.owner.name for one in found if one.source == "rendered"] == ["other-name"]
    assert "dcgm-exporter" not in [one.pod.owner.name for one in found]
    seen = daemons.line(found, cluster, AGREED).seen
    assert "dcgm-exporter 777m CPU 64Mi memory (rendered)" in seen
    assert "nvidia-device-plugin" in seen.partition("(rendered)")[2].partition("not rendered")[0]


def test_the_release_itself_is_not_counted_twice(tmp_path: Path) -> None:
    names = {one.release for one in daemons.beside("dcgm-exporter", AGREED, tmp_path)}
    assert "dcgm-exporter" not in names and "nvidia-device-plugin" in names


def test_the_line_adds_up(cluster: Cluster) -> None:
    line = daemons.line(standing(daemon("d", "500m")), cluster, AGREED)
    (gpu,) = (one for one in cluster.nodes if AGREED.gpu.resource in one.allocatable)
    left = gpu.allocatable["cpu"] - SYSTEM_PODS["cpu"] - Fraction(1, 2)
    assert (line.label, line.findings) == ("STATIC", ())
    assert f"left: {int(left * 1000)}m CPU" in line.seen and "EKS's own pods 150m CPU" in line.seen


def test_daemon_sets_that_have_no_room_are_a_fault(cluster: Cluster) -> None:
    line = daemons.line(standing(daemon("a", "3"), daemon("b", "3")), cluster, AGREED)
    assert {one.object for one in line.findings} == {"DaemonSet default/b", "DaemonSet default/a"}
    assert all("Insufficient cpu" in one.wrong for one in line.findings)


def test_a_daemon_set_whose_requests_are_nowhere_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dcgm = Lock.load().named("dcgm-exporter")
    silent = dcgm.model_copy(update={"daemons": (Daemon(name="d", nodes="gpu", resources="no"),)})
    only = Lock(namespaces=(), releases=(silent,))
    monkeypatch.setattr(lock.Lock, "load", classmethod(lambda cls: only))
    with pytest.raises(Problem, match=r"states no requests for the DaemonSet d.*no\.requests"):
        daemons.beside("triton", AGREED, tmp_path)


def test_a_run_checks_against_nodes_that_others_use_already(run: Run) -> None:
    setting = checks.of_run(run)
    assert {one.release for one in setting.standing} >= {"dcgm-exporter", "nvidia-device-plugin"}
    (gpu,) = (one for one in setting.cluster.nodes if AGREED.gpu.resource in one.allocatable)
    whole = gpu.allocatable["cpu"] - SYSTEM_PODS["cpu"]
    body = on_gpu("greedy")
    amounts = body["spec"]["containers"][0]["resources"]["requests"]
    amounts["cpu"] = f"{int(whole * 1000)}m"
    assert placement.place(Objects.of([body]), setting.cluster.nodes)[0].node == gpu.name
    assert any("Insufficient cpu" in one.wrong for one in checks.findings([body], setting))
