"""Whether rollouts, drains and scaling can happen on the GPUs that there are."""

from dataclasses import replace
from typing import Any

import pytest

from helpers.cluster import contract, planned, rollout
from helpers.cluster.fields import Field
from helpers.cluster.objects import Objects
from helpers.cluster.planned import Cluster
from helpers.profile import Profile

CONTRACT = contract.load()


def cluster(desired: int, most: int) -> Cluster:
    profile = Profile.load_named("rehearsal")
    whole = planned.from_contract(CONTRACT, profile.infrastructure, profile.region)
    groups = [replace(one, desired=desired, most=most) if one.gpus_each else one
              for one in whole.groups]  # fmt: skip
    return replace(whole, groups=tuple(groups))


def deployment(replicas: int, gpus: int = 1, **strategy: Any) -> dict[str, Any]:
    limits = {CONTRACT.gpu.resource: str(gpus)} if gpus else {}
    template = {
        "metadata": {"labels": {"app": "a"}},
        "spec": {"containers": [{"name": "a", "resources": {"limits": limits}}]},
    }
    spec: dict[str, Any] = {"replicas": replicas, "template": template}
    spec["strategy"] = {"type": "RollingUpdate", "rollingUpdate": strategy} if strategy else None
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec}


def budget(**spec: Any) -> dict[str, Any]:
    selector = {"matchLabels": {"app": "a"}}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "a"},
            "spec": {"selector": selector, **spec}}  # fmt: skip


def fields(desired: int, most: int, *bodies: dict[str, Any]) -> list[str]:
    found = rollout.faults(Objects.of(bodies), cluster(desired, most), CONTRACT)
    return [one.field for one in found]


SURGE, BOTH_FREE = "spec.strategy.rollingUpdate.maxSurge", {"maxSurge": 1, "maxUnavailable": 0}


@pytest.mark.parametrize(
    ("desired", "body", "expected"),
    [
        (1, deployment(1, **BOTH_FREE), [SURGE]),
        (2, deployment(1, **BOTH_FREE), []),
        (1, deployment(1, maxSurge=0, maxUnavailable=1), []),
        (1, deployment(1), [SURGE]),
        (1, deployment(1, gpus=0), []),
        (4, deployment(4, maxSurge="25%", maxUnavailable=0), [SURGE]),
        (4, deployment(3, maxSurge="25%", maxUnavailable=0), []),
    ],
)
def test_a_surge_needs_free_gpus(desired: int, body: dict[str, Any], expected: list[str]) -> None:
    assert fields(desired, 4, body) == expected


def test_a_rollout_that_never_ends_is_told_from_one_that_waits() -> None:
    def wrong(unavailable: int) -> str:
        body = deployment(1, maxSurge=1, maxUnavailable=unavailable)
        (found,) = rollout.faults(Objects.of([body]), cluster(1, 2), CONTRACT)
        return found.wrong

    assert "never ends" in wrong(0)
    assert "buys a node" in wrong(1)


def test_more_pods_than_the_group_ever_has_gpus() -> None:
    quiet = {"maxSurge": 0, "maxUnavailable": 1}
    assert fields(1, 2, deployment(3, **quiet)) == ["spec.replicas"]
    assert fields(1, 3, deployment(3, **quiet)) == []


@pytest.mark.parametrize(
    ("replicas", "spec", "blocked"),
    [
        (1, {"minAvailable": 1}, True),
        (2, {"minAvailable": 1}, False),
        (2, {"minAvailable": "100%"}, True),
        (3, {"minAvailable": "50%"}, False),
        (1, {"maxUnavailable": 1}, False),
        (1, {"maxUnavailable": 0}, True),
        (1, {"maxUnavailable": "0%"}, True),
        (1, {"maxUnavailable": "1%"}, False),
    ],
)
def test_a_budget_lets_a_node_drain(replicas: int, spec: dict[str, Any], blocked: bool) -> None:
    found = fields(4, 4, deployment(replicas, maxSurge=0, maxUnavailable=1), budget(**spec))
    assert bool(found) is blocked


def test_shares_round_up_for_surge_and_down_for_absence() -> None:
    assert rollout.share(Field("25%"), 1, up=True) == 1
    assert rollout.share(Field("25%"), 1, up=False) == 0
    assert rollout.share(Field(None), 4, up=True) == 1
    assert rollout.share(Field(3), 1, up=True) == 3
