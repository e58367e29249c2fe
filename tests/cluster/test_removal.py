"""The end of a cluster's own: in the right order, and never in Terraform's way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers import programs
from helpers.cloud import sweep
from helpers.cloud.account import Account
from helpers.cloud.stack import Stack
from helpers.cluster import client, removal, triton_release
from helpers.cluster.client import Cluster
from helpers.cluster.helm import Helm
from helpers.cluster.releases import Lock
from helpers.cluster.removal import Removal
from helpers.cluster.waits import Pace
from helpers.errors import Problem
from helpers.run import Run

from . import scenes
from .api_server import Server

INGRESSES = "/apis/networking.k8s.io/v1/ingresses"
FINALIZER = "ingress.k8s.aws/resources"
needs_helm = pytest.mark.skipif(programs.find("helm") is None, reason="no helm: 'make setup'")
NEVER = Pace(0.05, 0.01, lambda _: None)


@pytest.fixture
def on_aws(aws: Account, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Callable[[Run], Run]:
    """Makes a run one on AWS, whose stack stands and whose cluster EKS knows."""
    aws.client("eks").create_cluster(
        name=stack.cluster_name, roleArn="arn:aws:iam::123456789012:role/eks",
        resourcesVpcConfig={"subnetIds": list(stack.public_subnet_ids)},
    )  # fmt: skip
    monkeypatch.setattr(Run, "find", lambda self, kind: stack)

    def of(run: Run) -> Run:
        return Run(run.folder, run.profile.model_copy(update={"target": "aws"}))

    return of


def held(body: dict[str, Any]) -> dict[str, Any]:
    """An object that its controller has taken in hand."""
    body["metadata"]["finalizers"] = [FINALIZER]
    return body


@pytest.fixture
def installed(server: Server, cluster: Cluster, tmp_path: Path) -> tuple[str, ...]:
    """Two releases of the lock file, in its order, as real Helm installs them."""
    names = ("nvidia-device-plugin", "triton")
    chart, helm = scenes.chart(tmp_path, "some"), Helm(cluster)
    for name in names:
        helm.apply(name, chart, Lock.load().named(name).namespace, [])
    return names


@needs_helm
def test_load_balancers_go_first_then_releases_from_the_last_to_the_first(
    aws: Account, stack: Stack, server: Server, patient: Run, on_aws: Callable[[Run], Run],
    installed: tuple[str, ...],
) -> None:  # fmt: skip
    arn, host = scenes.load_balancer(aws, stack)
    server.put(held(scenes.ingress("triton", host)), held(scenes.service("LoadBalancer")))
    server.put(scenes.service("ClusterIP", "in"))
    server.put(scenes.claim("data", "pv-1"), scenes.volume("pv-1", "Delete"))
    volumes_api = "/api/v1/persistentvolumes"
    server.changes[(volumes_api, 2)] = lambda: server.drop("PersistentVolume", "pv-1")
    run = on_aws(patient)
    server.controllers["Service"] = lambda: None
    # the load balancer is not listed any more long before its Ingress is let go
    server.put(scenes.body("elbv2.k8s.aws/v1beta1", "TargetGroupBinding", "k8s", "triton"))
    elb, uninstalled = aws.client("elbv2"), list[bool]()

    def last() -> None:
        uninstalled.append(
            any("configmaps" in path for verb, path in server.asked if verb == "DELETE")
        )
        server.drop("TargetGroupBinding", "k8s")

    server.changes |= {
        (INGRESSES, 2): lambda: elb.delete_load_balancer(LoadBalancerArn=arn),
        (INGRESSES, 4): lambda: server.drop("Ingress", "triton"),
        ("/apis/elbv2.k8s.aws/v1beta1/targetgroupbindings", 5): last,
    }
    removed = removal.remove(run, aws)
    assert uninstalled == [False]
    assert (removed.ingresses, removed.services) == (("triton/triton",), ("triton/triton",))
    assert (removed.balancers, removed.standing) == (("gpu-e2e-triton",), ())
    assert removed.releases == tuple(reversed(installed))
    assert (removed.claims, removed.faults) == (("monitoring/data",), ())
    assert "1 of 1 load balancers gone" in removed.summary and "NOT DONE" not in removed.summary
    assert run.load(Removal) == removed
    assert server.get("Service", "in") and not server.get("Ingress", "triton")
    deleted = [path for method, path in server.asked if method == "DELETE"]
    kinds = [path.split("/")[-2] for path in deleted]
    assert kinds.index("ingresses") < kinds.index("services") < kinds.index("configmaps")
    assert kinds.index("configmaps") < kinds.index("persistentvolumeclaims")


@needs_helm
def test_what_cannot_be_removed_is_said_and_holds_up_nothing_else(
    aws: Account, stack: Stack, server: Server, hasty: Run, on_aws: Callable[[Run], Run],
    installed: tuple[str, ...],
) -> None:  # fmt: skip
    server.refuse("DELETE", "/configmaps/triton$", 403, "configmaps is forbidden")
    server.refuse("DELETE", "/persistentvolumeclaims/data$", 403, "claims are forbidden")
    server.put(scenes.claim("data", "pv-1"), scenes.volume("pv-1", "Delete"))
    run = on_aws(hasty)
    _, host = scenes.load_balancer(aws, stack, run=run.run_id)
    server.put(held(scenes.ingress("triton", host)))  # by a controller that does nothing
    removed = removal.remove(run, aws)
    assert removed.standing == ("gpu-e2e-triton",) and removed.releases == installed[:1]
    assert "NOT DONE, and the teardown goes on" in removed.summary
    faults = " ".join(removed.faults)
    assert "gpu-e2e-triton, ingresses triton/triton still there" in faults
    assert "The removal of triton failed" in faults and removed.claims == ()
    assert "persistentvolumeclaims data" in faults
    gone = sweep.remove_load_balancers(run, aws, rounds=3, sleep=lambda _: None)
    assert gone.swept == 1
    assert triton_release.cluster_balancers(aws, stack.cluster_name, stack.vpc_id) == ()


def test_a_cluster_that_does_not_answer_is_reported_and_blocks_nothing(
    aws: Account, stack: Stack, hasty: Run, on_aws: Callable[[Run], Run],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    scenes.load_balancer(aws, stack)
    away = stack.model_copy(update={"cluster_endpoint": "https://127.0.0.1:9"})
    monkeypatch.setattr(Run, "find", lambda self, kind: away)
    monkeypatch.setattr(client, "RETRIES", 0)
    removed = removal.remove(on_aws(hasty), aws)
    assert removed.summary.startswith("NOT DONE: the cluster does not answer")
    assert "searched for in AWS itself" in removed.summary and removed.unreached
    assert removed.standing == ("gpu-e2e-triton",)


def test_a_cluster_that_is_gone_is_no_fault(
    aws: Account, stack: Stack, hasty: Run, on_aws: Callable[[Run], Run]
) -> None:
    run = on_aws(hasty)
    aws.client("eks").delete_cluster(name=stack.cluster_name)
    removed = removal.remove(run, aws)
    assert "gone already" in removed.summary and not removed.unreached


def test_a_rehearsal_removes_nothing_and_says_so(aws: Account, patient: Run) -> None:
    assert "a rehearsal has no cluster" in removal.remove(patient, aws).summary


def test_a_volume_that_stays_is_named_as_aws_names_it(server: Server, cluster: Cluster) -> None:
    server.put(scenes.claim("a", "pv-1"), scenes.volume("pv-1", "Delete"))
    server.put(
        scenes.claim("b", "pv-2"), scenes.volume("pv-2", "Retain"), scenes.volume("pv-3", "Delete")
    )
    claims: list[str] = []
    faults: list[str] = []
    with pytest.raises(Problem, match=r"pv-1 still there.*has not removed vol-pv-1"):
        removal.release_volumes(cluster, claims, faults, NEVER)
    assert claims == ["monitoring/a", "monitoring/b"]
    (kept,) = faults  # nobody claims pv-3: it is not ours to judge
    assert "vol-pv-2 stays: its reclaim policy is Retain" in kept
