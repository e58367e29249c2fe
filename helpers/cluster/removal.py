"""The end of what runs in the cluster, before Terraform ends the cluster itself.

Terraform does not know what the cluster has made in AWS: load balancers with their security groups
and network interfaces (of Ingresses and Services), volumes (of claims). They block its destroy, or
outlive it. So they go first, while their controllers still run; then the releases, from the bottom
of the lock file up, the load balancer controller with its webhooks last. CRDs stay, as Helm leaves
them: they own nothing in AWS, and objects of a CRD that is deleted before their controller has let
go of them would hang on their finalizers.

Nothing in here stops the teardown: what fails is reported, and Terraform goes on.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from helpers.cloud.account import Account, asking
from helpers.cloud.stack import Stack
from helpers.cluster import client, releases, triton_release, waits
from helpers.cluster.client import Cluster
from helpers.cluster.waits import Pace, WaitState
from helpers.errors import Problem
from helpers.run import Record, Run

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
    stack = run.find(Stack)
    if run.profile.target != "aws" or stack is None:
        why = "this run has no stack"
        why = "a rehearsal has no cluster" if run.profile.target != "aws" else why
        return _record(run, Removal(note=f"nothing to remove in a cluster: {why}"))
    before = triton_release.cluster_balancers(account, stack.cluster_name, stack.vpc_id)
    if not _exists(account, stack.cluster_name):
        note = f"the cluster {stack.cluster_name} is gone already; {IN_AWS}"
        return _record(run, Removal(balancers=before, standing=before, note=note))
    try:
        cluster = client.stack_cluster(run, account, stack)
        ingresses = cluster.list("ingresses")
        services = [each for each in cluster.list("services")
                    if each.get("spec", {}).get("type") == "LoadBalancer"]  # fmt: skip
    except Problem as reason:
        note = f"NOT DONE: the cluster does not answer ({reason.what}); {IN_AWS}"
        return _record(
            run, Removal(balancers=before, standing=before, unreached=str(reason), note=note)
        )
    faults: list[str] = []  # what failed or stays; it does not stop the teardown
    pace = waits.pace(run, run.profile.cluster.balancer_s)
    begin = time.monotonic()
    for kind, bodies in (("ingresses", ingresses), ("services", services)):
        for body in bodies:
            _attempt(faults, partial(_delete, cluster, kind, body))
    _attempt(faults, lambda: wait_balancers_gone(account, stack.cluster_name, stack.vpc_id, pace))
    seconds = time.monotonic() - begin
    left = triton_release.cluster_balancers(account, stack.cluster_name, stack.vpc_id)
    removed, failed = releases.uninstall(run, cluster)
    faults += failed
    claims: list[str] = []  # deleted volume claims, as `namespace/name`
    _attempt(faults, lambda: release_volumes(cluster, claims, faults, pace))
    return _record(run, Removal(
        ingresses=tuple(map(_place, ingresses)), services=tuple(map(_place, services)),
        balancers=before, standing=left, seconds=seconds, releases=removed, claims=tuple(claims),
        faults=tuple(faults),
    ))  # fmt: skip


def wait_balancers_gone(account: Account, cluster: str, vpc: str, pace: Pace) -> None:
    """Wait until the last load balancer of a cluster is gone."""

    def check() -> WaitState:
        names = triton_release.cluster_balancers(account, cluster, vpc)
        return WaitState(not names, f"{', '.join(names)} still there" if names else "none left")

    reason = (
        "Its controller has not removed it (the log of aws-load-balancer-controller says why). It "
        "blocks the VPC's removal: it has to be removed in AWS itself before Terraform destroys "
        "the rest."
    )
    waits.until("load balancers gone", check, lambda: reason, pace)


def release_volumes(cluster: Cluster, claims: list[str], faults: list[str], pace: Pace) -> None:
    """Delete every volume claim, once nothing uses them, and wait until their volumes are gone.

    Args:
        cluster: The cluster.
        claims: Gets those that were deleted, as `namespace/name`.
        faults: Gets a sentence for each volume that its reclaim policy keeps.
        pace: Time-out and interval.
    """
    bodies = cluster.list("persistentvolumeclaims")
    bound = {body["spec"].get("volumeName") for body in bodies}
    volumes = [each for each in cluster.list("persistentvolumes")
               if each["metadata"]["name"] in bound]  # fmt: skip
    for body in bodies:
        _delete(cluster, "persistentvolumeclaims", body)
        claims.append(_place(body))
    going = {}
    for volume in volumes:
        name, policy = (
            volume["metadata"]["name"],
            volume["spec"].get("persistentVolumeReclaimPolicy"),
        )
        handle = volume["spec"].get("csi", {}).get("volumeHandle") or name  # AWS's name of it
        if policy == "Delete":
            going[name] = handle
        else:
            faults.append(f"The volume {handle} stays: its reclaim policy is {policy}. It costs "
                          "until you delete it.")  # fmt: skip

    def left() -> set[str]:
        return going.keys() & {
            each["metadata"]["name"] for each in cluster.list("persistentvolumes")
        }

    def check() -> WaitState:
        names = sorted(left())
        return WaitState(not names, f"{', '.join(names)} still there" if names else "none left")

    if going:
        waits.until("volumes gone", check, lambda: (
            f"Its driver has not removed {', '.join(going[name] for name in sorted(left()))}: a "
            "pod may still use it, or the driver is gone. Destroying goes on; the scan for "
            "leftovers looks for it, and says how to delete it."
        ), pace)  # fmt: skip


def _attempt(faults: list[str], act: Callable[[], object]) -> None:
    """Do one step; a failure is kept and shown, and the next step follows."""
    try:
        act()
    except Problem as reason:
        faults.append(str(reason))


def _exists(account: Account, name: str) -> bool:
    with asking("the cluster"):
        try:
            account.client("eks").describe_cluster(name=name)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return False
            raise
    return True


def _place(body: dict[str, Any]) -> str:
    return f"{body['metadata']['namespace']}/{body['metadata']['name']}"


def _delete(cluster: Cluster, kind: str, body: dict[str, Any]) -> None:
    cluster.delete(kind, body["metadata"]["name"], body["metadata"]["namespace"])


def _record(run: Run, record: Removal) -> Removal:
    run.save(record)
    run.event(
        "cluster-emptied", "06", source="kubernetes", balancers=len(record.balancers),
        releases=len(record.releases), faults=len(record.faults), note=record.summary,
    )  # fmt: skip
    return record
