"""The end of what runs in the cluster, before Terraform ends the cluster itself.

Terraform does not know what the cluster has made in AWS: load balancers (of Ingresses and Services)
and volumes (of claims), which block its destroy or outlive it. So they go first, while their
controllers run; then the releases, from the bottom of the lock file up. The load balancer
controller takes its finalizers off last, after the security groups, which AWS frees minutes after
the load balancer is no longer listed (its controllers/ingress/group_controller.go). CRDs stay: they
own nothing in AWS, and their objects would hang on their finalizers.

Nothing in here stops the teardown: what fails is reported, and Terraform goes on.
"""

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Any

from helpers.cloud.account import Account, asking
from helpers.cloud.stack import Stack
from helpers.cluster import client, releases, triton_release, waits
from helpers.cluster.client import Cluster
from helpers.cluster.waits import Pace, WaitState
from helpers.errors import Problem
from helpers.run import Record, Run

BINDINGS = "targetgroupbindings"  # made by the load balancer controller for each Ingress
IN_AWS = "what it had made is searched for in AWS itself"


class Removal(Record, stage="06", name="cluster-removal"):
    """What became of all that ran in the cluster, and of what it had made in AWS."""

    ingresses: tuple[str, ...] = ()  # deleted Ingresses, as `namespace/name`
    services: tuple[str, ...] = ()  # deleted Services with a load balancer of their own, likewise
    balancers: tuple[str, ...] = ()  # load balancers that were there at the start
    standing: tuple[str, ...] = ()  # those of them that are still there
    seconds: float = 0.0  # how long they were waited for
    releases: tuple[str, ...] = ()  # Helm releases that were removed, in order
    claims: tuple[str, ...] = ()  # deleted volume claims, as `namespace/name`
    faults: tuple[str, ...] = ()  # what failed or stays; it does not stop the teardown
    unreached: str = ""  # why the cluster could not be asked; empty if it could
    note: str = ""  # why there was nothing to do, or nothing could be done; empty otherwise

    @property
    def summary(self) -> str:
        """What was removed in one sentence; what was not, in a line each."""
        if self.note:
            return self.note
        gone = len(self.balancers) - len(self.standing)
        removed = (
            f"{gone} of {len(self.balancers)} load balancers gone after {self.seconds:.0f} s; "
            f"{len(self.releases)} releases and {len(self.claims)} volume claims removed"
        )
        failed = f"; NOT DONE, and the teardown goes on ({IN_AWS}):" if self.faults else ""
        return "\n".join((f"{removed}{failed}", *self.faults))


def remove(run: Run, account: Account) -> Removal:
    """Remove what the cluster has made in AWS, then the releases, and record it.

    It can be repeated, and does no harm if there is no cluster any more.
    """
    nothing = "nothing to remove in a cluster:"
    if run.profile.target != "aws":
        return _record(run, Removal(note=f"{nothing} a rehearsal has no cluster"))
    if (stack := run.find(Stack)) is None:
        return _record(run, Removal(note=f"{nothing} this run has no stack"))
    before = triton_release.cluster_balancers(account, stack.cluster_name, stack.vpc_id)
    if not _exists(account, stack.cluster_name):
        note = f"the cluster {stack.cluster_name} is gone already; {IN_AWS}"
        return _record(run, Removal(balancers=before, standing=before, note=note))
    try:
        cluster = client.stack_cluster(run.folder / "cluster", account, stack)
        ingresses = cluster.list("ingresses")
        services = [each for each in cluster.list("services")
                    if each.get("spec", {}).get("type") == "LoadBalancer"]  # fmt: skip
    except Problem as reason:
        note = f"NOT DONE: the cluster does not answer ({reason.what}); {IN_AWS}"
        return _record(run, Removal(
            balancers=before, standing=before, unreached=str(reason), note=note))  # fmt: skip
    faults: list[str] = []
    claims: list[str] = []
    pace, begin = waits.pace(run, run.profile.cluster.balancer_s), time.monotonic()
    for kind, bodies in (("ingresses", ingresses), ("services", services)):
        for body in bodies:
            _attempt(faults, partial(_delete, cluster, kind, body))
    _attempt(faults, lambda: wait_released(cluster, account, stack, pace))
    seconds = time.monotonic() - begin
    standing = triton_release.cluster_balancers(account, stack.cluster_name, stack.vpc_id)
    removed, failed = releases.uninstall(run, cluster)
    faults += failed
    _attempt(faults, lambda: release_volumes(cluster, claims, faults, pace))
    return _record(run, Removal(
        ingresses=tuple(map(_place, ingresses)), services=tuple(map(_place, services)),
        balancers=before, standing=standing, seconds=seconds, releases=removed,
        claims=tuple(claims), faults=tuple(faults),
    ))  # fmt: skip


def wait_released(cluster: Cluster, account: Account, stack: Stack, pace: Pace) -> None:
    """Wait until no load balancer is left, nor an object that its controller has a finalizer on."""

    def left() -> list[str]:
        return [
            *triton_release.cluster_balancers(account, stack.cluster_name, stack.vpc_id),
            *(f"{kind} {_place(body)}"
              for kind in ("ingresses", "services", BINDINGS) for body in cluster.list(kind)
              if kind == BINDINGS or body["metadata"].get("deletionTimestamp")),
        ]  # fmt: skip

    reason = (
        "Its controller has not removed it (the log of aws-load-balancer-controller says why). It "
        "blocks the VPC's removal, so what it had made is removed in AWS itself before Terraform "
        "destroys the rest."
    )
    waits.until("load balancers gone", lambda: _left(left()), lambda: reason, pace)


def release_volumes(cluster: Cluster, claims: list[str], faults: list[str], pace: Pace) -> None:
    """Delete every volume claim, once nothing uses them, and wait until their volumes are gone.

    `claims` gets the deleted ones, `faults` a sentence per volume that its reclaim policy keeps.
    """
    bodies = cluster.list("persistentvolumeclaims")
    bound = {body["spec"].get("volumeName") for body in bodies}
    volumes = {name: volume["spec"] for volume in cluster.list("persistentvolumes")
               if (name := volume["metadata"]["name"]) in bound}  # fmt: skip
    for body in bodies:
        _delete(cluster, "persistentvolumeclaims", body)
        claims.append(_place(body))
    going = {}
    for name, spec in volumes.items():
        handle = spec.get("csi", {}).get("volumeHandle") or name  # AWS's name of it
        if (policy := spec.get("persistentVolumeReclaimPolicy")) == "Delete":
            going[name] = handle
        else:
            faults.append(f"The volume {handle} stays: its reclaim policy is {policy}. It costs "
                          "until you delete it.")  # fmt: skip

    def left() -> list[str]:
        there = {volume["metadata"]["name"] for volume in cluster.list("persistentvolumes")}
        return sorted(going.keys() & there)

    if going:
        waits.until("volumes gone", lambda: _left(left()), lambda: (
            f"Its driver has not removed {', '.join(going[name] for name in left())}: a "
            "pod may still use it, or the driver is gone. Destroying goes on; the scan for "
            "leftovers looks for it, and says how to delete it."
        ), pace)  # fmt: skip


def _left(names: Collection[str]) -> WaitState:
    return WaitState(not names, f"{', '.join(names)} still there" if names else "none left")


def _attempt(faults: list[str], act: Callable[[], object]) -> None:
    try:
        act()
    except Problem as reason:
        faults.append(str(reason))


def _exists(account: Account, name: str) -> bool:
    eks = account.client("eks")
    with asking("the cluster"), suppress(eks.exceptions.ResourceNotFoundException):
        return bool(eks.describe_cluster(name=name))
    return False


def _place(body: dict[str, Any]) -> str:
    return f"{body['metadata']['namespace']}/{body['metadata']['name']}"


def _delete(cluster: Cluster, kind: str, body: dict[str, Any]) -> None:
    cluster.delete(kind, body["metadata"]["name"], body["metadata"]["namespace"])


def _record(run: Run, record: Removal) -> Removal:
    run.event(
        "cluster-emptied", "06", source="kubernetes", balancers=len(record.balancers),
        releases=len(record.releases), faults=len(record.faults), note=record.summary,
    )  # fmt: skip
    return run.save(record)
